import assert from 'node:assert/strict';
import { test } from 'node:test';
import { epochLine } from '../../src/run/epoch-line.js';
import { columnsIn } from '../../src/run/fit.js';

const result = {
  epoch: 3,
  step: 171,
  lr: 1e-5,
  train: { loss: 0.71234, top1: 0.802 },
  selection: { loss: 0.80119, top1: 0.77, top5: 0.98 },
  imagesPerSecond: 375.4,
};
const end = { epochs: 10, best: true, seconds: 5.2, secondsLeft: 70 };

test('one line tells an epoch: training, what the best epoch is chosen on, speed, its time and what is left of the run', () => {
  assert.equal(
    epochLine(result, end, 'validation'),
    'epoch 3/10 · train loss 0.7123 top-1 80.2 % · validation loss 0.8012 top-1 77.0 % (best) · 375 images/s · 0:05, 1:10 left',
  );
  assert.equal(
    epochLine(
      { ...result, epoch: 0, train: null, imagesPerSecond: null },
      { ...end, best: false, secondsLeft: null },
      'test',
    ),
    'as converted · test loss 0.8012 top-1 77.0 % · 0:05',
  );
});

test('steps that float16 left out stand beside the epoch; none are not spoken of', () => {
  assert.match(epochLine({ ...result, stepsLeftOut: 3 }, end, 'test'), /^epoch 3\/10 · 3 steps left out · train loss/);
  assert.match(
    epochLine({ ...result, stepsLeftOut: 1 }, end, 'test', 62),
    /^epoch 3\/10 · 1 step left out · test 77\.0 % \(best\)/,
  );
  assert.match(epochLine({ ...result, stepsLeftOut: 0 }, end, 'test'), /^epoch 3\/10 · train loss/);
});

test('it fits every width from 40 columns on, with epoch, top-1, the mark of the best and the time left', () => {
  for (const [big, selection] of [
    [{ ...result, epoch: 100 }, 'validation'],
    [result, 'test'],
  ] as const) {
    const at = { ...end, epochs: big.epoch === 100 ? 1000 : 10, secondsLeft: big.epoch === 100 ? 3775 : 70 };
    for (let columns = 20; columns <= 200; columns++) {
      const line = epochLine(big, at, selection, columns);
      assert.ok(columnsIn(line) <= columns, `${columns} columns: ${line}`);
      if (columns >= 40)
        assert.match(line, /^epoch \d+\/\d+ · .*77\.0 % \(best\).* · .*(1:02:55|1:10)( left)?$/, `${columns} columns`);
    }
  }
});

test('what a narrow terminal leaves out, in this order', () => {
  assert.deepEqual(
    [118, 90, 80, 60, 50, 44, 36].map((columns) => epochLine(result, end, 'validation', columns)),
    [
      'epoch 3/10 · train loss 0.7123 top-1 80.2 % · validation loss 0.8012 top-1 77.0 % (best) · 0:05, 1:10 left',
      'epoch 3/10 · train top-1 80.2 % · validation loss 0.8012 top-1 77.0 % (best) · 1:10 left',
      'epoch 3/10 · train top-1 80.2 % · validation top-1 77.0 % (best) · 1:10 left',
      'epoch 3/10 · validation top-1 77.0 % (best) · 1:10 left',
      'epoch 3/10 · validation 77.0 % (best) · 1:10 left',
      'epoch 3/10 · val 77.0 % (best) · 1:10 left',
      'epoch 3/10 · 77.0 % (best) · 1:10',
    ],
  );
});
