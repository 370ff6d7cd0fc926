/** Images that are long in one direction, against torchvision: torchvision/large.py. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { applyOperation, OPERATIONS, type OperationName } from '../../../src/data/images/randaugment.js';

interface Case {
  height: number;
  width: number;
  name: OperationName;
  sign: 1 | -1;
  /** The first 16 digits. */
  sha256: string;
}

const { level, cases } = JSON.parse(readFileSync('test/data/torchvision/large.json', 'utf8')) as {
  level: number;
  cases: Case[];
};

/** By the formula of large.py. */
function image(height: number, width: number): Uint8Array {
  const pixels = new Uint8Array(height * width * 3);
  let at = 0;
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++)
      for (let channel = 0; channel < 3; channel++)
        pixels[at++] = row * 73 + column * 151 + channel * 29 + ((row * column) >> 4);
  return pixels;
}

const bySize = new Map<string, Case[]>();
for (const one of cases) {
  const size = `${one.height} × ${one.width}`;
  bySize.set(size, [...(bySize.get(size) ?? []), one]);
}

for (const [size, own] of bySize) {
  test(`every operation gives Pillow's bytes at ${size}`, () => {
    const { height, width } = own[0]!;
    const pixels = image(height, width);
    const out = new Uint8Array(pixels.length);
    for (const { name, sign, sha256 } of own) {
      applyOperation(
        { name, magnitude: sign * OPERATIONS[name].magnitude(level, { height, width }) },
        pixels,
        out.fill(7),
        {
          height,
          width,
        },
      );
      assert.equal(createHash('sha256').update(out).digest('hex').slice(0, 16), sha256, `${name} ${sign}`);
    }
  });
}
