/**
 * Writes parquet files as Hugging Face's mirrors are: a struct {bytes, path} and labels, in groups of rows, with class
 * names in the metadata.
 */
import { writeFileSync } from 'node:fs';
import { ByteWriter, parquetWrite } from 'hyparquet-writer';

export interface Mirror {
  /** Name of the column of images. */
  image: string;
  images: Uint8Array[];
  /** Label columns. */
  labels: Record<string, number[]>;
  /** Class names of label columns; left out: no metadata. */
  names?: Record<string, string[]>;
}

export function writeParquet(
  path: string,
  { image, images, labels, names }: Mirror,
  codec: 'SNAPPY' | 'UNCOMPRESSED' = 'SNAPPY',
): void {
  const features = Object.fromEntries(
    Object.entries(names ?? {}).map(([label, classes]) => [label, { names: classes, _type: 'ClassLabel' }]),
  );
  const writer = new ByteWriter();
  parquetWrite({
    writer,
    codec,
    rowGroupSize: 100,
    statistics: false,
    schema: [
      { name: 'schema', num_children: 1 + Object.keys(labels).length },
      { name: image, num_children: 2, repetition_type: 'OPTIONAL' },
      { name: 'bytes', type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL' },
      { name: 'path', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
      ...Object.keys(labels).map((name) => ({ name, type: 'INT64' as const, repetition_type: 'OPTIONAL' as const })),
    ],
    columnData: [
      { name: image, data: images.map((bytes) => ({ bytes, path: null })) },
      ...Object.entries(labels).map(([name, data]) => ({ name, data: data.map(BigInt) })),
    ],
    ...(names === undefined
      ? {}
      : { kvMetadata: [{ key: 'huggingface', value: JSON.stringify({ info: { features } }) }] }),
  });
  writeFileSync(path, new Uint8Array(writer.getBuffer()));
}
