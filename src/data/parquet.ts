/**
 * Hugging Face's parquet mirrors of picture data sets: files `<split>-00000-of-00001.parquet`, …, each row a struct {bytes, path} with an encoded picture, and a label whose class names stand in the file's
 * own metadata (key `huggingface`). The encoded bytes are taken into shared memory as they are and decoded in the workers.
 */
import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import type { AsyncBuffer, FileMetaData } from 'hyparquet';
import { GqaError } from '../errors.js';
import type { Dataset, EncodedSource, PictureSize, Split } from './dataset.js';
import { unreadable } from './files.js';

/** How one mirror names its parts. */
export interface ParquetLayout {
  image: string;
  label: string;
  /** What the file names of our two splits begin with. */
  train: string;
  test: string;
  /** Class names where the file's metadata has none; null: it must have them. */
  classes: readonly string[] | null;
  /** Size of every picture, where the data set has one. */
  size?: PictureSize;
}

/** The shards of a split, e.g. `train-00000-of-00002.parquet`; some mirrors add a hash. */
const SHARD = /^([a-z]+)-(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?\.parquet$/;

/** What hyparquet decompresses by itself; Hugging Face's files are of the second kind. */
const CODECS: readonly string[] = ['UNCOMPRESSED', 'SNAPPY'];

/** Does the folder hold a shard of the layout? */
export function holdsParquet(folder: string, layout: ParquetLayout): boolean {
  try {
    return readdirSync(folder).some((file) => [layout.train, layout.test].includes(SHARD.exec(file)?.[1] ?? ''));
  } catch {
    return false; // no such folder
  }
}

/** Reads all shards of both splits. Errors: exit 3, naming file, and column or row. */
export async function readParquet(name: string, folder: string, layout: ParquetLayout): Promise<Dataset> {
  const train = await readSplit(folder, 'train', layout);
  const test = await readSplit(folder, 'test', layout);
  if (test.classes.join('\n') !== train.classes.join('\n')) {
    throw new GqaError('data', `${folder}: the files of ${layout.train} and of ${layout.test} have other class names`);
  }
  return { name, from: folder, classes: train.classes, train: train.split, test: test.split };
}

async function readSplit(folder: string, name: Split['name'], layout: ParquetLayout): Promise<{ classes: string[]; split: Split }> {
  const source: EncodedSource = { kind: 'encoded', pictures: [], names: [], size: layout.size };
  const labels: number[] = [];
  let classes: string[] = [];
  for (const [i, path] of shardsOf(folder, layout[name]).entries()) {
    const own = await readShard(path, layout, source, labels);
    if (i > 0 && own.join('\n') !== classes.join('\n'))
      throw new GqaError('data', `${path} has other class names than the files before it`);
    classes = own;
  }
  if (labels.length === 0) throw new GqaError('data', `${folder}: the files of ${layout[name]} have no rows`);
  return { classes, split: { name, labels: Int32Array.from(labels), source } };
}

/** Paths of all shards of a split, in order. Errors: exit 3 when one is missing, or belongs to another set. */
function shardsOf(folder: string, split: string): string[] {
  const found = readdirSync(folder)
    .map((file) => ({ file, match: SHARD.exec(file) }))
    .filter(({ match }) => match?.[1] === split)
    .map(({ file, match }) => ({ file, index: Number(match?.[2]), of: Number(match?.[3]) }))
    .sort((a, b) => a.index - b.index);
  const of = found[0]?.of ?? 1;
  const missing = Array.from({ length: Math.max(1, of) }, (_, index) => index).filter((index) => found[index]?.index !== index);
  if (missing.length > 0 || found.length !== of || found.some((shard) => shard.of !== of)) {
    const padded = (n: number): string => String(n).padStart(5, '0');
    throw new GqaError(
      'data',
      `${folder}: of ${split}-…-of-${padded(of)}.parquet it has ${found.map(({ file }) => file).join(', ') || 'none'}; expected each number once`,
      { hint: 'Get all files of the mirror, of one version, into one folder.' },
    );
  }
  return found.map(({ file }) => join(folder, file));
}

/** Adds the pictures and labels of one file; returns its class names. */
async function readShard(path: string, layout: ParquetLayout, source: EncodedSource, labels: number[]): Promise<string[]> {
  const { parquetMetadataAsync, parquetReadObjects } = await import('hyparquet');
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, 'r');
    const file = asyncBuffer(descriptor);
    const metadata = await parquetMetadataAsync(file);
    checkColumns(path, metadata, layout);
    const classes = classNames(path, metadata, layout);
    const columns = [layout.image, layout.label];
    // A group of rows at a time: what is decompressed besides the pictures themselves stays small.
    for (let rowStart = 0, group = 0; group < metadata.row_groups.length; group++) {
      const rowEnd = rowStart + Number(metadata.row_groups[group]?.num_rows ?? 0);
      const rows = await parquetReadObjects({ file, metadata, columns, rowStart, rowEnd, utf8: false });
      const pictures = rows.map((row, i) => pictureOf(row[layout.image], `${path}: ${layout.image} of row ${rowStart + i}`));
      const shared = new Uint8Array(new SharedArrayBuffer(pictures.reduce((sum, { length }) => sum + length, 0)));
      let at = 0;
      for (const [i, picture] of pictures.entries()) {
        labels.push(labelOf(rows[i]?.[layout.label], `${path}: ${layout.label} of row ${rowStart + i}`, classes.length));
        shared.set(picture, at);
        source.pictures.push(shared.subarray(at, at + picture.length));
        source.names.push(`${path}, row ${rowStart + i}`);
        at += picture.length;
      }
      rowStart = rowEnd;
    }
    return classes;
  } catch (cause) {
    if (cause instanceof GqaError || (cause as NodeJS.ErrnoException).code !== undefined)
      throw unreadable(path, 'mirror with all its files', cause);
    throw new GqaError('data', `${path} cannot be read as parquet: ${cause instanceof Error ? cause.message : String(cause)}`, {
      hint: 'The file is damaged, cut short, or a page of text in its place: get it afresh.',
      cause,
    });
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
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

function checkColumns(path: string, metadata: FileMetaData, { image, label }: ParquetLayout): void {
  const chunks = metadata.row_groups.flatMap(({ columns }) => columns.map((column) => column.meta_data));
  const found = [...new Set(chunks.map((chunk) => chunk?.path_in_schema.join('.') ?? ''))];
  const missing = [`${image}.bytes`, label].filter((column) => !found.includes(column));
  if (missing.length > 0) {
    throw new GqaError('data', `${path} has no column ${missing.join(' and ')}; it has ${found.join(', ') || 'no rows'}`, {
      hint: 'Is it a mirror of another data set? Expected are encoded pictures and their labels.',
    });
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

/** Class names of the label column, as `datasets` writes them: {"info": {"features": {<label>: {"_type": "ClassLabel", "names": […]}}}}. */
function classNames(path: string, metadata: FileMetaData, { label, classes }: ParquetLayout): string[] {
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

function pictureOf(cell: unknown, where: string): Uint8Array {
  const bytes = (cell as { bytes?: unknown } | null)?.bytes;
  if (bytes instanceof Uint8Array) return bytes;
  throw new GqaError('data', `${where} has no bytes: the pictures are not in the file`);
}

function labelOf(cell: unknown, where: string, classes: number): number {
  const label = typeof cell === 'bigint' || typeof cell === 'number' ? Number(cell) : Number.NaN;
  if (Number.isInteger(label) && label >= 0 && label < classes) return label;
  throw new GqaError('data', `${where} is ${String(cell)}; expected 0 to ${classes - 1}`);
}
