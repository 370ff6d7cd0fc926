/**
 * Bilinear resize that gives Pillow's bytes in both directions (a triangle as wide as a source pixel when enlarging, as a target pixel when shrinking, hence antialiased):
 * rows first, then columns, weights of 22 bits, rounded to whole bytes between the two.
 */
import type { PictureSize } from './dataset.js';

const WEIGHT_BITS = 22;
const HALF = 1 << (WEIGHT_BITS - 1);

/** For each target pixel along one axis: its first source pixel, how many, and their weights (`stride` apart). */
interface Windows {
  first: Int32Array;
  count: Int32Array;
  weights: Int32Array;
  stride: number;
}

/** @param from [size.height, size.width, 3] bytes; @param to [target.height, target.width, 3] bytes, written in full */
export function resample(from: Uint8Array, size: PictureSize, to: Uint8Array, target: PictureSize): void {
  const across = size.width === target.width ? from : new Uint8Array(size.height * target.width * 3);
  if (across !== from) resampleRows(from, size, across, target.width);
  if (size.height === target.height) to.set(across);
  else resampleColumns(across, size.height, target.width * 3, to, target.height);
}

function resampleRows(from: Uint8Array, { height, width }: PictureSize, to: Uint8Array, targetWidth: number): void {
  const { first, count, weights, stride } = windows(width, targetWidth);
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
      to[at] = red >> WEIGHT_BITS;
      to[at + 1] = green >> WEIGHT_BITS;
      to[at + 2] = blue >> WEIGHT_BITS;
      at += 3;
    }
  }
}

function resampleColumns(from: Uint8Array, height: number, rowBytes: number, to: Uint8Array, targetHeight: number): void {
  const { first, count, weights, stride } = windows(height, targetHeight);
  const sums = new Int32Array(rowBytes);
  for (let row = 0; row < targetHeight; row++) {
    sums.fill(HALF);
    for (let i = 0; i < (count[row] as number); i++) {
      const weight = weights[row * stride + i] as number;
      const source = ((first[row] as number) + i) * rowBytes;
      for (let byte = 0; byte < rowBytes; byte++) (sums as { [at: number]: number })[byte]! += (from[source + byte] as number) * weight;
    }
    for (let byte = 0; byte < rowBytes; byte++) to[row * rowBytes + byte] = (sums[byte] as number) >> WEIGHT_BITS;
  }
}

/** The weights along one axis: a triangle about each target pixel's middle, cut off at the picture's edge, of sum 1. */
function windows(pixels: number, target: number): Windows {
  const scale = pixels / target;
  const reach = Math.max(scale, 1);
  const stride = Math.ceil(reach) * 2 + 1;
  const found: Windows = {
    first: new Int32Array(target),
    count: new Int32Array(target),
    weights: new Int32Array(target * stride),
    stride,
  };
  for (let at = 0; at < target; at++) {
    const middle = (at + 0.5) * scale;
    const first = Math.max(0, Math.trunc(middle - reach + 0.5));
    const end = Math.min(pixels, Math.trunc(middle + reach + 0.5));
    const raw = Array.from({ length: end - first }, (_, i) => Math.max(0, 1 - Math.abs((first + i - middle + 0.5) / reach)));
    const sum = raw.reduce((total, weight) => total + weight, 0);
    found.first[at] = first;
    found.count[at] = raw.length;
    for (const [i, weight] of raw.entries()) found.weights[at * stride + i] = Math.trunc((weight / sum) * 2 ** WEIGHT_BITS + 0.5);
  }
  return found;
}
