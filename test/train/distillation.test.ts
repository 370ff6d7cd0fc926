/** Learning from features: values, gradients, padding. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { startBackend } from '../../src/native/backend.js';
import { draws } from '../../src/random.js';
import { compared } from '../../src/train/divergence.js';
import { featureSum } from '../../src/train/loss.js';

before(async () => {
  await startBackend('auto');
});

const [B, N, D] = [3, 4, 5];
const drawn = (stream: string): tf.Tensor => tf.tensor(draws(1, stream).normals(B * N * D), [B * N, D]);
const WEIGHTS = [1, 1, 0];

/** By loops, from the definition. */
function directly(features: Float32Array, teacher: Float32Array, by: 'cosine' | 'l2'): number {
  let sum = 0;
  for (let b = 0; b < B; b++) {
    let [cosines, off, all] = [0, 0, 0];
    for (let n = 0; n < N; n++) {
      const at = (b * N + n) * D;
      const [x, y] = [features.subarray(at, at + D), teacher.subarray(at, at + D)];
      const dot = (p: Float32Array, q: Float32Array): number => p.reduce((s, v, i) => s + v * (q[i] as number), 0);
      cosines += dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y)) / N;
      off += dot(x, x) - 2 * dot(x, y) + dot(y, y);
      all += dot(y, y);
    }
    sum += (WEIGHTS[b] as number) * (by === 'cosine' ? 1 - cosines : off / all);
  }
  return sum;
}

for (const by of ['cosine', 'l2'] as const)
  test(`features by ${by}: as defined, nothing for equal ones, padding left out, gradients by differences`, () => {
    const [features, teacher, weights] = [drawn('features'), drawn('teacher'), tf.tensor1d(WEIGHTS)];
    const loss = (x: tf.Tensor): tf.Tensor => featureSum(x, teacher, weights, by);
    const values = features.dataSync() as Float32Array;
    const own = directly(values, teacher.dataSync() as Float32Array, by);
    assert.ok(Math.abs((loss(features).dataSync()[0] as number) - own) < 1e-5);
    assert.ok(Math.abs(loss(teacher).dataSync()[0] as number) < 1e-6);
    const gradient = tf
      .grad((x: tf.Tensor) => loss(x) as tf.Scalar)(features)
      .dataSync();
    const ofTeacher = teacher.dataSync() as Float32Array;
    for (const at of [0, 7, 33, B * N * D - 1]) {
      const moved = (by_: number): Float32Array => Float32Array.from(values, (v, i) => (i === at ? v + by_ : v));
      const slope = (directly(moved(1e-2), ofTeacher, by) - directly(moved(-1e-2), ofTeacher, by)) / 2e-2;
      assert.ok(Math.abs(slope - (gradient[at] as number)) < 2e-4, `${at}: ${slope} ${gradient[at]}`);
    }
    assert.equal(gradient[B * N * D - 1], 0); // padding
  });

test('how far outputs are from others: nothing for the same, by hand for two classes', () => {
  const of = Float32Array.from([0, Math.log(3), 2, 1]);
  assert.deepEqual(compared(of, of, 2), { divergence: 0, same: 1 });
  const { divergence, same } = compared(of.subarray(0, 2), Float32Array.from([Math.log(3), 0]), 2);
  const byHand = 0.25 * Math.log(0.25 / 0.75) + 0.75 * Math.log(0.75 / 0.25);
  assert.ok(Math.abs(divergence - byHand) < 1e-6);
  assert.equal(same, 0);
});
