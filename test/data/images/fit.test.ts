import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fitImage, isPlain, SQUASH } from '../../../src/data/images/fit.js';
import { asImage } from '../../../src/data/images/image.js';
import { type Interpolation, resample } from '../../../src/data/images/resample.js';

type Size = [height: number, width: number];

/** torchvision/crop.py, which tells what the images are. */
const { resized, cropped } = JSON.parse(readFileSync('test/data/torchvision/crop.json', 'utf8')) as {
  resized: { from: Size; to: Size; steps: boolean; sha256: string }[];
  cropped: { from: Size; size: number; crop_pct: number; interpolation: Interpolation; sha256: string }[];
};

const sized = ([height, width]: Size): { height: number; width: number } => ({ height, width });

function image([height, width]: Size, steps: boolean): Uint8Array {
  const bytes = Uint8Array.from({ length: height * width * 3 }, (_, i) => (i * i * 7 + Math.floor(i / 11)) % 256);
  return steps ? bytes.map((byte) => (byte >> 7) * 255) : bytes;
}

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

test('resizes bicubically, larger and smaller, cut off at 0 and 255: the bytes of Pillow', () => {
  for (const { from, to, steps, sha256 } of resized) {
    const target = sized(to);
    const bytes = new Uint8Array(target.height * target.width * 3);
    resample(image(from, steps), sized(from), bytes, target, 'bicubic');
    assert.equal(digest(bytes), sha256, `${from.join(' × ')} to ${to.join(' × ')}${steps ? ', steps' : ''}`);
  }
});

test('takes the middle of an image: the bytes of timm’s evaluation transform', () => {
  for (const { from, size, crop_pct: cropPct, interpolation, sha256 } of cropped) {
    const source = asImage(image(from, false), sized(from));
    const { bytes } = fitImage(source, { height: size, width: size }, { resize: 'crop', cropPct, interpolation });
    assert.equal(digest(bytes), sha256, `${from.join(' × ')}, ${size} pixels, ${cropPct}, ${interpolation}`);
  }
});

test('a crop of an image of one pixel by two million computes what it needs, and no more', () => {
  for (const [height, width] of [
    [2_000_000, 1],
    [1, 2_000_000],
  ] as const) {
    const bytes = new Uint8Array(height * width * 3).fill(7);
    bytes.fill(200, 3_000_000 - 3, 3_000_000 + 3); // the two pixels about the middle
    const found = fitImage(
      asImage(bytes, { height, width }),
      { height: 32, width: 32 },
      { ...SQUASH, resize: 'crop', cropPct: 1 },
    );
    assert.equal(found.bytes.length, 32 * 32 * 3);
    assert.equal(found.bytes[(16 * 32 + 16) * 3], 200);
  }
});

test('only a bilinear squash can be left to the device', () => {
  assert.equal(isPlain(SQUASH), true);
  assert.equal(isPlain({ ...SQUASH, interpolation: 'bicubic' }), false);
  assert.equal(isPlain({ ...SQUASH, resize: 'crop', cropPct: 1 }), false);
});
