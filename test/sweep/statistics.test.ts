/** Intervals over seeds: as scipy has them (scipy.json: `stats.t.ppf`, `stats.ttest_rel(a, b).confidence_interval()`), and as what they are for. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { draws } from '../../src/random.js';
import type { Row } from '../../src/sweep/leaderboard.js';
import { overImages, pairedDifference, spreadOf, studentQuantile } from '../../src/sweep/statistics.js';
import { summaryCsv, summaryOf, summaryTable } from '../../src/sweep/summary.js';

const scipy = JSON.parse(fs.readFileSync('test/sweep/scipy.json', 'utf8')) as {
  quantiles: { df: number; t: number }[];
  pairs: { a: number[]; b: number[]; mean: number; low: number; high: number }[];
};
const near = (found: number, expected: number): void =>
  assert.ok(Math.abs(found - expected) <= 1e-9 * Math.max(1, Math.abs(expected)), `${found}, not ${expected}`);

test('quantiles of Student’s t and intervals of paired differences are scipy’s', () => {
  for (const { df, t } of scipy.quantiles) near(studentQuantile(0.975, df), t);
  for (const { a, b, mean, low, high } of scipy.pairs) {
    const found = pairedDifference(a.map((value, i) => [value, b[i] as number]));
    near(found.mean, mean);
    near(found.interval?.[0] as number, low);
    near(found.interval?.[1] as number, high);
  }
  assert.equal(pairedDifference([[0.5, 0.4]]).interval, null);
  assert.equal(spreadOf([0.5]).sd, null);
});

test('an interval over images is that of scipy’s paired bootstrap, which draws images', () => {
  const kept = JSON.parse(fs.readFileSync('test/sweep/over-images.json', 'utf8')) as {
    [which in 'one' | 'other']: number[][];
  } & { low: number; high: number };
  const named = (right: number[] = []) => new Map(right.map((each, i) => [`${i}.png`, each === 1]));
  const pairs = kept.one.map((right, seed) => [named(right), named(kept.other[seed])] as const);
  const { images, interval: [low, high] = [] } = overImages(pairs) ?? {};
  assert.equal(images, 400);
  assert.ok(Math.abs((low as number) - kept.low) < 1.5e-3, `${low}, not ${kept.low}`);
  assert.ok(Math.abs((high as number) - kept.high) < 1.5e-3, `${high}, not ${kept.high}`);
  const without = [[new Map([...(pairs[0]?.[0] ?? [])].slice(100)), pairs[0]?.[1] as Map<string, boolean>] as const];
  assert.equal(overImages(without)?.images, 300, 'images that one of them lacks count for neither');
  assert.equal(overImages([]), null);
});

/** Seeds differ by 1.5 points, which both methods share; methods by 0.5 on top of that. */
function planted(by: number, seed: number): { low: number; high: number } {
  const from = draws(seed, 'planted');
  const normal = (): number => from.normals(1)[0] as number;
  const pairs = Array.from({ length: 5 }, (): [number, number] => {
    const shared = 0.55 + 0.015 * normal();
    return [shared + by + 0.005 * normal(), shared + 0.005 * normal()];
  });
  const [low, high] = pairedDifference(pairs).interval as [number, number];
  return { low, high };
}

test('a planted difference of 2 points is found with 5 seeds, and a planted zero is claimed in one case of twenty', () => {
  const cases = Array.from({ length: 400 }, (_, i) => i);
  const found = cases.filter((i) => planted(0.02, i).low > 0).length;
  assert.ok(found >= 390, `${found} of 400`);
  const claimed = cases.filter((i) => {
    const { low, high } = planted(0, i);
    return low > 0 || high < 0;
  }).length;
  assert.ok(claimed >= 8 && claimed <= 34, `${claimed} of 400`);
});

const row = (variant: string, kvHeads: number, seed: number, top1: number): Row => ({
  point: { variant, kvHeads, seed, axes: {}, runName: `${variant}-${seed}` } as Row['point'],
  outcome: {
    state: 'done',
    exitCode: 0,
    report: {
      run: 'r',
      kv_parameters: 100 * kvHeads,
      kv_activations: 4992,
      gflops_per_image: 0.25,
      converted: { top1: top1 / 2 },
      fresh_head: false,
      best: { epoch: 1, top1, loss: 1 },
      test: { top1, top5: null, loss: 1 },
      train_images_per_s: 1,
      warnings: [],
    },
  },
  run: 'r',
});

test('a summary pairs seeds, compares with gqa of as many KV heads, and leaves out what did not end', () => {
  const rows = [
    ...[row('mha', 6, 0, 0.8), row('mha', 6, 1, 0.82)],
    ...[row('gqa', 3, 0, 0.5), row('gqa', 3, 1, 0.54), { ...row('gqa', 3, 2, 0.9), outcome: null }],
    ...[row('basis', 3, 1, 0.74), row('basis', 3, 0, 0.72), row('basis', 2, 0, 0.6)],
  ];
  const [mha, gqa, basis, two] = summaryOf(rows);
  assert.deepEqual([mha?.toGqa, mha?.ofMha, gqa?.toGqa, gqa?.test.n], [null, null, null, 2]);
  near(basis?.toGqa?.mean as number, 0.21);
  near(basis?.ofMha as number, 1.46 / 1.62);
  assert.deepEqual([two?.toGqa, two?.test.sd], [null, null]);
  const table = summaryTable([mha, gqa, basis, two] as Parameters<typeof summaryTable>[0]);
  assert.match(
    table,
    /basis +3 +300 +2 +36\.50 ± 0\.71 % +73\.00 ± 1\.41 % +\+21\.00 \(\+8\.29 to \+33\.71\) +90\.12 %/,
  );
  assert.equal(summaryCsv(summaryOf(rows)).split('\n')[4]?.split(',')[7], '', 'no gqa with 2 KV heads');
});

test('runs that differ on another axis are never added up: each value is compared with its own gqa and mha', () => {
  const at = (lr: string, rows: Row[]): Row[] =>
    rows.map((each) => ({ ...each, point: { ...each.point, axes: { 'train.lr': lr } } }));
  const methods = summaryOf([
    ...at('1e-5', [row('mha', 6, 0, 0.8), row('gqa', 3, 0, 0.5), row('basis', 3, 0, 0.7)]),
    ...at('3e-5', [row('mha', 6, 0, 0.9), row('gqa', 3, 0, 0.8), row('basis', 3, 0, 0.81)]),
  ]);
  assert.deepEqual(
    methods.map(({ variant, axes, test, toGqa }) => [variant, axes['train.lr'], test.n, toGqa?.mean.toFixed(2)]),
    [
      ['mha', '1e-5', 1, undefined],
      ['gqa', '1e-5', 1, undefined],
      ['basis', '1e-5', 1, '0.20'],
      ['mha', '3e-5', 1, undefined],
      ['gqa', '3e-5', 1, undefined],
      ['basis', '3e-5', 1, '0.01'],
    ],
  );
  near(methods[5]?.ofMha as number, 0.9);
  assert.match(summaryCsv(methods).split('\n')[0] ?? '', /,train\.lr$/);
});
