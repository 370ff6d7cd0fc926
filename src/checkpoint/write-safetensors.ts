/**
 * safetensors, written: the header first, from shapes alone, then one tensor after the other, so that a model with its
 * moments and averages is never held twice, nor in one Buffer (Node 20 stops at 4 GiB).
 */

/** Takes a file's next bytes; they are not kept. */
export type Write = (bytes: Uint8Array) => void;

/** A tensor whose values are asked for when their turn comes. */
export interface LazyTensor {
  name: string;
  shape: readonly number[];
  /** `data` gives float32 when left out. */
  dtype?: 'F32' | 'I32';
  data(): Float32Array | Int32Array;
}

/** @param metadata text by name */
export function writeSafetensors(
  write: Write,
  tensors: readonly LazyTensor[],
  metadata: Readonly<Record<string, string>> = {},
): void {
  let offset = 0;
  const header: Record<string, unknown> = { __metadata__: metadata };
  for (const { name, shape, dtype = 'F32' } of tensors) {
    const end = offset + bytesOf(shape);
    header[name] = { dtype, shape, data_offsets: [offset, end] };
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(header));
  // so that the tensors are aligned
  const padded = Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  write(Buffer.concat([length, padded]));
  for (const { name, shape, data } of tensors) {
    const values = data();
    if (values.byteLength !== bytesOf(shape))
      throw new Error(`${name} has ${values.length} values, not those of [${shape.join(', ')}]`);
    write(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
}

/** Of 32-bit elements. */
const bytesOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 4);

export interface TensorData {
  shape: number[];
  data: Float32Array | Int32Array;
}

/** The same in memory, for small files: tensors in the order given. */
export function encodeSafetensors(tensors: Record<string, TensorData>, metadata: Record<string, string> = {}): Buffer {
  const parts: Buffer[] = [];
  const lazy = Object.entries(tensors).map(
    ([name, { shape, data }]): LazyTensor => ({
      name,
      shape,
      dtype: data instanceof Float32Array ? 'F32' : 'I32',
      data: () => data,
    }),
  );
  writeSafetensors((bytes) => void parts.push(Buffer.from(bytes)), lazy, metadata);
  return Buffer.concat(parts);
}
