import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { resample } from '../../../src/data/images/resample.js';

/** torchvision/resize.py, which tells what the images are. */
const { cases } = JSON.parse(readFileSync('test/data/torchvision/resize.json', 'utf8')) as {
  cases: { from: [height: number, width: number]; to: [height: number, width: number]; sha256: string }[];
};

for (const { from, to, sha256 } of cases) {
  test(`resizes ${from.join(' × ')} to ${to.join(' × ')}: the bytes of torchvision's Resize`, () => {
    const [size, target] = [from, to].map(([height, width]) => ({ height, width })) as [
      Record<'height' | 'width', number>,
      Record<'height' | 'width', number>,
    ];
    const image = Uint8Array.from(
      { length: size.height * size.width * 3 },
      (_, i) => (i * i * 7 + Math.floor(i / 11)) % 256,
    );
    const resized = new Uint8Array(target.height * target.width * 3);
    resample(image, size, resized, target);
    assert.equal(createHash('sha256').update(resized).digest('hex'), sha256);
  });
}
