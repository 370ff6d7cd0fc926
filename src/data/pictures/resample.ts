/**
 * Bilinear resize that gives Pillow's bytes in both directions (a triangle as wide as a source pixel when enlarging, as a target pixel when shrinking, hence antialiased):
 * along one axis, then along the other, weights of 22 bits, rounded to whole bytes between the two.
 */
import type { PictureSize } from '../dataset.js';
import { byteLoops, WEIGHT_BITS, type Windows } from './byte-loops.js';

/** @param from [size.height, size.width, 3] bytes; @param to [target.height, target.width, 3] bytes, written in full */
export function resample(from: Uint8Array, size: PictureSize, to: Uint8Array, target: PictureSize): void {
  const { resampleAcross, resampleDown } = byteLoops();
  const across = windows(size.width, target.width);
  const down = windows(size.height, target.height);
  if (size.height === target.height) {
    resampleAcross(from, size, to, target.width, across);
  } else if (size.width === target.width) {
    resampleDown(from, size, to, target.height, down);
  } else if (downFirst(size, target)) {
    const between = { height: target.height, width: size.width };
    const bytes = new Uint8Array(between.height * between.width * 3);
    resampleDown(from, size, bytes, target.height, down);
    resampleAcross(bytes, between, to, target.width, across);
  } else {
    const between = { height: size.height, width: target.width };
    const bytes = new Uint8Array(between.height * between.width * 3);
    resampleAcross(from, size, bytes, target.width, across);
    resampleDown(bytes, between, to, target.height, down);
  }
}

/** Pillow begins with the columns where the height shrinks by much more pixels than the width (as of release 13, its pull request 9549); the rule as found by trying sizes. */
const downFirst = (size: PictureSize, target: PictureSize): boolean =>
  size.height > target.height && size.height - target.height > 2 * (size.width - target.width);

/** The weights along one axis: a triangle about each target pixel's middle, cut off at the picture's edge, of sum 1. */
export function windows(pixels: number, target: number): Windows {
  const scale = pixels / target;
  const reach = Math.max(scale, 1);
  const stride = Math.ceil(reach) * 2 + 1;
  const found: Windows = {
    first: new Int32Array(target),
    count: new Int32Array(target),
    weights: new Int32Array(target * stride),
  };
  const inverse = 1 / reach; // multiplied by, as Pillow does: the last bit of a weight can decide a byte
  const heights = new Float64Array(stride);
  for (let at = 0; at < target; at++) {
    const middle = (at + 0.5) * scale;
    const first = Math.max(0, Math.trunc(middle - reach + 0.5));
    const count = Math.min(pixels, Math.trunc(middle + reach + 0.5)) - first;
    let sum = 0;
    for (let i = 0; i < count; i++) {
      const height = Math.max(0, 1 - Math.abs((first + i - middle + 0.5) * inverse));
      heights[i] = height;
      sum += height;
    }
    found.first[at] = first;
    found.count[at] = count;
    for (let i = 0; i < count; i++) {
      found.weights[at * stride + i] = Math.trunc(((heights[i] as number) / sum) * 2 ** WEIGHT_BITS + 0.5);
    }
  }
  return found;
}
