/**
 * From a split to batches of bytes in an order that depends on (seed, epoch) alone. Batches are made ahead by worker
 * threads while the main one computes, and are the same for any number of them.
 */
import { availableParallelism } from 'node:os';
import { GqaError } from '../../errors.js';
import { loadImages } from '../../native/images.js';
import { draws, shuffle } from '../../random.js';
import { type Batch, partOf, type Source, type Split } from '../dataset.js';
import { type Fit, isPlain, SQUASH } from '../images/fit.js';
import { DEFAULT_READING, type Reading } from '../reading.js';
import { type Cache, openCache } from './cache.js';
import { type Making, mainThreadPool, type Pool, threadPool } from './pool.js';
import type { BatchJob, BatchOptions, Flaw } from './preprocess.js';

/** An image that was left out because it could not be read, or that is damaged. */
export interface Noted {
  split: Split['name'];
  /** In the split. */
  index: number;
  reason: string;
}

export interface Pipeline {
  /**
   * The images `indices` of the split, once. The short last batch is padded with zero-weight images, so that every
   * batch has the same shape. A batch's bytes stay until the next one is asked for. Ending the loop early drops what
   * was made ahead. Errors: exit 3, naming the file or image.
   */
  batches(split: Split, indices: Int32Array, options: BatchOptions): AsyncGenerator<Batch, void, undefined>;
  /** What was left out so far under `onBadImage: skip`, each image once. */
  readonly skipped: readonly Noted[];
  /** What is damaged and was decoded as far as it goes so far, under `onBadImage: warn`, each image once. */
  readonly damaged: readonly Noted[];
  /** Ends the worker threads. */
  close(): Promise<void>;
}

/** A thread makes some 600 large JPEGs a second (docs/measurements.md): more only for those who ask. */
const MOST_AUTO_WORKERS = 8;

/**
 * @param workers threads; 0: the main thread; `auto`: one for each core, at most 8. They start with the first batches.
 *   Errors: exit 5 when the cache's folder cannot be used
 */
export function openPipeline(workers: number | 'auto', reading: Reading = DEFAULT_READING): Pipeline {
  const count = workers === 'auto' ? Math.min(availableParallelism(), MOST_AUTO_WORKERS) : workers;
  const pool = count === 0 ? mainThreadPool() : threadPool(count);
  const cache = reading.cache === null ? null : openCache(reading.cache, reading.cacheGb);
  const [skipped, damaged] = [new Map<string, Noted>(), new Map<string, Noted>()];
  const common: Common = {
    pool,
    reading,
    cache,
    note: (used, noted) => void (used ? damaged : skipped).set(`${noted.split} ${noted.index}`, noted),
  };
  return {
    batches: (split, indices, options) => batches(common, split, indices, options),
    get skipped() {
      return [...skipped.values()];
    },
    get damaged() {
      return [...damaged.values()];
    },
    close: pool.close,
  };
}

/**
 * The size at which images cross to the device, in pixels. Those of one size not larger than the model's input keep it
 * where they are squashed bilinearly (the device enlarges them: fewer bytes); everything else is brought to the model's
 * square by the workers.
 */
export function inputSize(
  source: Source,
  modelImageSize: number,
  fit: Fit = SQUASH,
): { height: number; width: number } {
  const own = source.kind === 'raw' ? source : source.size;
  if (isPlain(fit) && own && own.height <= modelImageSize && own.width <= modelImageSize)
    return { height: own.height, width: own.width };
  return { height: modelImageSize, width: modelImageSize };
}

/** What all passes of a pipeline share. */
interface Common {
  pool: Pool;
  reading: Reading;
  cache: Cache | null;
  /** @param used as in `Flaw` */
  note(used: boolean, image: Noted): void;
}

/** The images of an epoch, in its order. */
export const epochOrder = (indices: Int32Array, seed: number, epoch: number): Int32Array =>
  shuffle(indices.slice(), draws(seed, 'shuffle', epoch));

async function* batches(
  { pool, reading, cache, note }: Common,
  split: Split,
  indices: Int32Array,
  options: BatchOptions,
): AsyncGenerator<Batch, void, undefined> {
  const { source } = split;
  const sizeStays = source.kind === 'raw' && source.height === options.height && source.width === options.width;
  if (!sizeStays || options.fit?.resize === 'crop' || options.augment === 'paper') loadImages(); // before a worker does
  const order = options.epoch === null ? indices : epochOrder(indices, options.seed, options.epoch);
  const pass = pool.open({ ...options, raw: source.kind === 'raw' ? source : null, reading, cache });
  const made: { job: BatchJob; making: Making }[] = [];
  try {
    for (let next = (options.from ?? 0) * options.batchSize; ; ) {
      for (; next < order.length && made.length < pass.ahead; next += options.batchSize) {
        const job = batchJob(split, order.slice(next, next + options.batchSize));
        made.push({ job, making: pass.start(job) });
      }
      const first = made.shift();
      if (first === undefined) return;
      const { pixels, flaws } = await first.making.made();
      for (const { position, reason, used } of flaws)
        note(used, { split: split.name, index: first.job.indices[position] as number, reason });
      yield asBatch(
        first.job,
        pixels,
        flaws.filter(({ used }) => !used),
        split.labels,
        options,
      );
      first.making.release();
    }
  } finally {
    pass.end();
  }
}

function batchJob({ source }: Split, indices: Int32Array): BatchJob {
  const part = partOf(source, indices);
  return { indices, encoded: part.kind === 'raw' ? null : part };
}

/**
 * @throws GqaError when no image of the batch could be read: there is nothing to learn from it, and something is wrong
 *   with all of them
 */
function asBatch(
  { indices }: BatchJob,
  pixels: Uint8Array,
  gaps: Flaw[],
  splitLabels: Int32Array,
  { batchSize, height, width }: BatchOptions,
): Batch {
  const images = indices.length - gaps.length;
  if (images === 0) {
    throw new GqaError(
      'data',
      `none of the ${indices.length} images of a batch could be read; the first: ${gaps[0]?.reason}`,
      {
        hint: 'data.on_bad_image: skip is for single bad images.',
      },
    );
  }
  const labels = new Int32Array(batchSize);
  const weights = new Float32Array(batchSize).fill(1, 0, indices.length);
  for (const [position, index] of indices.entries()) labels[position] = splitLabels[index] ?? 0;
  for (const { position } of gaps) {
    labels[position] = 0;
    weights[position] = 0;
  }
  return { pixels, height, width, labels, weights, images };
}
