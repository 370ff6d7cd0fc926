/** What `gqa export` writes gives the same logits, whoever's names it has; and what `gqa runs` tells of runs. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { openSafetensors, readTensor } from '../../src/checkpoint/safetensors.js';
import { sparkline } from '../../src/commands/runs.js';
import { gqa, gqaAt, temporaryFolder } from '../cli-run.js';

const folder = temporaryFolder();
const VARIANTS = { gqa: 2, kdgqa: 2 };
const run = (variant: string): string => path.join(folder, 'smoke', variant);

before(() => {
  for (const [variant, kvHeads] of Object.entries(VARIANTS)) {
    const sets = [
      `model.variant=${variant}`,
      `model.kv_heads=${kvHeads}`,
      'train.steps=6',
      'train.lr=0.01',
      'data.limit=60',
    ];
    const args = ['train', '--config', 'configs/smoke.yaml', '--runs-dir', folder, '--run-name', variant];
    const ran = gqa([...args, ...sets.flatMap((set) => ['--set', set])]);
    assert.equal(ran.code, 0, ran.stderr);
  }
});

function logitsOf(args: string[]): Float32Array {
  const file = path.join(temporaryFolder(), 'logits.safetensors');
  const ran = gqa(['eval', ...args, '--logits', file]);
  assert.equal(ran.code, 0, ran.stderr);
  return readTensor(openSafetensors(file), 'logits');
}

for (const variant of ['gqa', 'kdgqa'])
  test(`${variant}, expanded: timm’s and Hugging Face’s names, the same logits as the run’s own`, () => {
    const own = logitsOf([run(variant)]);
    for (const format of variant === 'gqa' ? ['timm', 'huggingface'] : ['timm']) {
      const out = path.join(folder, `${variant}-${format}`);
      const ran = gqa(['export', run(variant), '--format', format, '--expand', '--out', out]);
      assert.equal(ran.code, 0, ran.stderr);
      assert.ok(fs.existsSync(path.join(out, 'config.json')));
      const sets = ['model.variant=mha', 'model.kv_heads=null', 'data.limit=60'].flatMap((set) => ['--set', set]);
      const checkpoint = path.join(out, 'model.safetensors');
      const found = logitsOf(['--checkpoint', checkpoint, '--config', 'configs/smoke.yaml', ...sets]);
      assert.equal(found.length, own.length);
      const far = found.reduce((most, logit, i) => Math.max(most, Math.abs(logit - (own[i] as number))), 0);
      assert.ok(far < 1e-5, `${format}: ${far}`);
    }
  });

test('grouped heads without --expand, a file that is not ours, a folder that has a model: exit 2, with what to do', () => {
  const out = path.join(folder, 'refused');
  const foreign = path.join(folder, 'gqa-timm', 'model.safetensors');
  for (const [args, message] of [
    [[run('gqa'), '--format', 'timm', '--out', out], /timm has no grouped heads, and .* has 2 KV heads[\s\S]*--expand/],
    [[foreign, '--format', 'timm', '--out', out], /is no model that gqa wrote/],
    [[run('gqa'), '--format', 'paper', '--out', path.join(folder, 'gqa-timm')], /exists already/],
  ] as const) {
    const ran = gqa(['export', ...args]);
    assert.equal(ran.code, 2, ran.stderr);
    assert.match(ran.stderr, message);
    assert.ok(!fs.existsSync(out));
  }
  const paper = path.join(folder, 'paper');
  assert.equal(gqa(['export', run('gqa'), '--format', 'paper', '--out', paper]).code, 0);
  const k = openSafetensors(path.join(paper, 'model.safetensors')).tensors.get('blocks.0.attn.k.weight');
  assert.equal(k?.shape[0], (k?.shape[1] ?? 0) / 2); // 2 of 4 heads
});

test('runs lists them with state and figures, shows one, compares several', () => {
  const killed = gqaAt('write "step":5', 'SIGKILL', [
    ...['train', '--config', 'configs/smoke.yaml', '--runs-dir', folder, '--run-name', 'killed'],
    ...['train.log_every=1', 'train.steps=null', 'data.limit=60'].flatMap((set) => ['--set', set]),
  ]);
  assert.equal(killed.code, null);
  const listed = JSON.parse(gqa(['runs', '--runs-dir', folder, '--json']).stdout) as Record<string, unknown>[];
  const states = Object.fromEntries(listed.map((one) => [path.basename(one.run as string), one.state]));
  assert.deepEqual(states, {
    ...Object.fromEntries(Object.keys(VARIANTS).map((name) => [name, 'done'])),
    killed: 'killed',
  });
  const gqaRun = listed.find((one) => one.run === run('gqa'));
  const report = JSON.parse(fs.readFileSync(path.join(run('gqa'), 'report.json'), 'utf8'));
  assert.ok(Math.abs((gqaRun?.test_top1 as number) - report.test.top1) < 1e-6);
  assert.ok(Math.abs((gqaRun?.best_top1 as number) - report.best.top1) < 1e-6);
  const shown = gqa(['runs', 'show', run('killed')]);
  assert.match(shown.stdout, /killed, epoch \d\/\d+[\s\S]*train\.log_every: 1[\s\S]*next: .*train --resume/);
  const compared = gqa(['runs', 'compare', run('kdgqa'), run('gqa')]);
  assert.match(compared.stdout, /model\.variant +"kdgqa" +"gqa"/);
  assert.equal(gqa(['runs', 'show', folder]).code, 2);
  assert.equal(sparkline([0, null, 1, 0.5]), '▁ █▅');
});

test('--predictions and confusion.csv agree with top-1', () => {
  const pictures = fs.mkdtempSync(path.join(folder, 'pictures-'));
  const csv = path.join(pictures, 'predictions.csv');
  const ran = gqa(['eval', run('gqa'), '--predictions', csv, '--json']);
  assert.equal(ran.code, 0, ran.stderr);
  const { top1, images } = JSON.parse(ran.stdout);
  const rows = fs
    .readFileSync(csv, 'utf8')
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => line.split(','));
  assert.equal(rows.length, images);
  assert.equal(rows.filter(([, label, predicted]) => label === predicted).length, Math.round(top1 * images));
  const confusion = fs
    .readFileSync(path.join(run('gqa'), 'eval/test/confusion.csv'), 'utf8')
    .trimEnd()
    .split('\n')
    .slice(1);
  const right = confusion.map((line, c) => Number(line.split(',')[3 + c]));
  assert.equal(
    right.reduce((sum, one) => sum + one, 0),
    Math.round(top1 * images),
  );
});
