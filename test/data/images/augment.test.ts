import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lightPlacement } from '../../../src/data/images/augment.js';
import { type Image, placeImage } from '../../../src/data/images/image.js';
import { draws } from '../../../src/random.js';

/** 2 rows of 3 grey pixels: 1 2 3 / 4 5 6. */
const grey: Image = {
  bytes: Uint8Array.of(1, 2, 3, 4, 5, 6),
  start: 0,
  height: 2,
  width: 3,
  pixelStride: 1,
  channelStride: 0,
};

/** The red channel after placing, row by row. */
function placed(image: Image, mirror: boolean, top: number, left: number): number[] {
  const out = new Uint8Array(image.height * image.width * 3);
  placeImage(image, { mirror, top, left }, out, 0);
  return [...out].filter((_, i) => i % 3 === 0);
}

test('copies an unmoved image, grey into three channels', () => {
  const out = new Uint8Array(20);
  placeImage(grey, { mirror: false, top: 0, left: 0 }, out, 2);
  assert.deepEqual([...out], [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6]);
});

test('interleaves planes', () => {
  const planes: Image = {
    bytes: Uint8Array.of(1, 2, 11, 12, 21, 22),
    start: 0,
    height: 1,
    width: 2,
    pixelStride: 1,
    channelStride: 2,
  };
  const out = new Uint8Array(6);
  placeImage(planes, { mirror: true, top: 0, left: 0 }, out, 0);
  assert.deepEqual([...out], [2, 12, 22, 1, 11, 21]);
});

test('mirrors, shifts and fills with black', () => {
  assert.deepEqual(placed(grey, true, 0, 0), [3, 2, 1, 6, 5, 4]);
  assert.deepEqual(placed(grey, false, 1, 0), [4, 5, 6, 0, 0, 0]);
  assert.deepEqual(placed(grey, false, -1, 1), [0, 0, 0, 2, 3, 0]);
  assert.deepEqual(placed(grey, true, 0, -1), [2, 1, 0, 5, 4, 0]);
  assert.deepEqual(placed(grey, true, 2, 0), [0, 0, 0, 0, 0, 0]);
});

test('light reaches every shift of ± size / 8 and mirrors half of the images', () => {
  const placements = Array.from({ length: 4000 }, (_, index) => lightPlacement(draws(1, 'augment', 0, index), 32, 16));
  const sorted = (values: number[]): number[] => [...new Set(values)].sort((a, b) => a - b);
  assert.deepEqual(sorted(placements.map(({ top }) => top)), [-4, -3, -2, -1, 0, 1, 2, 3, 4]);
  assert.deepEqual(sorted(placements.map(({ left }) => left)), [-2, -1, 0, 1, 2]);
  const mirrored = placements.filter(({ mirror }) => mirror).length;
  assert.ok(mirrored > 1850 && mirrored < 2150, `${mirrored} of 4000 mirrored`);
});
