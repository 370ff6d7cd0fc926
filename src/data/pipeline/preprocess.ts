/**
 * From a split's source to the bytes of one batch: read, decode, augment, resize, place. Runs alike on the main thread
 * and in workers.
 */
import { GqaError } from '../../errors.js';
import { draws } from '../../random.js';
import type { EncodedSource, FileSource, RawSource } from '../dataset.js';
import { type Augment, lightPlacement } from '../images/augment.js';
import { decodeImage, encodedBytes, encodedImage } from '../images/decode.js';
import { erase } from '../images/erase.js';
import { type Fit, fitImage, SQUASH } from '../images/fit.js';
import { asImage, type Decoded, type Image, interleaved, placeImage, rawImage, unmoved } from '../images/image.js';
import { applyOperation, drawOperations } from '../images/randaugment.js';
import type { Reading } from '../reading.js';
import { type Cache, cached } from './cache.js';

/** How a split becomes batches. */
export interface BatchOptions {
  batchSize: number;
  /** Size at which images cross to the device, in pixels. */
  height: number;
  width: number;
  /** How they are brought to it; squashed, bilinear, when left out. */
  fit?: Fit;
  seed: number;
  /** Which shuffle and which augmentation draws; null: in the given order and unaugmented, as in evaluation. */
  epoch: number | null;
  augment: Augment;
  /** Batches of the pass that were done before, which are left out without being read; 0 when left out. */
  from?: number;
  /** Probability that a box is erased; none when left out. */
  randomErasing?: number;
  /** What a box is filled with, [red, green, blue]; 128 when left out. */
  erasedTo?: readonly number[];
}

/** What the batches of one pass over a split have in common; crosses to a worker once. */
export interface Pass extends BatchOptions {
  /** Raw pixels are shared; null: encoded images come with each batch. */
  raw: RawSource | null;
  reading: Reading;
  cache: Cache | null;
}

/** The images of one batch. */
export interface BatchJob {
  /** Indices in the split: what augmentation draws belong to. At most batchSize. */
  indices: Int32Array;
  /** `partOf` the split's: of this batch's images. null: they are raw. */
  encoded: FileSource | EncodedSource | null;
}

/** An image that could not be read, or that is damaged, and why. */
export interface Flaw {
  /** In the batch. */
  position: number;
  reason: string;
  /** Damaged, but decoded as far as it goes; otherwise left out. */
  used: boolean;
}

/** The steps of an image's way, in order. */
export const STAGES = ['read', 'decode', 'augment', 'resize', 'place'] as const;
export type Stage = (typeof STAGES)[number];

/** Called with how long each stage took, in milliseconds. */
export type Clock = (stage: Stage, milliseconds: number) => void;

/**
 * Makes one batch.
 * @param out       [batchSize, height, width, 3] bytes, whatever they hold; rows beyond the indices, and those of
 *   images left out, become 0
 * @param onImage called with the position in the batch before each image; returning false abandons the batch
 * @returns what was left out under `onBadImage: skip`, and what is damaged under `warn`. Errors: exit 3, naming the
 *   file or image
 */
export async function makeBatch(
  pass: Pass,
  job: BatchJob,
  out: Uint8Array,
  onImage: (position: number) => boolean = () => true,
  clock: Clock | null = null,
): Promise<Flaw[]> {
  const imageBytes = pass.height * pass.width * 3;
  const flaws: Flaw[] = [];
  const images = job.indices.length;
  // Where sharp decodes, it does so with the next image (in its own thread) while this one is augmented (in ours).
  let ahead = images > 0 ? resolved(readImage(pass, job, 0, clock)) : undefined;
  for (let position = 0; position < images; position++) {
    if (!onImage(position)) break;
    const row = out.subarray(position * imageBytes, (position + 1) * imageBytes);
    const read = (await ahead) as Resolved;
    ahead = position + 1 < images ? resolved(readImage(pass, job, position + 1, clock)) : undefined;
    try {
      if ('error' in read) throw read.error;
      writeImage(pass, read.image, job.indices[position] as number, row, clock);
      if (read.image.damage !== null) flaws.push({ position, reason: read.image.damage, used: true });
    } catch (error) {
      if (pass.reading.onBadImage !== 'skip' || !(error instanceof GqaError)) throw error;
      row.fill(0);
      flaws.push({ position, reason: error.message, used: false });
    }
  }
  await ahead; // of a batch that is abandoned
  out.fill(0, images * imageBytes);
  return flaws;
}

type Resolved = { image: Decoded } | { error: unknown };

const resolved = (reading: Promise<Decoded>): Promise<Resolved> =>
  reading.then(
    (image) => ({ image }),
    (error: unknown) => ({ error }),
  );

/** Is the image augmented at its own size, before it is resized? */
const atOwnSize = ({ augment, epoch }: Pass): boolean => augment === 'paper' && epoch !== null;

/** The image as augmentation wants it: at its own size, or at the size of the batch. */
async function readImage(
  pass: Pass,
  { indices, encoded }: BatchJob,
  position: number,
  clock: Clock | null,
): Promise<Decoded> {
  const { raw, reading, cache } = pass;
  if (encoded === null)
    return { ...sized(pass, rawImage(raw as RawSource, indices[position] as number), clock), damage: null };
  const image = encodedImage(encoded, position);
  const make = async (): Promise<Decoded> => {
    const read = timed(clock, 'read', () => encodedBytes(image));
    const decoded = await timedAsync(clock, 'decode', () => decodeImage(read, null, reading));
    return { ...sized(pass, decoded, clock), damage: decoded.damage };
  };
  return cache === null || typeof image !== 'string'
    ? make()
    : cached(cache, image, atOwnSize(pass) ? null : pass, make);
}

function sized(pass: Pass, image: Image, clock: Clock | null): Image {
  return atOwnSize(pass) ? image : resized(pass, image, clock);
}

function resized(pass: Pass, image: Image, clock: Clock | null): Image {
  const { height, width, fit = SQUASH } = pass;
  const fits = image.height === height && image.width === width && fit.resize === 'squash';
  return fits ? image : timed(clock, 'resize', () => fitImage(image, { height, width }, fit));
}

/** Augments one image into its row of the batch. */
function writeImage(pass: Pass, read: Image, index: number, row: Uint8Array, clock: Clock | null): void {
  const { height, width, seed, epoch, augment, randomErasing = 0, erasedTo } = pass;
  const image = atOwnSize(pass)
    ? resized(
        pass,
        timed(clock, 'augment', () => randAugmented(read, seed, epoch as number, index)),
        clock,
      )
    : read;
  timed(clock, 'place', () => {
    if (augment === 'light' && epoch !== null) {
      row.fill(0);
      placeImage(image, lightPlacement(draws(seed, 'augment', epoch, index), height, width), row, 0);
    } else if (image.pixelStride === 3 && image.channelStride === 1) {
      row.set(interleaved(image));
    } else {
      placeImage(image, unmoved, row, 0);
    }
    if (randomErasing > 0 && epoch !== null)
      erase(row, pass, randomErasing, draws(seed, 'erase', epoch, index), erasedTo);
  });
}

/**
 * Scratch memory of this thread: two images, as large as the largest so far of those of at most KEPT_BYTES. Larger ones
 * get memory of their own, which goes with them.
 */
let scratch: [Uint8Array, Uint8Array] = [new Uint8Array(0), new Uint8Array(0)];
const KEPT_BYTES = 2 ** 25;

function scratchOf(bytes: number): [Uint8Array, Uint8Array] {
  if (scratch[0].length >= bytes) return scratch;
  const made: [Uint8Array, Uint8Array] = [new Uint8Array(bytes), new Uint8Array(bytes)];
  if (bytes <= KEPT_BYTES) scratch = made;
  return made;
}

function randAugmented(image: Image, seed: number, epoch: number, index: number): Image {
  const { height, width } = image;
  const size = { height, width };
  const bytes = height * width * 3;
  const between = scratchOf(bytes);
  let from = interleaved(image);
  for (const [i, drawn] of drawOperations(draws(seed, 'augment', epoch, index), size).entries()) {
    if (drawn.name === 'Identity') continue;
    const to = (between[i % 2] as Uint8Array).subarray(0, bytes);
    applyOperation(drawn, from, to, size);
    from = to;
  }
  return asImage(from, size);
}

function timed<T>(clock: Clock | null, stage: Stage, work: () => T): T {
  if (clock === null) return work();
  const started = performance.now();
  const result = work();
  clock(stage, performance.now() - started);
  return result;
}

async function timedAsync<T>(clock: Clock | null, stage: Stage, work: () => Promise<T>): Promise<T> {
  if (clock === null) return work();
  const started = performance.now();
  const result = await work();
  clock(stage, performance.now() - started);
  return result;
}
