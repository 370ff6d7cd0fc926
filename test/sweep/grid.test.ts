import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { GqaError } from '../../src/errors.js';
import { parseAxis } from '../../src/sweep/axis.js';
import { describePoint, planGrid, type SweepAxes } from '../../src/sweep/grid.js';

const file = path.join(mkdtempSync(path.join(tmpdir(), 'gqa-grid-')), 'base.yaml');
writeFileSync(file, 'data: { name: cifar10 }\nmodel: { size: small, variant: gqa, kv_heads: 3 }\nseed: 7\n');

const names = (axes: SweepAxes, sets: string[] = []) => planGrid(file, sets, axes).points.map((point) => point.runName);

function refused(axes: SweepAxes, sets: string[] = []): string {
  try {
    planGrid(file, sets, axes);
  } catch (error) {
    assert.ok(error instanceof GqaError);
    assert.equal(error.code, 'usage');
    return error.message;
  }
  return assert.fail('the grid was accepted');
}

test('the grid is every variant with every number of KV heads and every seed', () => {
  assert.deepEqual(names({ variants: ['gqa', 'pgqa'], kvHeads: [2, 6], seeds: [0, 1] }), [
    'gqa-kv2-s0',
    'gqa-kv2-s1',
    'gqa-kv6-s0',
    'gqa-kv6-s1',
    'pgqa-kv2-s0',
    'pgqa-kv2-s1',
    'pgqa-kv6-s0',
    'pgqa-kv6-s1',
  ]);
});

test('lists that are left out keep what the config says', () => {
  assert.deepEqual(names({}), ['gqa-kv3-s7']);
  assert.deepEqual(names({ variants: ['kdgqa'] }), ['kdgqa-kv3-s7']);
  assert.deepEqual(names({ kvHeads: [1] }, ['seed=9']), ['gqa-kv1-s9']);
});

test('mha and mqa appear once a seed whatever the numbers of KV heads, and that is said', () => {
  const { points, notices } = planGrid(file, [], { variants: ['mha', 'mqa', 'gqa'], kvHeads: [1, 2], seeds: [0, 1] });
  assert.deepEqual(
    points.map((point) => point.runName),
    ['mha-kv6-s0', 'mha-kv6-s1', 'mqa-kv1-s0', 'mqa-kv1-s1', 'gqa-kv1-s0', 'gqa-kv1-s1', 'gqa-kv2-s0', 'gqa-kv2-s1'],
  );
  assert.equal(notices.length, 2);
  assert.match(notices[0] ?? '', /^mha chooses its KV heads itself \(6\)/);
});

test('--kv-heads that no variant takes is reported though nothing is asked for twice', () => {
  const { points, notices } = planGrid(file, [], { variants: ['mha'], kvHeads: [2] });
  assert.deepEqual(
    points.map(({ runName }) => runName),
    ['mha-kv6-s7'],
  );
  assert.deepEqual(notices, ['mha chooses its KV heads itself (6), whatever --kv-heads says: it runs once a seed']);
});

test('an axis is chosen by --set or by its flag, not by both', () => {
  assert.match(
    refused({ kvHeads: [1, 2] }, ['model.kv_heads=3']),
    /^--set model\.kv_heads=3 and --kv-heads 1,2 both choose model\.kv_heads$/,
  );
  assert.match(refused({ variants: ['gqa'] }, ['model.variant=pgqa']), /both choose model\.variant$/);
  assert.match(refused({ seeds: [1] }, ['seed=3']), /both choose seed$/);
  assert.deepEqual(names({ seeds: [1] }, ['model.kv_heads=2']), ['gqa-kv2-s1']);
});

test('keys that no point uses are refused from --set; those that one of them uses are not', () => {
  assert.match(
    refused({ variants: ['mha', 'gqa'] }, ['model.window_size=9']),
    /model\.window_size is 9, but variant mha has no window: it has no effect$/,
  );
  assert.deepEqual(planGrid(file, ['model.window_size=9'], { variants: ['mha', 'dgqa-ema'] }).notices, []);
});

test('a point asked for twice runs once, and that is said', () => {
  const { points, notices } = planGrid(file, [], { kvHeads: [2, 2], seeds: [0] });
  assert.equal(points.length, 1);
  assert.deepEqual(notices, ['gqa, 2 KV heads, seed 0 is asked for more than once: it runs once']);
});

test('all invalid points are listed, each reason once with the points that have it', () => {
  assert.deepEqual(refused({ variants: ['mha', 'gqa', 'kdgqa'], kvHeads: [1, 4, 5] }).split('\n'), [
    '4 of 9 points of the sweep are invalid; nothing was started',
    'model.variant=gqa, model.kv_heads=4 · model.variant=kdgqa, model.kv_heads=4',
    '  --set model.kv_heads=4: model.kv_heads is 4, but must divide heads (6): 1, 2, 3 or 6',
    'model.variant=gqa, model.kv_heads=5 · model.variant=kdgqa, model.kv_heads=5',
    '  --set model.kv_heads=5: model.kv_heads is 5, but must divide heads (6): 1, 2, 3 or 6',
  ]);
});

test('a problem of the config itself is reported once', () => {
  assert.equal(
    refused({ variants: ['mha', 'gqa'], seeds: [0, 1, 2] }, ['train.lr=x']),
    '--set train.lr=x: train.lr is the text "x", expected a number of at least 0',
  );
});

test('unknown variants are named, with the ones that were meant', () => {
  assert.match(
    refused({ variants: ['gqa', 'dqqa-ema', 'x'] }),
    /^--variants has "dqqa-ema" \(did you mean dgqa-ema\?\), "x", expected some of mha, mqa/,
  );
});

test('any key is an axis: every combination, told in names and words; one that is chosen already, or has no value, is refused', () => {
  const axis = ['train.lr=1e-5,3e-5', 'data.limit={train: 10, test: 5},null'].map(parseAxis);
  const { points } = planGrid(file, [], { variants: ['gqa'], kvHeads: [2], seeds: [0, 1], axis });
  assert.equal(points.length, 8);
  assert.equal(points[1]?.runName, 'gqa-kv2-s0-lr1e-5-limitnull');
  assert.equal(points[1] && describePoint(points[1]), 'gqa, 2 KV heads, seed 0, train.lr 1e-5, data.limit null');
  assert.deepEqual([points[2]?.read.config.train.lr, points[2]?.read.config.data.limit?.train], [3e-5, 10]);
  assert.equal(new Set(points.map(({ runName }) => runName)).size, 8);
  for (const [text, expected] of [
    ['seed=1,2', /seed is chosen by another flag already/],
    ['train.epochs=2', /train\.epochs is chosen by another flag already/],
    ['train.nothing=1', /train\.nothing is not a known key/],
  ] as const)
    assert.throws(() => planGrid(file, ['train.epochs=3'], { axis: [parseAxis(text)] }), expected);
  for (const text of ['train.lr', 'train.lr=', 'train.lr=1,,2', '=1'])
    assert.throws(() => parseAxis(text), /expected key=value/);
});
