import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp, { type JpegOptions } from 'sharp';
import { type ByteLoops, inJavaScript, natively } from '../../../src/data/images/byte-loops.js';
import { decodeImage } from '../../../src/data/images/decode.js';
import { windows } from '../../../src/data/images/resample.js';
import { DEFAULT_READING } from '../../../src/data/reading.js';
import { GqaError } from '../../../src/errors.js';
import { loadImages } from '../../../src/native/images.js';
import { type Draws, draws } from '../../../src/random.js';

const { addon, problem } = loadImages();
const skip = addon === null ? `no native addon for images: ${problem}` : false;

const random = (from: Draws, length: number): Uint8Array => Uint8Array.from({ length }, () => from.below(256));

/** What a loop writes, from both. */
function both(length: number, run: (loops: ByteLoops, to: Uint8Array) => void): void {
  const [native, expected] = [new Uint8Array(length).fill(77), new Uint8Array(length).fill(99)];
  run(natively(addon!), native);
  run(inJavaScript, expected);
  assert.deepEqual(native, expected);
}

/** Sizes from one pixel on, many of them no multiple of anything. */
const sizes = Array.from({ length: 40 }, (_, i) => {
  const from = draws(7, 'test', i);
  return { from, height: 1 + from.below(i < 20 ? 9 : 70), width: 1 + from.below(i < 20 ? 9 : 70) };
});

test('resizes natively to the same bytes as in JavaScript, larger and smaller', { skip }, () => {
  for (const { from, height, width } of sizes) {
    const image = random(from, height * width * 3);
    const size = { height, width };
    const target = 1 + from.below(90);
    for (const kind of ['bilinear', 'bicubic'] as const) {
      both(height * target * 3, (loops, to) =>
        loops.resampleAcross(image, size, to, target, windows(width, target, kind)),
      );
      both(target * width * 3, (loops, to) =>
        loops.resampleDown(image, size, to, target, windows(height, target, kind)),
      );
    }
  }
});

test('keeps sums that leave a byte within it, natively and in JavaScript', { skip }, () => {
  // a step from black to white: bicubic goes beyond both
  const edge = Uint8Array.from({ length: 16 * 3 }, (_, i) => (i < 24 ? 0 : 255));
  const across = windows(16, 40, 'bicubic');
  const [native, expected] = [new Uint8Array(120), new Uint8Array(120)];
  natively(addon!).resampleAcross(edge, { height: 1, width: 16 }, native, 40, across);
  inJavaScript.resampleAcross(edge, { height: 1, width: 16 }, expected, 40, across);
  assert.deepEqual(native, expected);
  // what wrapped round would fall
  const rises = expected.every((value, i) => i < 3 || value >= (expected[i - 3] as number));
  assert.ok(rises && expected[0] === 0 && expected.at(-1) === 255, `${expected}`);
  const down = new Uint8Array(120);
  natively(addon!).resampleDown(edge, { height: 16, width: 1 }, down, 40, across);
  assert.deepEqual(down, expected);
});

test('looks up, counts and sums natively as in JavaScript, also in shared memory', { skip }, () => {
  for (const { from, height, width } of sizes) {
    const image = new Uint8Array(new SharedArrayBuffer(height * width * 3));
    image.set(random(from, image.length));
    const tables = random(from, 768);
    both(image.length, (loops, to) => loops.lookUp(image, to, tables));
    both(768 * 4, (loops, to) => loops.histograms(image, new Uint32Array(to.fill(1).buffer)));
    assert.equal(natively(addon!).greySum(image), inJavaScript.greySum(image));
  }
});

test('blends with grey and with the smoothed image natively as in JavaScript, towards and away', { skip }, () => {
  for (const factor of [0, 0.1, 0.73, 1, 1.27, 1.9, -0.4]) {
    for (const { from, height, width } of sizes) {
      const image = random(from, height * width * 3);
      both(image.length, (loops, to) => loops.awayFromGrey(image, to, factor));
      both(image.length, (loops, to) => loops.sharpen(image, to, { height, width }, factor));
    }
  }
});

test('gathers natively as in JavaScript', { skip }, () => {
  for (const { from, height, width } of sizes) {
    const image = random(from, height * width * 3);
    const [stepX, stepY] = [-3 * 65536 + from.below(6 * 65536), -65536 + from.below(2 * 65536)];
    const runs = new Int32Array(height * 4);
    for (let row = 0; row < height; row++) {
      const [x, y] = [from.below(width * 65536), from.below(height * 65536)];
      const first = from.below(width + 1);
      const lies = (place: number, pixels: number): boolean => place >= 0 && place < pixels * 65536;
      let last = first;
      while (last < width && lies(x + (last - first) * stepX, width) && lies(y + (last - first) * stepY, height))
        last++;
      runs.set([first, last, x, y], row * 4);
    }
    both(image.length, (loops, to) => loops.gather(image, to, { height, width }, stepX, stepY, runs));
  }
});

test('the addon refuses arrays of another kind or length and runs that leave the image', { skip }, () => {
  const bytes = (length: number): Uint8Array => new Uint8Array(length);
  const { first, count, weights } = windows(4, 2);
  const native = addon!;
  const runs = (...values: number[]): Int32Array => Int32Array.from([...values, 0, 0, 0, 0]);
  const attempts: (() => unknown)[] = [
    () => native.lookUp(bytes(12), bytes(11), bytes(768)),
    () => native.lookUp(bytes(12), bytes(12), bytes(767)),
    () => native.lookUp(bytes(13), bytes(13), bytes(768)),
    () => native.histograms(bytes(12), new Uint32Array(767)),
    () => native.histograms(bytes(12), new Int32Array(768) as unknown as Uint32Array),
    () => native.greySum(bytes(4)),
    () => native.awayFromGrey(bytes(12), bytes(12), Number.NaN),
    () => native.sharpen(bytes(12), bytes(12), 2, 3, 1),
    () => native.resampleAcross(bytes(48), bytes(24), 4, 4, 2, first, count, weights.subarray(1)),
    () => native.resampleAcross(bytes(48), bytes(24), 4, 4, 2, Int32Array.of(0, 3), count, weights),
    () => native.resampleAcross(bytes(48), bytes(21), 4, 4, 2, first, count, weights),
    () => native.resampleDown(bytes(48), bytes(24), 4, 4, 2, first, Int32Array.of(9, 1), weights),
    () => native.resampleDown(bytes(48), bytes(24), 4, 4, 0, first, count, weights),
    () => native.resampleDown(bytes(45), bytes(24), 4, 4, 2, first, count, weights),
    () => native.gather(bytes(12), bytes(12), 2, 2, 65536, 0, runs(0, 2, 65536, 0)),
    () => native.gather(bytes(12), bytes(12), 2, 2, 65536, 0, runs(0, 3, 0, 0)),
    () => native.gather(bytes(12), bytes(12), 2, 2, 0, -1, runs(0, 2, 0, 0)),
    () => native.decodeJpeg(bytes(9), bytes(12), 2, 3),
    () => native.decodeJpeg(bytes(9), bytes(12), -2, -2),
  ];
  for (const attempt of attempts)
    assert.throws(attempt, { name: 'TypeError', message: /wrong kinds?/ }, String(attempt));
});

/** An image with edges and noise, as JPEG. */
async function jpeg(from: Draws, height: number, width: number, options: JpegOptions, grey = false): Promise<Buffer> {
  const pixels = Buffer.from(
    Array.from({ length: height * width * 3 }, (_, i) => (((i * 5) % 256) & 0xe0) + from.below(32)),
  );
  const image = sharp(pixels, { raw: { height, width, channels: 3 } });
  return (grey ? image.greyscale() : image).jpeg(options).toBuffer();
}

const FORMS: JpegOptions[] = [
  { quality: 90 },
  { quality: 35, chromaSubsampling: '4:4:4' },
  { quality: 98, optimiseCoding: false },
  { progressive: true },
];

test('decodes JPEGs natively to the bytes of sharp: sizes, subsampling, grey', { skip }, async () => {
  for (const { from, height, width } of sizes) {
    for (const [i, form] of FORMS.entries()) {
      const encoded = await jpeg(from, height, width, form, i === 0);
      const native = new Uint8Array(height * width * 3);
      assert.equal(addon!.decodeJpeg(encoded, native, height, width), 0);
      assert.deepEqual(native, new Uint8Array(await sharp(encoded).toColourspace('srgb').raw().toBuffer()));
      assert.equal(addon!.decodeJpeg(encoded, new Uint8Array((height + 1) * width * 3), height + 1, width), -1);
    }
  }
});

test('a damaged JPEG is refused, or decoded to the bytes of sharp, whichever sharp does; and refused for what sharp does not see', {
  skip,
}, async () => {
  const outcomes = { refused: 0, decoded: 0, unseen: 0 };
  for (let i = 0; i < 300; i++) {
    const from = draws(11, 'test', i);
    const encoded = await jpeg(from, 24, 40, FORMS[from.below(3)]!);
    const damaged = from.below(4) === 0 ? encoded.subarray(0, 20 + from.below(encoded.length - 20)) : encoded;
    for (let times = 1 + from.below(3); times > 0; times--)
      damaged[2 + from.below(damaged.length - 2)] = from.below(256);
    const bySharp = await bytesBySharp(damaged);
    const unseen = bySharp !== null && addon!.decodeJpeg(damaged, new Uint8Array(24 * 40 * 3), 24, 40) > 0;
    const reference = unseen ? null : bySharp;
    const found = await decodeImage({ bytes: damaged, name: 'damaged' }, null, {
      ...DEFAULT_READING,
      onBadImage: 'error',
    }).catch((error: unknown) => {
      assert.ok(error instanceof GqaError && error.code === 'data');
      return null;
    });
    if (reference === null || found === null) assert.deepEqual([reference, found], [null, null], `case ${i}`);
    else assert.deepEqual(Buffer.from(found.bytes), reference, `case ${i}`);
    outcomes[unseen ? 'unseen' : found === null ? 'refused' : 'decoded']++;
  }
  assert.ok(outcomes.refused > 50 && outcomes.decoded > 50 && outcomes.unseen > 0, JSON.stringify(outcomes));
});

/** As RGB; null when it refuses. */
const bytesBySharp = (encoded: Buffer): Promise<Buffer | null> =>
  sharp(encoded, { failOn: 'warning', limitInputPixels: 50e6, ignoreIcc: true })
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true })
    .then(
      ({ data, info }) =>
        info.channels === 3
          ? data
          : Buffer.from(Array.from({ length: data.length * 3 }, (_, i) => data[Math.trunc(i / 3)]!)),
      () => null,
    );
