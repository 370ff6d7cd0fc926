/**
 * The loops over all bytes of an image, [height, width, 3]: natively where set-up could compile them
 * (src/native/images.cc), else in JavaScript, to the same bytes. What the numbers mean is said where they come from:
 * resample.ts and randaugment.ts.
 */
import { type ImageAddon, loadImages } from '../../native/images.js';
import type { ImageSize } from '../dataset.js';

/**
 * For each target pixel along one axis: its first source pixel, how many, and their weights of 22 bits (weights.length
 * / target apart).
 */
export interface Windows {
  first: Int32Array;
  count: Int32Array;
  weights: Int32Array;
}

/** `from` and `to` are never the same memory; `to` is written in full. */
export interface ByteLoops {
  /**
   * Each pixel of `to`, [size.height, targetWidth, 3]: the sum of those of its row that its column's window tells,
   * rounded and kept within a byte.
   */
  resampleAcross(from: Uint8Array, size: ImageSize, to: Uint8Array, targetWidth: number, windows: Windows): void;
  /** The same along columns: `to` is [targetHeight, size.width, 3]. */
  resampleDown(from: Uint8Array, size: ImageSize, to: Uint8Array, targetHeight: number, windows: Windows): void;
  /**
   * Each row's pixels, from the first to before the last column of its run, from places in the image that lie a step
   * apart; black outside the run.
   * @param runs for each row: first column, last, and the first's place, x and y; @param stepX, stepY places and steps
   *   are of 65536 fractions of a pixel, and lie in the image
   */
  gather(from: Uint8Array, to: Uint8Array, size: ImageSize, stepX: number, stepY: number, runs: Int32Array): void;
  /** @param tables 256 values for each channel */
  lookUp(from: Uint8Array, to: Uint8Array, tables: Uint8Array): void;
  /** @param counts 256 for each channel, to which is added how often each value occurs */
  histograms(from: Uint8Array, counts: Uint32Array): void;
  /** Sum of all pixels' `grey`. */
  greySum(from: Uint8Array): number;
  /** `blend` of each pixel's grey and each of its values. */
  awayFromGrey(from: Uint8Array, to: Uint8Array, factor: number): void;
  /**
   * `blend` of the smoothed image (Pillow's SMOOTH: weights of sum 13, the middle 5, its eight neighbours 1, rounded)
   * and the image; the pixels of the edge stay.
   */
  sharpen(from: Uint8Array, to: Uint8Array, size: ImageSize, factor: number): void;
}

let chosen: ByteLoops | undefined;

export function byteLoops(): ByteLoops {
  if (chosen === undefined) {
    const { addon } = loadImages();
    chosen = addon === null ? inJavaScript : natively(addon);
  }
  return chosen;
}

export const natively = (addon: ImageAddon): ByteLoops => ({
  resampleAcross: (from, { height, width }, to, target, { first, count, weights }) =>
    addon.resampleAcross(from, to, height, width, target, first, count, weights),
  resampleDown: (from, { height, width }, to, target, { first, count, weights }) =>
    addon.resampleDown(from, to, height, width, target, first, count, weights),
  gather: (from, to, { height, width }, stepX, stepY, runs) =>
    addon.gather(from, to, height, width, stepX, stepY, runs),
  lookUp: addon.lookUp,
  histograms: addon.histograms,
  greySum: addon.greySum,
  awayFromGrey: addon.awayFromGrey,
  sharpen: (from, to, { height, width }, factor) => addon.sharpen(from, to, height, width, factor),
});

export const WEIGHT_BITS = 22;
const HALF = 1 << (WEIGHT_BITS - 1);

/** Kept within a byte: bicubic sums can leave it. */
const byteOf = (value: number): number => ((value & ~255) === 0 ? value : value < 0 ? 0 : 255);

export const inJavaScript: ByteLoops = {
  resampleAcross(from, { height, width }, to, targetWidth, { first, count, weights }) {
    const stride = weights.length / targetWidth;
    let at = 0;
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < targetWidth; column++) {
        let [red, green, blue] = [HALF, HALF, HALF];
        let source = (row * width + (first[column] as number)) * 3;
        const end = column * stride + (count[column] as number);
        for (let i = column * stride; i < end; i++) {
          const weight = weights[i] as number;
          red += (from[source] as number) * weight;
          green += (from[source + 1] as number) * weight;
          blue += (from[source + 2] as number) * weight;
          source += 3;
        }
        to[at] = byteOf(red >> WEIGHT_BITS);
        to[at + 1] = byteOf(green >> WEIGHT_BITS);
        to[at + 2] = byteOf(blue >> WEIGHT_BITS);
        at += 3;
      }
    }
  },
  resampleDown(from, { width }, to, targetHeight, { first, count, weights }) {
    const rowBytes = width * 3;
    const stride = weights.length / targetHeight;
    const sums = new Int32Array(rowBytes);
    for (let row = 0; row < targetHeight; row++) {
      sums.fill(HALF);
      for (let i = 0; i < (count[row] as number); i++) {
        const weight = weights[row * stride + i] as number;
        const source = ((first[row] as number) + i) * rowBytes;
        for (let byte = 0; byte < rowBytes; byte++)
          (sums as { [at: number]: number })[byte]! += (from[source + byte] as number) * weight;
      }
      for (let byte = 0; byte < rowBytes; byte++)
        to[row * rowBytes + byte] = byteOf((sums[byte] as number) >> WEIGHT_BITS);
    }
  },
  gather(from, to, { height, width }, stepX, stepY, runs) {
    let at = 0;
    for (let row = 0; row < height; row++) {
      const first = runs[row * 4] as number;
      const last = runs[row * 4 + 1] as number;
      let x = runs[row * 4 + 2] as number;
      let y = runs[row * 4 + 3] as number;
      const end = at + width * 3;
      to.fill(0, at, at + first * 3);
      at += first * 3;
      for (let column = first; column < last; column++) {
        const source = ((y >> 16) * width + (x >> 16)) * 3;
        to[at] = from[source] as number;
        to[at + 1] = from[source + 1] as number;
        to[at + 2] = from[source + 2] as number;
        at += 3;
        x += stepX;
        y += stepY;
      }
      to.fill(0, at, end);
      at = end;
    }
  },
  lookUp(from, to, tables) {
    for (let i = 0; i < to.length; i += 3) {
      to[i] = tables[from[i] as number] as number;
      to[i + 1] = tables[256 + (from[i + 1] as number)] as number;
      to[i + 2] = tables[512 + (from[i + 2] as number)] as number;
    }
  },
  histograms(from, counts) {
    const bins = counts as { [at: number]: number };
    for (let i = 0; i < from.length; i += 3) {
      bins[from[i] as number]!++;
      bins[256 + (from[i + 1] as number)]!++;
      bins[512 + (from[i + 2] as number)]!++;
    }
  },
  greySum(from) {
    let sum = 0;
    for (let i = 0; i < from.length; i += 3)
      sum += grey(from[i] as number, from[i + 1] as number, from[i + 2] as number);
    return sum;
  },
  awayFromGrey(from, to, factor) {
    const pairs = blendTable(factor);
    for (let i = 0; i < to.length; i += 3) {
      const red = from[i] as number;
      const green = from[i + 1] as number;
      const blue = from[i + 2] as number;
      const row = grey(red, green, blue) << 8;
      to[i] = pairs[row + red] as number;
      to[i + 1] = pairs[row + green] as number;
      to[i + 2] = pairs[row + blue] as number;
    }
  },
  sharpen(from, to, { height, width }, factor) {
    const pairs = blendTable(factor);
    const rowBytes = width * 3;
    to.set(from);
    for (let row = 1; row < height - 1; row++) {
      const start = row * rowBytes;
      for (let channel = 0; channel < 3; channel++) {
        let at = start + channel;
        const end = start + rowBytes - 3;
        let before = (from[at - rowBytes] as number) + (from[at] as number) + (from[at + rowBytes] as number);
        at += 3;
        if (at >= end) continue;
        let middle = from[at] as number;
        let here = (from[at - rowBytes] as number) + middle + (from[at + rowBytes] as number);
        for (; at < end; at += 3) {
          const next = from[at + 3] as number;
          const after = (from[at + 3 - rowBytes] as number) + next + (from[at + 3 + rowBytes] as number);
          const smooth = SMOOTH[before + here + after + 4 * middle] as number;
          to[at] = pairs[(smooth << 8) + middle] as number;
          before = here;
          here = after;
          middle = next;
        }
      }
    }
  },
};

/** Grey of a pixel, as Pillow's mode L (ITU-R 601-2, 16-bit fractions). */
const grey = (red: number, green: number, blue: number): number =>
  (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;

/** By the sum of the weighted values. */
const SMOOTH = Uint8Array.from({ length: 13 * 255 + 1 }, (_, sum) => Math.floor((2 * sum + 13) / 26));

/**
 * Pillow's blend of two values: float32, cut off, kept within a byte.
 * @param factor 0: all `other`; 1: all `value`; beyond 1: away from `other`
 */
export function blend(other: number, value: number, factor: number): number {
  const mixed = Math.fround(other + Math.fround(Math.fround(factor) * (value - other)));
  return mixed <= 0 ? 0 : mixed >= 255 ? 255 : Math.floor(mixed);
}

/** `blend` of all pairs, by other · 256 + value; kept, since the paper's level has two factors only. */
function blendTable(factor: number): Uint8Array {
  let pairs = blendTables.get(factor);
  if (pairs === undefined) {
    pairs = Uint8Array.from({ length: 65536 }, (_, pair) => blend(pair >> 8, pair & 255, factor));
    if (blendTables.size > 8) blendTables.clear();
    blendTables.set(factor, pairs);
  }
  return pairs;
}

const blendTables = new Map<number, Uint8Array>();
