/**
 * The input pipeline against Pillow's and torchvision's images: the bilinear resize (by the device where it enlarges,
 * by the worker in all cases), each operation of RandAugment alone, and normalisation. Form and tolerances:
 * test/reference/README.md.
 */
import fs from 'node:fs';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { DEFAULT_PREPROCESSING, type Triple } from '../config/preprocessing.js';
import type { ImageSize } from '../data/dataset.js';
import { decodeImage } from '../data/images/decode.js';
import { asImage, interleaved, resizeImage } from '../data/images/image.js';
import { applyOperation, OPERATIONS, type OperationName } from '../data/images/randaugment.js';
import { GqaError } from '../errors.js';
import { normalise } from '../model/pixels.js';
import type { CaseResult } from './case.js';

interface Index {
  resize: { input: string; output: string; size: [height: number, width: number] }[];
  randaugment: { op: string; level: number; bins: number; magnitude: number; input: string; output: string }[];
  normalize?: { mean: Triple; std: Triple };
}

/** What a case may be off, in 0 … 255. */
interface Tolerance {
  largest?: number;
  mean?: number;
  /** Part of the pixels that may be off by more than 1. */
  pixels?: number;
}

const RESIZED: Tolerance = { largest: 1 };
const POINTWISE: Tolerance = { largest: 1 };
const MOVING: Tolerance = { pixels: 0.02 };

const TOLERANCES: Record<OperationName, Tolerance> = {
  Identity: POINTWISE,
  ShearX: MOVING,
  ShearY: MOVING,
  TranslateX: MOVING,
  TranslateY: MOVING,
  Rotate: MOVING,
  Brightness: POINTWISE,
  Color: POINTWISE,
  Contrast: POINTWISE,
  Sharpness: POINTWISE,
  Posterize: POINTWISE,
  Solarize: POINTWISE,
  AutoContrast: POINTWISE,
  Equalize: POINTWISE,
};

/** Compares every case of `dir`, one after the other. @throws GqaError when its index cannot be read */
export async function* comparePreprocess(dir: string): AsyncGenerator<CaseResult, void, undefined> {
  const index = readIndex(path.join(dir, 'index.json'));
  for (const each of index.resize) yield* compareResize(dir, each);
  for (const each of index.randaugment) yield await guarded(nameOf(each), () => compareOperation(dir, each));
  if (index.normalize !== undefined)
    yield await guarded('normalize', async () => compareNormalize(index.normalize as Required<Index>['normalize']));
}

function readIndex(file: string): Index {
  try {
    const { resize = [], randaugment = [], normalize } = JSON.parse(fs.readFileSync(file, 'utf8')) as Partial<Index>;
    return { resize, randaugment, ...(normalize === undefined ? {} : { normalize }) };
  } catch (cause) {
    throw new GqaError('data', `${file}: cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** A case that cannot be computed has failed, and says why. */
async function guarded(name: string, compare: () => Promise<Omit<CaseResult, 'name'>>): Promise<CaseResult> {
  try {
    return { name, ...(await compare()) };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { name, passed: false, detail: error.message };
  }
}

async function* compareResize(
  dir: string,
  { input, output, size: [height, width] }: Index['resize'][number],
): AsyncGenerator<CaseResult> {
  const size = { height, width };
  const name = `resize ${input} to ${height} × ${width}`;
  const load = async (): Promise<{ from: Pixels; expected: Pixels }> => {
    const [from, expected] = [await pixelsOf(path.join(dir, input)), await pixelsOf(path.join(dir, output))];
    requireSize(output, expected, size);
    return { from, expected };
  };
  const enlarges = (from: ImageSize): boolean => from.height <= height && from.width <= width;
  yield await guarded(`${name}, worker`, async () => {
    const { from, expected } = await load();
    const resized = resizeImage(asImage(from.bytes, from), size);
    return judged(interleaved(resized), expected.bytes, RESIZED);
  });
  const head = await pixelsOf(path.join(dir, input)).catch(() => null);
  if (head === null || !enlarges(head) || height !== width) return;
  yield await guarded(`${name}, device`, async () => {
    const { from, expected } = await load();
    const values = tf.tidy(() =>
      normalise(
        tf.tensor(from.bytes, [1, from.height, from.width, 3], 'int32'),
        height,
        DEFAULT_PREPROCESSING,
      ).dataSync(),
    );
    return judged(
      Uint8Array.from(values, (value) => Math.round((value + 1) * 127.5)),
      expected.bytes,
      RESIZED,
    );
  });
}

const nameOf = ({ op, level, magnitude }: Index['randaugment'][number]): string =>
  `${op}, level ${level}${magnitude < 0 ? ', negative' : ''}`;

async function compareOperation(
  dir: string,
  { op, level, bins, magnitude, input, output }: Index['randaugment'][number],
): Promise<Omit<CaseResult, 'name'>> {
  if (!(op in OPERATIONS)) throw new Error(`operation “${op}” is unknown`);
  if (bins !== 31) throw new Error(`${bins} bins; torchvision's default of 31 is what is built in`);
  const name = op as OperationName;
  const [from, expected] = [await pixelsOf(path.join(dir, input)), await pixelsOf(path.join(dir, output))];
  requireSize(output, expected, from);
  const own = OPERATIONS[name].magnitude(level, from);
  if (Math.abs(own - Math.abs(magnitude)) > 1e-5 * Math.max(1, own))
    throw new Error(`level ${level} means ${own} here and ${magnitude} there`);
  const to = new Uint8Array(from.bytes.length);
  applyOperation({ name, magnitude }, from.bytes, to, from);
  return judged(to, expected.bytes, TOLERANCES[name]);
}

/** Every byte, normalised on the device. */
function compareNormalize({ mean, std }: Required<Index>['normalize']): Omit<CaseResult, 'name'> {
  const bytes = Int32Array.from({ length: 16 * 16 * 3 }, (_, i) => Math.floor(i / 3));
  const found = tf.tidy(() => normalise(tf.tensor(bytes, [1, 16, 16, 3], 'int32'), 16, { mean, std }).dataSync());
  let largest = 0;
  for (const [i, value] of found.entries()) {
    const expected = ((bytes[i] as number) / 255 - (mean[i % 3] as number)) / (std[i % 3] as number);
    largest = Math.max(largest, Math.abs(value - expected));
  }
  return { passed: largest <= 1e-6, detail: `largest ${largest.toExponential(1)} (allowed 1e-6)` };
}

interface Pixels extends ImageSize {
  /** [height, width, 3] */
  bytes: Uint8Array;
}

async function pixelsOf(file: string): Promise<Pixels> {
  const image = await decodeImage(file, null);
  return { height: image.height, width: image.width, bytes: interleaved(image) };
}

function requireSize(file: string, found: ImageSize, expected: ImageSize): void {
  if (found.height === expected.height && found.width === expected.width) return;
  throw new Error(`${file} is ${found.height} × ${found.width}, expected ${expected.height} × ${expected.width}`);
}

function judged(
  found: Uint8Array,
  expected: Uint8Array,
  { largest, mean, pixels }: Tolerance,
): Omit<CaseResult, 'name'> {
  const off = { largest: 0, sum: 0, pixels: 0 };
  for (let at = 0; at < expected.length; at += 3) {
    let worst = 0;
    for (let i = at; i < at + 3; i++) {
      const difference = Math.abs((found[i] as number) - (expected[i] as number));
      worst = Math.max(worst, difference);
      off.sum += difference;
    }
    off.largest = Math.max(off.largest, worst);
    if (worst > 1) off.pixels++;
  }
  const figures: [what: string, value: number, allowed: number | undefined][] = [
    ['largest', off.largest, largest],
    ['mean', off.sum / expected.length, mean],
    ['pixels off by more than 1', off.pixels / (expected.length / 3), pixels],
  ];
  const judgedBy = figures.filter(([, , allowed]) => allowed !== undefined);
  return {
    passed: judgedBy.every(([, value, allowed]) => value <= (allowed as number)),
    detail: judgedBy
      .map(([what, value, allowed]) => `${what} ${Number(value.toPrecision(2))} (allowed ${allowed})`)
      .join(', '),
  };
}
