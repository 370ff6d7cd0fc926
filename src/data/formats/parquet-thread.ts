/**
 * The thread that reads one parquet file: hyparquet believes what stands in a file, and a damaged one can make it go on
 * forever, which only another thread can end. It is given `ShardJob` as its workerData, answers with `ShardMessage`s,
 * and ends.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { type AsyncBuffer, type FileMetaData, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { GqaError } from '../../errors.js';
import { unreadable } from '../files.js';
import type { ShardJob, ShardMessage } from './parquet.js';

/** What hyparquet decompresses by itself; Hugging Face's files are of the second kind. */
const CODECS: readonly string[] = ['UNCOMPRESSED', 'SNAPPY'];

const port = parentPort;
if (port === null) throw new Error('parquet-thread.ts runs in a worker thread only');
const say = (message: ShardMessage): void => port.postMessage(message);

read(workerData as ShardJob).catch((cause: unknown) => {
  const { path } = workerData as ShardJob;
  const known = cause instanceof GqaError || (cause as NodeJS.ErrnoException).code !== undefined;
  const { message, hint } = known
    ? unreadable(path, 'mirror with all its files', cause)
    : new GqaError(
        'data',
        `${path} cannot be read as parquet: ${cause instanceof Error ? cause.message : String(cause)}`,
        {
          hint: 'The file is damaged, cut short, or a page of text in its place: get it afresh.',
        },
      );
  say({ failure: { message, options: hint === undefined ? {} : { hint } } });
});

async function read(job: ShardJob): Promise<void> {
  const { path, image, label } = job;
  const descriptor = openSync(path, 'r');
  try {
    const file = asyncBuffer(descriptor);
    const metadata = await parquetMetadataAsync(file);
    checkColumns(job, metadata);
    const classes = classNames(job, metadata);
    say({ classes });
    // A group of rows at a time: what is decompressed besides the images themselves stays small.
    for (let rowStart = 0, group = 0; group < metadata.row_groups.length; group++) {
      const rowEnd = rowStart + Number(metadata.row_groups[group]?.num_rows ?? 0);
      const { images: wanted } = job;
      const own = Array.isArray(wanted)
        ? wanted.filter((row) => row >= rowStart && row < rowEnd).map((row) => row - rowStart)
        : null;
      const columns = wanted === 'none' ? [label] : own === null ? [image, label] : [image];
      if (own?.length !== 0) {
        const rows = await parquetReadObjects({ file, metadata, columns, rowStart, rowEnd, utf8: false });
        const asked = own ?? (wanted === 'none' ? [] : [...rows.keys()]);
        const images = asked.map((i) => imageOf(rows[i]?.[image], `${path}: ${image} of row ${rowStart + i}`));
        const labels =
          own === null
            ? rows.map((row, i) => labelOf(row[label], `${path}: ${label} of row ${rowStart + i}`, classes.length))
            : [];
        const bytes = new Uint8Array(new SharedArrayBuffer(images.reduce((sum, { length }) => sum + length, 0)));
        let at = 0;
        for (const image of images) {
          bytes.set(image, at);
          at += image.length;
        }
        say({ labels, rows: asked.map((i) => rowStart + i), bytes, lengths: images.map(({ length }) => length) });
      }
      rowStart = rowEnd;
    }
  } finally {
    closeSync(descriptor);
  }
}

function asyncBuffer(descriptor: number): AsyncBuffer {
  const { size } = fstatSync(descriptor);
  return {
    byteLength: size,
    slice: (start, end = size) => {
      const bytes = new Uint8Array(Math.max(0, Math.min(end, size) - start));
      for (let at = 0; at < bytes.length; ) {
        const read = readSync(descriptor, bytes, at, bytes.length - at, start + at);
        if (read === 0) throw new Error(`the file ended at byte ${start + at} while it was read`);
        at += read;
      }
      return bytes.buffer;
    },
  };
}

function checkColumns({ path, image, label }: ShardJob, metadata: FileMetaData): void {
  const chunks = metadata.row_groups.flatMap(({ columns }) => columns.map((column) => column.meta_data));
  const found = [...new Set(chunks.map((chunk) => chunk?.path_in_schema.join('.') ?? ''))];
  const missing = [`${image}.bytes`, label].filter((column) => !found.includes(column));
  if (missing.length > 0) {
    throw new GqaError(
      'data',
      `${path} has no column ${missing.join(' and ')}; it has ${found.join(', ') || 'no rows'}`,
      {
        hint: 'Is it a mirror of another data set? Expected are encoded images and their labels.',
      },
    );
  }
  const other = chunks.find((chunk) => chunk !== undefined && !CODECS.includes(chunk.codec));
  if (other !== undefined) {
    throw new GqaError(
      'data',
      `${path}: column ${other.path_in_schema.join('.')} is compressed with ${other.codec}; expected SNAPPY or none`,
      {
        hint: "Hugging Face's own files use SNAPPY; write this one again with it.",
      },
    );
  }
}

/**
 * Class names of the label column, as `datasets` writes them: {"info": {"features": {<label>: {"_type": "ClassLabel",
 * "names": […]}}}}.
 */
function classNames({ path, label, classes }: ShardJob, metadata: FileMetaData): string[] {
  const text = metadata.key_value_metadata?.find(({ key }) => key === 'huggingface')?.value;
  const names = text === undefined ? undefined : (JSON.parse(text) as Features).info?.features?.[label]?.names;
  if (Array.isArray(names) && names.length > 0 && names.every((name) => typeof name === 'string')) return names;
  if (classes !== null) return [...classes];
  throw new GqaError(
    'data',
    `${path} does not say what its classes are called: no ClassLabel names of ${label} in its huggingface metadata`,
  );
}

type Features = { info?: { features?: Record<string, { names?: unknown } | undefined> } };

function imageOf(cell: unknown, where: string): Uint8Array {
  const bytes = (cell as { bytes?: unknown } | null)?.bytes;
  if (bytes instanceof Uint8Array) return bytes;
  throw new GqaError('data', `${where} has no bytes: the images are not in the file`);
}

function labelOf(cell: unknown, where: string, classes: number): number {
  const label = typeof cell === 'bigint' || typeof cell === 'number' ? Number(cell) : Number.NaN;
  if (Number.isInteger(label) && label >= 0 && label < classes) return label;
  throw new GqaError('data', `${where} is ${String(cell)}; expected 0 to ${classes - 1}`);
}
