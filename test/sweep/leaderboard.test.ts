import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PointOutcome } from '../../src/sweep/child.js';
import { leaderboardCsv, leaderboardTable, type Row } from '../../src/sweep/leaderboard.js';

const row = (freshHead: boolean): Row => {
  const report = {
    run: 'r',
    kv_parameters: 8,
    kv_activations: 4992,
    gflops_per_image: 0.25,
    converted: freshHead ? null : { top1: 0.5 },
    fresh_head: freshHead,
    best: { epoch: 2, top1: 0.75, loss: 0.5 },
    test: { top1: 0.7, top5: null, loss: 0.6 },
    train_images_per_s: 1,
    warnings: [],
  };
  const outcome: PointOutcome = { state: 'done', report, exitCode: 0 };
  return {
    point: { variant: 'mha', kvHeads: 4, seed: 1, axes: {}, runName: 'p' } as unknown as Row['point'],
    outcome,
    run: 'r',
  };
};

test('a fresh head has no figure as converted: – (fresh head) in the table, an empty cell in the CSV', () => {
  assert.match(leaderboardTable([row(true)]), /– \(fresh head\) +75\.00 %/);
  assert.match(leaderboardTable([row(false)]), / 50\.00 % +75\.00 %/);
  const [titles, cells] = leaderboardCsv([row(true)])
    .trim()
    .split('\n')
    .map((line) => line.split(','));
  assert.equal(cells?.[titles?.indexOf('top1_converted') ?? -1], '');
});
