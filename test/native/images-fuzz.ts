/**
 * Every function of the addon for images on seeded images of all shapes, against its twin in JavaScript and against its
 * definition, written here as plainly as it can be. Each array is memory of its own, so that a sanitizer sees what is
 * touched beside it. Imports nothing that computes but what is compared.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type ByteLoops, blend, inJavaScript, natively, WEIGHT_BITS } from '../../src/data/images/byte-loops.js';
import { windows } from '../../src/data/images/resample.js';
import type { ImageAddon } from '../../src/native/images.js';
import { type Draws, draws } from '../../src/random.js';

interface Size {
  height: number;
  width: number;
}

const clamped = (value: number): number => Math.max(0, Math.min(255, value));
const grey = (red: number, green: number, blue: number): number =>
  Math.floor((red * 19595 + green * 38470 + blue * 7471 + 32768) / 65536);

/** Bytes by (row, column, channel). */
type Pixel = (row: number, column: number, channel: number) => number;

function written({ height, width }: Size, pixel: Pixel): Uint8Array {
  return Uint8Array.from({ length: height * width * 3 }, (_, i) =>
    pixel(Math.trunc(i / 3 / width), Math.trunc(i / 3) % width, i % 3),
  );
}

/** Shapes: small ones, and lines along both axes; one in six is longer than 16 bits of fractions reach. */
function sizeOf(from: Draws): Size {
  const below = (pixels: number): number => 1 + from.below(pixels);
  const long = [() => below(600), () => below(600), () => below(600), () => 32760 + below(300), () => 40000][
    from.below(5)
  ]!;
  return [
    () => ({ height: below(12), width: below(12) }),
    () => ({ height: below(50), width: below(50) }),
    () => ({ height: below(50), width: below(50) }),
    () => ({ height: below(2), width: long() }),
    () => ({ height: long(), width: below(2) }),
  ][from.below(5)]!();
}

/** @param seed of the images, sizes and parameters; @param count of images, each through all loops */
export function fuzzLoops(addon: ImageAddon, seed: number, count: number): void {
  for (let i = 0; i < count; i++) {
    const from = draws(seed, 'test', i);
    const size = sizeOf(from);
    const { height, width } = size;
    const image = Uint8Array.from({ length: height * width * 3 }, () => [0, 255, from.below(256)][from.below(3)]!);
    const at: Pixel = (row, column, channel) => image[(row * width + column) * 3 + channel]!;
    const three = (what: string, expected: Uint8Array, run: (loops: ByteLoops, to: Uint8Array) => void): void => {
      for (const [kind, loops] of [['natively', natively(addon)] as const, ['in JavaScript', inJavaScript] as const]) {
        const to = new Uint8Array(expected.length).fill(from.below(256));
        run(loops, to);
        assert.ok(
          Buffer.compare(to, expected) === 0,
          `${what} ${kind} of image ${i}, seed ${seed}, ${height} × ${width}`,
        );
      }
    };

    const target = 1 + from.below(40);
    const across = windows(width, target);
    const down = windows(height, target);
    const summed = (
      row: number,
      { first, count: taps, weights }: typeof across,
      value: (place: number) => number,
    ): number => {
      const stride = weights.length / target;
      let sum = 2 ** (WEIGHT_BITS - 1);
      for (let tap = 0; tap < taps[row]!; tap++) sum += value(first[row]! + tap) * weights[row * stride + tap]!;
      return clamped(Math.floor(sum / 2 ** WEIGHT_BITS));
    };
    three(
      'resampleAcross',
      written({ height, width: target }, (row, column, channel) =>
        summed(column, across, (place) => at(row, place, channel)),
      ),
      (loops, to) => loops.resampleAcross(image, size, to, target, across),
    );
    three(
      'resampleDown',
      written({ height: target, width }, (row, column, channel) =>
        summed(row, down, (place) => at(place, column, channel)),
      ),
      (loops, to) => loops.resampleDown(image, size, to, target, down),
    );

    const [stepX, stepY] = [from.below(8 * 65536) - 4 * 65536, from.below(2 * 65536) - 65536];
    const runs = runsOf(from, size, stepX, stepY);
    three(
      'gather',
      written(size, (row, column, channel) => {
        const [first, last, x, y] = runs.subarray(row * 4, row * 4 + 4);
        if (column < first! || column >= last!) return 0;
        const [right, below] = [x! + (column - first!) * stepX, y! + (column - first!) * stepY];
        return at(Math.floor(below / 65536), Math.floor(right / 65536), channel);
      }),
      (loops, to) => loops.gather(image, to, size, stepX, stepY, runs),
    );

    const tables = Uint8Array.from({ length: 768 }, () => from.below(256));
    three(
      'lookUp',
      written(size, (row, column, channel) => tables[channel * 256 + at(row, column, channel)]!),
      (loops, to) => loops.lookUp(image, to, tables),
    );
    const counts = new Uint32Array(768);
    for (const [byte, value] of image.entries()) counts[(byte % 3) * 256 + value]!++;
    three('histograms', new Uint8Array(counts.buffer), (loops, to) =>
      loops.histograms(image, new Uint32Array(to.fill(0).buffer)),
    );
    const greys = written(size, (row, column) => grey(at(row, column, 0), at(row, column, 1), at(row, column, 2)));
    const sum = greys.reduce((total, value) => total + value, 0) / 3;
    assert.deepEqual([natively(addon).greySum(image), inJavaScript.greySum(image)], [sum, sum]);

    const factor = [0, 1, 1.27, 0.73, from.uniform() * 4 - 2][from.below(5)]!;
    three(
      'awayFromGrey',
      Uint8Array.from(image, (value, byte) => blend(greys[byte]!, value, factor)),
      (loops, to) => loops.awayFromGrey(image, to, factor),
    );
    three(
      'sharpen',
      written(size, (row, column, channel) => {
        const own = at(row, column, channel);
        if (row === 0 || column === 0 || row === height - 1 || column === width - 1) return own;
        let around = 4 * own;
        for (let y = row - 1; y <= row + 1; y++)
          for (let x = column - 1; x <= column + 1; x++) around += at(y, x, channel);
        return blend(Math.floor(around / 13 + 0.5), own, factor);
      }),
      (loops, to) => loops.sharpen(image, to, size, factor),
    );
  }
}

/** For each row a run whose places lie in the image and in 32 bits: often to its very edge, sometimes none. */
function runsOf(from: Draws, { height, width }: Size, stepX: number, stepY: number): Int32Array {
  const runs = new Int32Array(height * 4);
  const room = (pixels: number): number => Math.min(pixels, 32767) * 65536;
  const place = (pixels: number): number => [0, room(pixels) - 1, from.below(room(pixels))][from.below(3)]!;
  const steps = (start: number, step: number, pixels: number): number =>
    step === 0
      ? width
      : Math.floor((step > 0 ? Math.min(pixels * 65536, 2 ** 31) - 1 - start : start) / Math.abs(step));
  for (let row = 0; row < height; row++) {
    const [x, y] = [place(width), place(height)];
    const first = from.below(width + 1);
    const longest = Math.min(width - first, 1 + steps(x, stepX, width), 1 + steps(y, stepY, height));
    runs.set([first, first + (from.below(3) === 0 ? from.below(longest + 1) : longest), x, y], row * 4);
  }
  return runs;
}

/** The JPEGs of data/torchvision/damaged.json, all of one size. */
export function damagedJpegs(): { jpegs: Buffer[]; size: Size } {
  const { height, width, images } = JSON.parse(readFileSync('test/data/torchvision/damaged.json', 'utf8')) as Size & {
    images: Record<string, { file: string }>;
  };
  const jpegs = Object.entries(images).filter(([name]) => name.endsWith('.jpg'));
  return { jpegs: jpegs.map(([, { file }]) => Buffer.from(file, 'base64')), size: { height, width } };
}

/**
 * Mutates JPEGs and decodes them at their own size and at others: whatever comes out, nothing else may be touched.
 * @returns how often each outcome was seen
 */
export function fuzzDecoder(
  addon: ImageAddon,
  jpegs: readonly Uint8Array[],
  size: Size,
  seed: number,
  count: number,
): Record<string, number> {
  const seen = { whole: 0, warned: 0, refused: 0 };
  for (let i = 0; i < count; i++) {
    const from = draws(seed, 'test', i);
    const encoded = mutated(jpegs[from.below(jpegs.length)]!, from);
    const { height, width } =
      from.below(4) === 0 ? { height: 1 + from.below(2 * size.height), width: 1 + from.below(2 * size.width) } : size;
    const warnings = addon.decodeJpeg(encoded, new Uint8Array(height * width * 3), height, width);
    seen[warnings < 0 ? 'refused' : warnings > 0 ? 'warned' : 'whole']++;
  }
  return seen;
}

const MARKERS = [
  0x00, 0x01, 0x72, 0xc0, 0xc1, 0xc2, 0xc4, 0xc9, 0xd0, 0xd7, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xe0, 0xee, 0xfe,
  0xff,
];

function mutated(jpeg: Uint8Array, from: Draws): Uint8Array {
  let bytes = [...jpeg];
  for (let times = from.below(4); times > 0; times--) {
    const at = 2 + from.below(from.below(2) === 0 ? Math.min(700, bytes.length - 2) : bytes.length - 2);
    const put = Array.from({ length: from.below(20) }, () => from.below(256));
    [
      () => bytes.splice(at, 1, from.below(256)),
      () => bytes.splice(at, 1, bytes[at]! ^ (1 << from.below(8))),
      () => bytes.splice(at, from.below(200)),
      () => bytes.splice(at, 0, ...put),
      () => bytes.splice(at, 0, 0xff, MARKERS[from.below(MARKERS.length)]!),
      () => {
        bytes = bytes.slice(0, Math.max(20, at));
      },
    ][from.below(6)]!();
  }
  return Uint8Array.from(bytes);
}
