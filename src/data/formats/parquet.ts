/**
 * Hugging Face's parquet mirrors of image data sets: files `<split>-00000-of-00001.parquet`, …, each row a struct
 * {bytes, path} with an encoded image, and a label whose class names stand in the file's own metadata (key
 * `huggingface`). The encoded bytes of those that take part are taken into shared memory as they are and decoded in the
 * workers.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { GqaError } from '../../errors.js';
import type { EncodedSource, ImageSize, Published, Split, Take } from '../dataset.js';
import { inOrder } from './class-order.js';

/** How one mirror names its parts. */
export interface ParquetLayout {
  image: string;
  label: string;
  /** What the file names of our two splits begin with. */
  train: string;
  test: string;
  /** Class names where the file's metadata has none; null: it must have them. */
  classes: readonly string[] | null;
  /** The order of the classes in the data set's other form; null: as the file says. */
  order: readonly string[] | null;
  /** Size of every image, where the data set has one. */
  size?: ImageSize;
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

/**
 * Reads all shards of both splits. Labels are numbered in the order of `layout.order`, whatever the files say.
 * @param take which images are held; the others stay in their files. Left out: all are held
 * Errors: exit 3, naming file, and column or row.
 */
export async function readParquet(
  name: string,
  folder: string,
  layout: ParquetLayout,
  take?: Take,
  patience = PATIENCE,
): Promise<Published> {
  const train = await readSplit(folder, 'train', layout, take, patience);
  const test = await readSplit(folder, 'test', layout, take, patience);
  if (test.classes.join('\n') !== train.classes.join('\n')) {
    throw new GqaError('data', `${folder}: the files of ${layout.train} and of ${layout.test} have other class names`);
  }
  const { classes, notice } = train;
  const notices = [...unreadShards(folder, layout), ...(notice === null ? [] : [notice])];
  return { name, from: folder, classes, train: train.split, val: null, test: test.split, notices };
}

async function readSplit(
  folder: string,
  name: 'train' | 'test',
  layout: ParquetLayout,
  take: Take | undefined,
  patience: number,
): Promise<{ classes: string[]; notice: string | null; split: Split }> {
  const paths = shardsOf(folder, layout[name]);
  const shards: Shard[] = [];
  for (const path of paths) {
    const shard = await readShard(path, layout, take === undefined ? 'all' : 'none', patience);
    if (shards[0] !== undefined && shard.classes.join('\n') !== shards[0].classes.join('\n'))
      throw new GqaError('data', `${path} has other class names than the files before it`);
    shards.push(shard);
  }
  const found = shards.flatMap((shard) => shard.labels);
  if (found.length === 0) throw new GqaError('data', `${folder}: the files of ${layout[name]} have no rows`);
  const { classes, labels, notice } = inOrder(shards[0]?.classes ?? [], Int32Array.from(found), layout.order);
  const source: EncodedSource = {
    kind: 'encoded',
    images: Array(labels.length).fill(null),
    names: [],
    size: layout.size,
  };
  const taken = take?.(name, labels) ?? null;
  let first = 0; // index in the split of a shard's first row
  for (const [i, path] of paths.entries()) {
    const { labels: own, images } = shards[i] as Shard;
    const rows =
      taken === null
        ? 'all'
        : Array.from(taken, (index) => index - first).filter((row) => row >= 0 && row < own.length);
    const held = take === undefined ? images : (await readShard(path, layout, rows, patience)).images;
    for (const [row, image] of held) source.images[first + row] = image;
    for (let row = 0; row < own.length; row++) source.names.push(`${path}, row ${row}`);
    first += own.length;
  }
  return { classes, notice, split: { name, labels, source } };
}

/** What is reported of splits of the mirror that play no part. */
function unreadShards(folder: string, { train, test }: ParquetLayout): string[] {
  const splits = new Set(readdirSync(folder).flatMap((file) => SHARD.exec(file)?.[1] ?? []));
  const unread = [...splits].filter((split) => split !== train && split !== test).sort();
  return unread.length === 0
    ? []
    : [`${folder}: only the files of ${train} and ${test} are read, not those of ${unread.join(', ')}`];
}

/** Paths of all shards of a split, in order. Errors: exit 3 when one is missing, or belongs to another set. */
function shardsOf(folder: string, split: string): string[] {
  const found = readdirSync(folder)
    .map((file) => ({ file, match: SHARD.exec(file) }))
    .filter(({ match }) => match?.[1] === split)
    .map(({ file, match }) => ({ file, index: Number(match?.[2]), of: Number(match?.[3]) }))
    .sort((a, b) => a.index - b.index);
  const of = found[0]?.of ?? 1;
  const missing = Array.from({ length: Math.max(1, of) }, (_, index) => index).filter(
    (index) => found[index]?.index !== index,
  );
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
  /** Which images are read, and with them which labels: `none` reads all labels and no image. Rows ascend. */
  images: 'all' | 'none' | number[];
}

/**
 * What it tells: the class names, then of each group of rows its labels and those of its images that were asked for, or
 * why it cannot.
 */
export type ShardMessage =
  | { classes: string[] }
  | { labels: number[]; rows: number[]; bytes: Uint8Array<SharedArrayBuffer>; lengths: number[] }
  | { failure: { message: string; options: { hint?: string } } };

interface Shard {
  classes: string[];
  /** Empty when single rows were asked for. */
  labels: number[];
  /** By row. */
  images: Map<number, Uint8Array<SharedArrayBuffer>>;
}

/** What one file holds. A thread that says nothing for `patience` milliseconds is ended. */
function readShard(path: string, layout: ParquetLayout, images: ShardJob['images'], patience: number): Promise<Shard> {
  const { image, label, classes: official } = layout;
  const worker = new Worker(new URL('./parquet-thread.js', import.meta.url), {
    workerData: { path, image, label, classes: official, images } satisfies ShardJob,
  });
  const shard: Shard = { classes: [], labels: [], images: new Map() };
  let failure: GqaError | undefined;
  const damaged = (reason: string): GqaError =>
    new GqaError('data', `${path} cannot be read as parquet: ${reason}`, {
      hint: 'The file is damaged: get it afresh.',
    });
  const silence = setTimeout(() => {
    failure = damaged(`no group of its rows was read in ${patience / 1000} s`);
    worker.terminate();
  }, patience);
  worker.on('message', (message: ShardMessage) => {
    silence.refresh();
    if ('failure' in message) failure = new GqaError('data', message.failure.message, message.failure.options);
    else if ('classes' in message) shard.classes = message.classes;
    else {
      let at = 0;
      for (const [i, row] of message.rows.entries()) {
        const length = message.lengths[i] as number;
        shard.images.set(row, message.bytes.subarray(at, at + length));
        at += length;
      }
      for (const label of message.labels) shard.labels.push(label);
    }
  });
  worker.on('error', (error) => {
    failure = damaged(error.message); // e.g. out of memory
  });
  return new Promise((resolve, reject) => {
    worker.on('exit', () => {
      clearTimeout(silence);
      if (failure === undefined) resolve(shard);
      else reject(failure);
    });
  });
}
