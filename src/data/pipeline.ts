/**
 * From a split to batches of bytes in an order that depends on (seed, epoch) alone. Batches are made ahead by worker threads while the main one computes, and are the same for any number of them.
 */
import { availableParallelism } from 'node:os';
import { draws, shuffle } from '../random.js';
import { type Batch, partOf, type Source, type Split } from './dataset.js';
import { mainThreadPool, type Pool, threadPool } from './pool.js';
import type { BatchJob, BatchOptions } from './preprocess.js';

export interface Pipeline {
  /**
   * The pictures `indices` of the split, once. The short last batch is padded with zero-weight pictures, so that every batch has the same shape.
   * Ending the loop early drops what was made ahead. Errors: exit 3, naming the file or picture.
   */
  batches(split: Split, indices: Int32Array, options: BatchOptions): AsyncGenerator<Batch, void, undefined>;
  /** Ends the worker threads. */
  close(): Promise<void>;
}

/** More threads than this only wait for each other: sharp decodes in a pool of its own. */
const MOST_AUTO_WORKERS = 8;

/** @param workers threads; 0: the main thread; `auto`: one for each core, at most 8. They start with the first batches. */
export function openPipeline(workers: number | 'auto'): Pipeline {
  const count = workers === 'auto' ? Math.min(availableParallelism(), MOST_AUTO_WORKERS) : workers;
  const pool = count === 0 ? mainThreadPool() : threadPool(count);
  return { batches: (split, indices, options) => batches(pool, split, indices, options), close: pool.close };
}

/**
 * The size at which pictures cross to the device, in pixels. Pictures that all have one size, not larger than the model's input, keep it (the device enlarges them: fewer bytes);
 * everything else is resized by the workers to the model's square, aspect ratio not kept.
 */
export function inputSize(source: Source, modelImageSize: number): { height: number; width: number } {
  const own = source.kind === 'raw' ? source : source.size;
  return own !== undefined && own.height <= modelImageSize && own.width <= modelImageSize
    ? { height: own.height, width: own.width }
    : { height: modelImageSize, width: modelImageSize };
}

async function* batches(pool: Pool, split: Split, indices: Int32Array, options: BatchOptions): AsyncGenerator<Batch, void, undefined> {
  const order = options.epoch === null ? indices : shuffle(indices.slice(), draws(options.seed, 'shuffle', options.epoch));
  const made: { job: BatchJob; pixels: Promise<Uint8Array> }[] = [];
  for (let next = 0; ; ) {
    for (; next < order.length && made.length < pool.ahead; next += options.batchSize) {
      const job = batchJob(split, order.slice(next, next + options.batchSize), options);
      const pixels = pool.run(job);
      // A failure is met when its batch is asked for; until then, and after an early end of the loop, it must not count as unhandled.
      pixels.catch(() => {});
      made.push({ job, pixels });
    }
    const first = made.shift();
    if (first === undefined) return;
    yield asBatch(first.job, await first.pixels, split.labels);
  }
}

function batchJob({ source }: Split, indices: Int32Array, options: BatchOptions): BatchJob {
  return { ...options, source: partOf(source, indices), indices };
}

function asBatch({ indices, batchSize, height, width }: BatchJob, pixels: Uint8Array, splitLabels: Int32Array): Batch {
  const labels = new Int32Array(batchSize);
  const weights = new Float32Array(batchSize).fill(1, 0, indices.length);
  for (const [position, index] of indices.entries()) labels[position] = splitLabels[index] ?? 0;
  return { pixels, height, width, labels, weights, images: indices.length };
}
