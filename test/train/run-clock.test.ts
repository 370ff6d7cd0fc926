import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Counted, Progress } from '../../src/run/progress.js';
import { runClock } from '../../src/train/run-clock.js';

/** Bars whose pace the test sets. */
function bars() {
  const started: { label: string; total: number; counted: Counted | undefined; stopped: boolean }[] = [];
  let each: number | null = null;
  const start = (label: string, total: number, counted?: Counted): Progress => {
    const bar = { label, total, counted, stopped: false };
    started.push(bar);
    return {
      update() {},
      tick() {},
      secondsEach: () => each,
      stop() {
        bar.stopped = true;
      },
    };
  };
  return { started, start, pace: (seconds: number | null) => (each = seconds) };
}

test('what a run still takes: its training, its evaluations and its test, each at the pace that it had last', () => {
  const { started, start, pace } = bars();
  const clock = runClock(start, { train: 2 * 1000, evaluate: 3 * 100 + 500 }); // as converted, two epochs, test
  assert.equal(clock.left(), null);

  const converted = clock.timed('evaluate')('as converted', 100);
  assert.equal(started[0]?.counted?.after?.(0.01), 2000 * 0.03 + 700 * 0.01, 'training is guessed from evaluation');
  pace(0.01);
  converted.stop();
  assert.equal(started[0]?.stopped, true);
  assert.equal(clock.left(), 2000 * 0.03 + 700 * 0.01);

  const training = clock.timed('train')('epoch 1/2', 1000);
  assert.equal(started[1]?.counted?.after?.(0.02), 1000 * 0.02 + 700 * 0.01);
  pace(0.02);
  training.stop();
  pace(null); // too short to tell: what was measured before stays
  clock.timed('evaluate')('epoch 1/2 validation', 100).stop();
  assert.equal(clock.left(), 1000 * 0.02 + 600 * 0.01);

  for (const [kind, total] of [
    ['train', 1000],
    ['evaluate', 100],
    ['evaluate', 500],
  ] as const)
    clock.timed(kind)('', total).stop();
  assert.equal(clock.left(), 0);
  clock.timed('evaluate')('once more', 500).stop();
  assert.equal(clock.left(), 0, 'never less than nothing');
});

test('before any evaluation, one is guessed from training', () => {
  const { start, pace } = bars();
  const clock = runClock(start, { train: 300, evaluate: 90 });
  const bar = clock.timed('train')('epoch 1/3', 100);
  pace(0.3);
  bar.stop();
  assert.equal(Number(clock.left()?.toFixed(6)), 200 * 0.3 + 90 * 0.1);
});
