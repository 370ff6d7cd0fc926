/**
 * RandAugment as the paper's code has it from torchvision (num_ops 2, magnitude 9 of 31 bins, nearest interpolation,
 * black fill), on images as Pillow holds them. Every operation gives Pillow's bytes. Cubuk et al. 2019, "RandAugment:
 * Practical automated data augmentation with a reduced search space" (1909.13719).
 */
import type { Draws } from '../../random.js';
import type { ImageSize } from '../dataset.js';
import { affine, rotation, shearX, shiftColumns, shiftRows } from './affine.js';
import { blend, byteLoops } from './byte-loops.js';

/** Writes all of `to` from `from`: [height, width, 3] bytes each, never the same memory. */
type Apply = (from: Uint8Array, to: Uint8Array, size: ImageSize, magnitude: number) => void;

interface Operation {
  /** Half of the draws turn the magnitude's sign. */
  signed: boolean;
  /** What level 0 … BINS − 1 means for an image of this size, in the operation's own unit. */
  magnitude(level: number, size: ImageSize): number;
  apply: Apply;
}

const BINS = 31;
/** The paper's level. */
const LEVEL = 9;
const OPERATIONS_A_IMAGE = 2;

const none = (): number => 0;
/** torch.linspace(0, end, 31) in float32: counted from the nearer end. */
const upTo =
  (end: number) =>
  (level: number): number =>
    spaced(0, end, level);
/** Pixels that 150 of 331 of an edge are. */
const edge = (pixels: number): number => (150 / 331) * pixels;

/** In torchvision's order, by which they are drawn. */
export const OPERATIONS = {
  Identity: { signed: false, magnitude: none, apply: (from, to) => to.set(from) },
  ShearX: { signed: true, magnitude: upTo(0.3), apply: (from, to, size, by) => shearX(from, to, size, by) },
  ShearY: {
    signed: true,
    magnitude: upTo(0.3),
    apply: (from, to, size, by) => affine(from, to, size, [1, 0, 0, by, 1, 0]),
  },
  TranslateX: {
    signed: true,
    magnitude: (level, { width }) => spaced(0, edge(width), level),
    apply: (from, to, size, pixels) => shiftRows(from, to, size, () => Math.trunc(pixels)),
  },
  TranslateY: {
    signed: true,
    magnitude: (level, { height }) => spaced(0, edge(height), level),
    apply: (from, to, size, pixels) => shiftColumns(from, to, size, Math.trunc(pixels)),
  },
  Rotate: {
    signed: true,
    magnitude: upTo(30),
    apply: (from, to, size, degrees) => affine(from, to, size, rotation(degrees, size)),
  },
  Brightness: { signed: true, magnitude: upTo(0.9), apply: (from, to, _, by) => look(from, to, blended(0, 1 + by)) },
  Color: { signed: true, magnitude: upTo(0.9), apply: (from, to, _, by) => byteLoops().awayFromGrey(from, to, 1 + by) },
  Contrast: {
    signed: true,
    magnitude: upTo(0.9),
    apply: (from, to, _, by) => look(from, to, blended(meanGrey(from), 1 + by)),
  },
  Sharpness: {
    signed: true,
    magnitude: upTo(0.9),
    apply: (from, to, size, by) => byteLoops().sharpen(from, to, size, 1 + by),
  },
  Posterize: {
    signed: false,
    magnitude: (level) => 8 - roundHalfEven(level / ((BINS - 1) / 4)),
    apply: (from, to, _, bits) =>
      look(
        from,
        to,
        table((value) => value & ~(2 ** (8 - bits) - 1)),
      ),
  },
  Solarize: {
    signed: false,
    magnitude: (level) => spaced(255, 0, level),
    apply: (from, to, _, threshold) =>
      look(
        from,
        to,
        table((value) => (value < threshold ? value : 255 - value)),
      ),
  },
  AutoContrast: {
    signed: false,
    magnitude: none,
    apply: (from, to) => lookEach(from, to, histograms(from).map(stretched)),
  },
  Equalize: {
    signed: false,
    magnitude: none,
    apply: (from, to) => lookEach(from, to, histograms(from).map(equalized)),
  },
} as const satisfies Record<string, Operation>;

export type OperationName = keyof typeof OPERATIONS;

const NAMES = Object.keys(OPERATIONS) as OperationName[];

/** An operation as drawn for an image. */
export interface Drawn {
  name: OperationName;
  magnitude: number;
}

/** The two operations of one image. Draws, for each: the operation, then the sign where it has one. */
export function drawOperations(from: Draws, size: ImageSize): Drawn[] {
  return Array.from({ length: OPERATIONS_A_IMAGE }, () => {
    const name = NAMES[from.below(NAMES.length)] as OperationName;
    const { signed, magnitude } = OPERATIONS[name];
    const drawn = magnitude(LEVEL, size);
    return { name, magnitude: signed && from.below(2) === 1 ? -drawn : drawn };
  });
}

/** Applies one operation. @param from, to [height, width, 3] bytes, not the same memory; `to` is written in full */
export function applyOperation({ name, magnitude }: Drawn, from: Uint8Array, to: Uint8Array, size: ImageSize): void {
  (OPERATIONS[name].apply as Apply)(from, to, size, magnitude);
}

/** Value `level` of torch.linspace(start, end, BINS), in float32. */
function spaced(start: number, end: number, level: number): number {
  const [first, last] = [Math.fround(start), Math.fround(end)];
  const step = Math.fround((last - first) / (BINS - 1));
  return Math.fround(level < BINS / 2 ? first + step * level : last - step * (BINS - 1 - level));
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

// What becomes of values.

const table = (of: (value: number) => number): Uint8Array => Uint8Array.from({ length: 256 }, (_, value) => of(value));

/** One table for all channels. */
const look = (from: Uint8Array, to: Uint8Array, values: Uint8Array): void =>
  lookEach(from, to, [values, values, values]);

/** A table for each channel. */
function lookEach(from: Uint8Array, to: Uint8Array, values: Uint8Array[]): void {
  const tables = new Uint8Array(3 * 256);
  for (const [channel, own] of values.entries()) tables.set(own, channel * 256);
  byteLoops().lookUp(from, to, tables);
}

const blended = (other: number, factor: number): Uint8Array => table((value) => blend(other, value, factor));

const meanGrey = (from: Uint8Array): number => Math.trunc(byteLoops().greySum(from) / (from.length / 3) + 0.5);

const clamped = (value: number): number => Math.max(0, Math.min(255, value));

/** How often each value occurs, by channel. */
function histograms(from: Uint8Array): Uint32Array[] {
  const counts = new Uint32Array(3 * 256);
  byteLoops().histograms(from, counts);
  return [0, 1, 2].map((channel) => counts.subarray(channel * 256, (channel + 1) * 256));
}

/** From the lowest and highest value that occur to 0 and 255. */
function stretched(counts: Uint32Array): Uint8Array {
  const low = counts.findIndex((count) => count > 0);
  const high = counts.findLastIndex((count) => count > 0);
  if (high <= low) return table((value) => value);
  const scale = 255 / (high - low);
  return table((value) => clamped(Math.trunc(value * scale + -low * scale)));
}

/** To values that are spread evenly. */
function equalized(counts: Uint32Array): Uint8Array {
  const occurring = counts.filter((count) => count > 0);
  const step = Math.floor((occurring.reduce((sum, count) => sum + count, 0) - (occurring.at(-1) ?? 0)) / 255);
  if (occurring.length <= 1 || step === 0) return table((value) => value);
  let before = Math.floor(step / 2);
  return table((value) => {
    const to = Math.floor(before / step);
    before += counts[value] as number;
    return Math.min(255, to);
  });
}
