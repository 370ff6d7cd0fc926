/** Images moved by an affine map, by whole pixels and between them, as Pillow does it. */
import type { ImageSize } from '../dataset.js';
import { byteLoops } from './byte-loops.js';

// Where pixels come from. Pillow's nearest transform counts in 16-bit fractions, from the middle of the first pixel,
// where all places have less than 32,768 pixels; else in doubles.

const FRACTION = 65536;
const fixed = (value: number): number => Math.floor(value * FRACTION + 0.5);

type Matrix = readonly [number, number, number, number, number, number];

/** Do the corners of the image come from places that 16 bits hold? Pillow's check, to the comparison. */
function isNear({ height, width }: ImageSize, [a, b, c, d, e, f]: Matrix): boolean {
  const holds = (x: number, y: number): boolean =>
    Math.abs(x * a + y * b + c) < 32768 && Math.abs(x * d + y * e + f) < 32768;
  return holds(0, 0) && holds(width, height) && holds(0, height) && holds(width, 0);
}

/** Takes output pixel (x, y) from (a·x + b·y + c, d·x + e·y + f), pixel middles; what lies outside is black. */
export function affine(from: Uint8Array, to: Uint8Array, size: ImageSize, matrix: Matrix): void {
  (isNear(size, matrix) ? affineNear : affineFar)(from, to, size, matrix);
}

/**
 * In doubles, added up from pixel to pixel and from row to row, as Pillow does: their rounding decides which pixel is
 * taken.
 */
function affineFar(from: Uint8Array, to: Uint8Array, { height, width }: ImageSize, [a, b, c, d, e, f]: Matrix): void {
  to.fill(0);
  let rowX = c + b * 0.5 + a * 0.5;
  let rowY = f + e * 0.5 + d * 0.5;
  let at = 0;
  for (let row = 0; row < height; row++, rowX += b, rowY += e) {
    let x = rowX;
    let y = rowY;
    for (let column = 0; column < width; column++, at += 3, x += a, y += d) {
      if (!(x >= 0 && x < width && y >= 0 && y < height)) continue;
      const source = (Math.trunc(y) * width + Math.trunc(x)) * 3;
      to[at] = from[source] as number;
      to[at + 1] = from[source + 1] as number;
      to[at + 2] = from[source + 2] as number;
    }
  }
}

/** In fractions that 32 bits hold. */
function affineNear(from: Uint8Array, to: Uint8Array, size: ImageSize, [a, b, c, d, e, f]: Matrix): void {
  const { height, width } = size;
  const [stepX, stepY] = [fixed(a), fixed(d)];
  const runs = new Int32Array(height * 4);
  for (let row = 0; row < height; row++) {
    const x = fixed(a * 0.5 + b * 0.5 + c) + row * fixed(b);
    const y = fixed(d * 0.5 + e * 0.5 + f) + row * fixed(e);
    // The run of columns that lie inside: the bounds of both coordinates.
    const [first, last] = inside(x, stepX, width, ...inside(y, stepY, height, 0, width));
    runs[row * 4] = first;
    runs[row * 4 + 1] = last;
    runs[row * 4 + 2] = x + first * stepX;
    runs[row * 4 + 3] = y + first * stepY;
  }
  byteLoops().gather(from, to, size, stepX, stepY, runs);
}

/**
 * Of the columns first … last − 1, those (in a row, or none) for which start + column · step lies in 0 … pixels; all
 * numbers in fractions but columns and pixels.
 */
function inside(
  start: number,
  step: number,
  pixels: number,
  first: number,
  last: number,
): [first: number, last: number] {
  const highest = pixels * FRACTION - 1;
  if (step === 0) return start >= 0 && start <= highest ? [first, last] : [first, first];
  const [low, high] = step > 0 ? [-start / step, (highest - start) / step] : [(highest - start) / step, -start / step];
  const from = Math.min(last, Math.max(first, Math.ceil(low))); // a row that lies outside altogether: its end
  return [from, Math.max(from, Math.min(last, Math.floor(high) + 1))];
}

/** About the middle, counter-clockwise; Pillow rounds sine and cosine to 15 places. */
export function rotation(degrees: number, { height, width }: ImageSize): Matrix {
  const turned = degrees < 0 ? degrees + 360 : degrees;
  const angle = -(turned * Math.PI) / 180;
  const places = (value: number): number => Number(value.toFixed(15));
  const [a, b, d] = [places(Math.cos(angle)), places(Math.sin(angle)), places(-Math.sin(angle))];
  const [x, y] = [width / 2, height / 2];
  return [a, b, a * -x + b * -y + x, d, a, d * -x + a * -y + y];
}

/** `affine` by a matrix under which every row is only shifted, by pixels of its own. */
export function shearX(from: Uint8Array, to: Uint8Array, size: ImageSize, by: number): void {
  const matrix: Matrix = [1, by, 0, 0, 1, 0];
  if (!isNear(size, matrix)) {
    affineFar(from, to, size, matrix);
  } else {
    const start = fixed(0.5 + by * 0.5);
    const step = fixed(by);
    shiftRows(from, to, size, (row) => -((start + row * step) >> 16));
  }
}

/** @param shift pixels by which a row moves to the right */
export function shiftRows(
  from: Uint8Array,
  to: Uint8Array,
  { height, width }: ImageSize,
  shift: (row: number) => number,
): void {
  const rowBytes = width * 3;
  for (let row = 0; row < height; row++) {
    const at = row * rowBytes;
    const by = Math.max(-width, Math.min(width, shift(row))) * 3;
    if (by >= 0) {
      to.fill(0, at, at + by);
      to.set(from.subarray(at, at + rowBytes - by), at + by);
    } else {
      to.set(from.subarray(at - by, at + rowBytes), at);
      to.fill(0, at + rowBytes + by, at + rowBytes);
    }
  }
}

/** @param shift pixels by which the image moves down */
export function shiftColumns(from: Uint8Array, to: Uint8Array, { height, width }: ImageSize, shift: number): void {
  const moved = Math.max(-height, Math.min(height, shift)) * width * 3;
  const end = height * width * 3;
  if (moved >= 0) {
    to.fill(0, 0, moved);
    to.set(from.subarray(0, end - moved), moved);
  } else {
    to.set(from.subarray(-moved, end), 0);
    to.fill(0, end + moved, end);
  }
}
