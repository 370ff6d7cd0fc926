import assert from 'node:assert/strict';
import { test } from 'node:test';
import { learningRate } from '../../src/train/schedule.js';

test('warm-up reaches the peak with its last step, and each schedule starts there', () => {
  for (const schedule of ['constant', 'cosine', 'linear'] as const) {
    assert.equal(learningRate(schedule, 0.1, 0, 100, 10), 0.01);
    assert.equal(learningRate(schedule, 0.1, 9, 100, 10), 0.1);
    assert.equal(learningRate(schedule, 0.1, 10, 100, 10), 0.1);
  }
});

test('cosine is at half the peak half-way, linear falls evenly, constant stays', () => {
  assert.ok(Math.abs(learningRate('cosine', 1, 50, 100, 0) - 0.5) < 1e-12);
  assert.ok(Math.abs(learningRate('linear', 1, 75, 100, 0) - 0.25) < 1e-12);
  assert.equal(learningRate('constant', 1, 99, 100, 0), 1);
  assert.ok(learningRate('cosine', 1, 99, 100, 0) > 0 && learningRate('cosine', 1, 99, 100, 0) < 0.001);
});
