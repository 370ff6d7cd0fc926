import assert from 'node:assert/strict';
import { test } from 'node:test';
import { draws, normalQuantile, philox, shuffle } from '../src/random.js';

// Known-answer vectors of the Random123 distribution, kat_vectors, philox4x32 10.
test('philox agrees with the known answers of its authors', () => {
  const known: [number[], [number, number], number[]][] = [
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ];
  for (const [counter, key, answer] of known) {
    const words = Uint32Array.from(counter);
    philox(words, key[0], key[1]);
    assert.deepEqual([...words], answer);
  }
});

test('draws depend on seed, stream and position, and on nothing else', () => {
  const row = (...of: Parameters<typeof draws>): number[] => {
    const from = draws(...of);
    return Array.from({ length: 9 }, () => from.bits());
  };
  assert.deepEqual(row(42, 'augment', 1, 7), row(42, 'augment', 1, 7));
  for (const other of [
    row(43, 'augment', 1, 7),
    row(42, 'shuffle', 1, 7),
    row(42, 'augment', 2, 7),
    row(42, 'augment', 1, 8),
  ])
    assert.notDeepEqual(row(42, 'augment', 1, 7), other);
});

test('uniform and normal draws have the moments they should', () => {
  const from = draws(1, 'moments');
  const count = 40_000;
  const moments = (values: number[]): [number, number] => {
    const mean = values.reduce((sum, value) => sum + value, 0) / count;
    return [mean, values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / count];
  };
  const [uniformMean, uniformVariance] = moments(Array.from({ length: count }, from.uniform));
  assert.ok(Math.abs(uniformMean - 0.5) < 0.01 && Math.abs(uniformVariance - 1 / 12) < 0.005);
  const [normalMean, normalVariance] = moments([...from.normals(count)]);
  assert.ok(Math.abs(normalMean) < 0.03 && Math.abs(normalVariance - 1) < 0.05);
});

test('normal quantiles are those of the tables, and mirror each other', () => {
  const known: [number, number][] = [
    [0.5, 0],
    [0.975, 1.959963984540054],
    [0.99, 2.3263478740408408],
    [0.9999, 3.719016485455709],
  ];
  for (const [p, value] of known) {
    assert.ok(Math.abs(normalQuantile(p) - value) < 1e-8, `${p}: ${normalQuantile(p)}`);
    assert.ok(Math.abs(normalQuantile(1 - p) + value) < 1e-8);
  }
});

test('normal draws do not depend on how many are drawn at once, up to a block of eight', () => {
  const [whole, parts] = [draws(3, 'n').normals(20), draws(3, 'n')];
  assert.deepEqual([...whole], [...parts.normals(8), ...parts.normals(8), ...parts.normals(4)]);
});

test('a shuffle is a permutation, and the same one for the same draws', () => {
  const once = shuffle(
    Int32Array.from({ length: 100 }, (_, i) => i),
    draws(5, 'shuffle', 3),
  );
  const again = shuffle(
    Int32Array.from({ length: 100 }, (_, i) => i),
    draws(5, 'shuffle', 3),
  );
  assert.deepEqual(once, again);
  assert.notDeepEqual(
    [...once],
    [...once].sort((a, b) => a - b),
  );
  assert.deepEqual(
    [...once].sort((a, b) => a - b),
    Array.from({ length: 100 }, (_, i) => i),
  );
});
