/**
 * Hugging Face's parquet mirrors of picture data sets: files `<split>-00000-of-00001.parquet`, …, each row a struct {bytes, path} with an encoded picture, and a label whose class names stand in the file's
 * own metadata (key `huggingface`). The encoded bytes are taken into shared memory as they are and decoded in the workers.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { GqaError } from '../../errors.js';
import type { Dataset, EncodedSource, PictureSize, Split } from '../dataset.js';

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

/** Does the folder hold a shard of the layout? */
export function holdsParquet(folder: string, layout: ParquetLayout): boolean {
  try {
    return readdirSync(folder).some((file) => [layout.train, layout.test].includes(SHARD.exec(file)?.[1] ?? ''));
  } catch {
    return false; // no such folder
  }
}

/** Milliseconds that a group of rows may take. Real ones take a second at most. */
const PATIENCE = 120_000;

/** Reads all shards of both splits. Errors: exit 3, naming file, and column or row. */
export async function readParquet(name: string, folder: string, layout: ParquetLayout, patience = PATIENCE): Promise<Dataset> {
  const train = await readSplit(folder, 'train', layout, patience);
  const test = await readSplit(folder, 'test', layout, patience);
  if (test.classes.join('\n') !== train.classes.join('\n')) {
    throw new GqaError('data', `${folder}: the files of ${layout.train} and of ${layout.test} have other class names`);
  }
  return { name, from: folder, classes: train.classes, train: train.split, test: test.split };
}

async function readSplit(
  folder: string,
  name: Split['name'],
  layout: ParquetLayout,
  patience: number,
): Promise<{ classes: string[]; split: Split }> {
  const source: EncodedSource = { kind: 'encoded', pictures: [], names: [], size: layout.size };
  const labels: number[] = [];
  let classes: string[] = [];
  for (const [i, path] of shardsOf(folder, layout[name]).entries()) {
    const own = await readShard(path, layout, patience, source, labels);
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

/** What the thread of a file is given. */
export interface ShardJob extends Pick<ParquetLayout, 'image' | 'label' | 'classes'> {
  path: string;
}

/** What it tells: the class names, then its groups of rows, or why it cannot. */
export type ShardMessage =
  | { classes: string[] }
  | { bytes: Uint8Array<SharedArrayBuffer>; lengths: number[]; labels: number[] }
  | { failure: { message: string; options: { hint?: string } } };

/** Adds the pictures and labels of one file; returns its class names. A thread that says nothing for `patience` milliseconds is ended. */
function readShard(path: string, layout: ParquetLayout, patience: number, source: EncodedSource, labels: number[]): Promise<string[]> {
  const { image, label, classes: official } = layout;
  const worker = new Worker(new URL('./parquet-thread.js', import.meta.url), {
    workerData: { path, image, label, classes: official } satisfies ShardJob,
  });
  let classes: string[] = [];
  let row = 0;
  let failure: GqaError | undefined;
  const damaged = (reason: string): GqaError =>
    new GqaError('data', `${path} cannot be read as parquet: ${reason}`, { hint: 'The file is damaged: get it afresh.' });
  const silence = setTimeout(() => {
    failure = damaged(`no group of its rows was read in ${patience / 1000} s`);
    worker.terminate();
  }, patience);
  worker.on('message', (message: ShardMessage) => {
    silence.refresh();
    if ('failure' in message) failure = new GqaError('data', message.failure.message, message.failure.options);
    else if ('classes' in message) classes = message.classes;
    else {
      let at = 0;
      for (const length of message.lengths) {
        source.pictures.push(message.bytes.subarray(at, at + length));
        source.names.push(`${path}, row ${row++}`);
        at += length;
      }
      for (const label of message.labels) labels.push(label);
    }
  });
  worker.on('error', (error) => {
    failure = damaged(error.message); // e.g. out of memory
  });
  return new Promise((resolve, reject) => {
    worker.on('exit', () => {
      clearTimeout(silence);
      if (failure === undefined) resolve(classes);
      else reject(failure);
    });
  });
}
