/**
 * What the paper's cache makes of DGQA. At the start of a window of W steps c ← (c + m) / W, m being the summed key
 * norms, so that c = Σₖ m₋ₖ / Wᵏ. While norms change by at most a factor 1 + δ, c lies within (1 ± δ) m / (W − 1): the
 * scores |c − m| (diff) and 0.9 m + 0.1 c (ema) are both m times a factor that is the same for every head but for
 * δ / (W − 2) of it. With the paper's W = 300 either allocates by the plain ratio of norms, but where a share lies that
 * close to a half.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { allocate } from '../../src/model/allocate.js';
import { dgqaDiff, dgqaEma } from '../../src/model/variants/dgqa.js';
import type { BlockState } from '../../src/model/variants/key-driven.js';
import { startBackend } from '../../src/native/backend.js';
import { draws } from '../../src/random.js';

before(async () => void (await startBackend('auto')));

/** Of windows of `windowSize` steps, with norms that drift: how often diff, ema and the plain ratio allocate alike. */
function alike(windowSize: number): { diff: number; ema: number; windows: number } {
  const from = draws(7, 'dgqa-window');
  const heads = 12;
  const found = { diff: 0, ema: 0, windows: 0 };
  for (let sequence = 0; sequence < 40; sequence++) {
    const kvHeads = 2 + (sequence % 4);
    const groups = Array.from({ length: heads }, (_, head) => Math.floor((head * kvHeads) / heads));
    const norms = [...from.normals(kvHeads)].map((value) => 5 + value);
    const states = [dgqaDiff, dgqaEma].map((rule) => tensorsOf(rule.initialState(groups)));
    for (let window = 0; window < 6; window++) {
      const drifted = norms.map((norm) => norm * (1 + 0.3 * Math.abs(from.normals(1)[0] as number)));
      const m = tf.tensor1d(drifted);
      const plain = [...allocate(m, heads).dataSync()].join();
      const clock = { refresh: tf.scalar(1), windowSize };
      const counts = [dgqaDiff, dgqaEma].map((rule, i) => {
        const next = rule.train(m, 1, heads, states[i] as BlockState, clock);
        states[i] = next.state;
        return [...next.counts.dataSync()].join();
      });
      found.windows++;
      found.diff += Number(counts[0] === plain);
      found.ema += Number(counts[1] === plain);
    }
  }
  return found;
}

const tensorsOf = (state: object): BlockState =>
  Object.fromEntries(Object.entries(state).map(([key, values]) => [key, tf.tensor1d(values)])) as BlockState;

test('with the paper’s window of 300 steps diff and ema allocate by the plain ratio of key norms', () => {
  const { diff, ema, windows } = alike(300);
  assert.ok(diff / windows > 0.97 && ema / windows > 0.97, JSON.stringify({ diff, ema, windows }));
});

test('with windows of two steps they are schemes of their own', () => {
  const { diff, windows } = alike(2);
  assert.ok(diff / windows < 0.7, JSON.stringify({ diff, windows }));
});
