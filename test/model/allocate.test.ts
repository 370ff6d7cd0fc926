import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { allocate, assignmentOf, meanKeyNorms } from '../../src/model/allocate.js';
import { startBackend } from '../../src/native/backend.js';
import { draws } from '../../src/random.js';

before(async () => {
  await startBackend('auto');
});

const allocated = (scores: number[], heads: number): number[] =>
  Array.from(tf.tidy(() => allocate(tf.tensor1d(scores), heads).dataSync()));

test('shares are rounded half to even, as in torch', () => {
  assert.deepEqual(allocated([0.5, 1.5, 2, 4], 8), [0, 2, 2, 4]);
  assert.deepEqual(allocated([1, 0], 8), [8, 0]);
});

test('too many heads are taken from the largest, missing ones given to the smallest', () => {
  assert.deepEqual(allocated([1.6, 1.6, 1.8, 3], 8), [2, 2, 2, 2]); // rounds to 2 2 2 3
  assert.deepEqual(allocated([1.4, 1.4, 1.4, 3.8], 8), [2, 1, 1, 4]); // rounds to 1 1 1 4
});

test('equal norms and a single key head give the even split', () => {
  assert.deepEqual(allocated([0, 0, 0], 12), [4, 4, 4]);
  assert.deepEqual(allocated([0], 12), [12]);
  assert.deepEqual(allocated([3.7], 12), [12]);
});

test('every allocation is whole, not negative, and adds up to the heads; every query head reads exactly one key head, in order', () => {
  const from = draws(7, 'allocate');
  for (let round = 0; round < 200; round++) {
    const kvHeads = 1 + from.below(16);
    const heads = kvHeads * (1 + from.below(4));
    const counts = allocated(
      Array.from({ length: kvHeads }, () => (from.uniform() < 0.2 ? 0 : from.uniform() ** 3)),
      heads,
    );
    assert.equal(
      counts.reduce((sum, count) => sum + count, 0),
      heads,
    );
    assert.ok(counts.every((count) => Number.isInteger(count) && count >= 0));
    const rows = tf.tidy(() => assignmentOf(tf.tensor1d(counts), heads).arraySync()) as number[][];
    const expected = counts.flatMap((count, g) =>
      Array.from({ length: count }, () => Array.from({ length: kvHeads }, (_, k) => (k === g ? 1 : 0))),
    );
    assert.deepEqual(rows, expected);
  }
});

test('key norms are averaged over real images only', () => {
  const k = [
    [3, 0, 0, 1],
    [0, 5, 1, 0],
    [100, 100, 100, 100],
  ]; // B = 3, N = 1, K = 2, E = 2; the third image is padding
  const norms = tf.tidy(() => meanKeyNorms(tf.tensor2d(k), 2, tf.tensor1d([1, 1, 0])).dataSync());
  assert.deepEqual([...norms], [4, 1]);
});
