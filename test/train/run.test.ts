/**
 * Whole runs through the command line: the same figures again, with any number of workers, on wasm too, and what they
 * leave behind.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { openSafetensors, readTensor } from '../../src/checkpoint/safetensors.js';
import { loadConfig } from '../../src/config/load.js';
import { gqa, temporaryFolder } from '../cli-run.js';

const CONFIG = 'configs/smoke.yaml';
const SMALL = ['--set', 'model.variant=dgqa-ema', '--set', 'model.kv_heads=2'];

function trained(runsDir: string, runName: string, ...args: string[]): Record<string, unknown> & { run: string } {
  const ran = gqa(['train', '--config', CONFIG, '--runs-dir', runsDir, '--run-name', runName, '--json', ...args]);
  assert.equal(ran.code, 0, ran.stderr);
  return JSON.parse(ran.stdout);
}

/** What a report says, without its time and place. */
const figures = (report: Record<string, unknown>): unknown => ({ ...report, train_images_per_s: null, run: null });

test('a run is repeated bit for bit with the same seed, with 1 and with 4 workers, and differs with another seed', () => {
  const runsDir = temporaryFolder();
  const random = [...SMALL, '--set', 'data.augment=light', '--set', 'data.mixup=0.8', '--set', 'data.cutmix=1'];
  const one = trained(runsDir, 'one', ...random, '--set', 'data.workers=1');
  const four = trained(runsDir, 'four', ...random, '--set', 'data.workers=4');
  const other = trained(runsDir, 'other', ...random, '--set', 'data.workers=1', '--set', 'seed=7');
  assert.deepEqual(figures(four), figures(one));
  assert.notDeepEqual(other.test, one.test);
  const weights = (run: string): Buffer => fs.readFileSync(path.join(run, 'checkpoints/last/model.safetensors'));
  assert.ok(weights(one.run).equals(weights(four.run)));
});

test('a run leaves what it is asked for: config, meta, status, results, steps and checkpoints; eval finds the same figures again', () => {
  const runsDir = temporaryFolder();
  const report = trained(runsDir, 'r', ...SMALL);
  const read = (file: string): string => fs.readFileSync(path.join(report.run, file), 'utf8');
  assert.equal(JSON.parse(read('status.json')).state, 'done');
  const rows = read('results.csv').trim().split('\n');
  assert.match(rows.at(-1) as string, /^best,/);
  assert.equal(read('metrics.jsonl').trim().split('\n').length > 0, true);
  const log = read('log.txt').trim().split('\n');
  for (const reported of [
    /fashion-mnist: 10 classes/,
    /run .*: dgqa-ema, 2 KV heads of 4/,
    /epoch 1\/1 · train loss \d.* · validation loss \d/,
    /test, best epoch/,
  ])
    assert.equal(
      log.filter((line) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ /.test(line) && reported.test(line)).length,
      1,
      `${reported}\n${log.join('\n')}`,
    );
  const meta = JSON.parse(read('meta.json'));
  assert.deepEqual([meta.parameters, meta.kv_parameters], [report.parameters, report.kv_parameters]);
  assert.ok(meta.notices.includes('from scratch'), meta.notices.join('\n'));
  const again = gqa(['eval', report.run, '--json', '--logits', path.join(runsDir, 'logits.safetensors')]);
  assert.equal(again.code, 0, again.stderr);
  const metrics = JSON.parse(again.stdout);
  const { top1, top5, loss, images } = metrics;
  assert.deepEqual({ top1, top5, loss, images }, report.test);
  assert.deepEqual(JSON.parse(read('eval/test/metrics.json')), metrics);

  const file = openSafetensors(path.join(runsDir, 'logits.safetensors'));
  const logits = readTensor(file, 'logits');
  const labels = readTensor(file, 'labels');
  const classes = logits.length / images;
  const right = [...labels].filter((label, i) => {
    const row = logits.subarray(i * classes, (i + 1) * classes);
    return row.indexOf(Math.max(...row)) === label;
  });
  assert.equal(right.length / images, top1);

  const repeated = gqa([
    'train',
    '--config',
    path.join(report.run, 'config.yaml'),
    '--runs-dir',
    runsDir,
    '--run-name',
    'again',
    '--json',
  ]);
  assert.deepEqual(figures(JSON.parse(repeated.stdout)), figures(report));
});

test('a run knows where its data, its cache and its checkpoint lie, so that it is evaluated alike from any folder', () => {
  const runsDir = temporaryFolder();
  const cache = path.join(runsDir, 'images');
  const report = trained(runsDir, 'r', ...SMALL, '--set', `data.cache=${path.relative(process.cwd(), cache)}`);
  assert.equal(loadConfig(path.join(report.run, 'config.yaml'), []).data.cache, cache);
  const other = temporaryFolder();
  const elsewhere = gqa(['eval', report.run, '--json'], other);
  assert.equal(elsewhere.code, 0, elsewhere.stderr);
  assert.deepEqual(fs.readdirSync(other), []);
  assert.deepEqual(JSON.parse(elsewhere.stdout).loss, (report.test as { loss: number }).loss);
});

test('a root that was chosen and is not there is an error, though the data lie elsewhere on the machine', () => {
  const ran = gqa(['train', '--config', path.resolve(CONFIG), '--runs-dir', 'runs'], temporaryFolder());
  assert.equal(ran.code, 3, ran.stderr);
  assert.match(ran.stderr, /fashion-mnist was not found/);
});

test('uptraining: mha is trained, converted, evaluated as converted, trained further; the state of the variant is saved with it', () => {
  const runsDir = temporaryFolder();
  const mha = trained(runsDir, 'mha', '--set', 'model.variant=mha', '--set', 'model.kv_heads=null');
  const pretrained = `model.pretrained=${path.join(mha.run, 'checkpoints/best/model.safetensors')}`;
  const uptrained = trained(runsDir, 'up', ...SMALL, '--set', pretrained) as unknown as {
    run: string;
    converted: { top1: number };
    kv_parameters: number;
  };
  assert.equal(typeof uptrained.converted.top1, 'number');
  assert.equal(uptrained.kv_parameters < (mha.kv_parameters as number), true);
  const saved = openSafetensors(path.join(uptrained.run, 'checkpoints/best/model.safetensors'));
  const card = JSON.parse(saved.metadata.gqa as string);
  assert.equal(card.variant, 'dgqa-ema');
  for (const block of card.state)
    assert.equal(
      block.allocation.reduce((sum: number, count: number) => sum + count, 0),
      card.model.heads,
    );
  const control = trained(
    runsDir,
    'control',
    '--set',
    'model.variant=mha',
    '--set',
    'model.kv_heads=null',
    '--set',
    pretrained,
  ) as unknown as { converted: { top1: number } };
  assert.equal(control.converted.top1, (mha.best as { top1: number }).top1);
});

test('every training option in one run: accumulation counts steps, the last one short; the averages are what is saved; the teacher is the control', (t) => {
  const runsDir = temporaryFolder();
  const mha = trained(runsDir, 'mha', '--set', 'model.variant=mha', '--set', 'model.kv_heads=null');
  if (/wasm/.test(String(mha.device))) return t.skip('no native runtime here: nothing is compiled');
  const best = path.join(mha.run, 'checkpoints/best/model.safetensors');
  const sets = [
    'train.grad_accum_steps=3',
    'train.clip_grad=1',
    'train.ema_decay=0.9',
    'train.freeze=all-but-kv',
    'train.recompute=blocks',
    'train.precision=bfloat16',
    `train.distill_from=${best}`,
    `model.pretrained=${best}`,
    'train.steps=null',
    'train.epochs=1',
    'data.limit={ train: 80, test: 20 }',
    'train.batch_size=8',
  ].flatMap((key) => ['--set', key]);
  const report = trained(runsDir, 'all', ...SMALL, ...sets) as unknown as { run: string; best: { step: number } };
  assert.equal(report.best.step, 3); // 72 images are 9 batches, 3 to a step
  const config = fs.readFileSync(path.join(report.run, 'config.yaml'), 'utf8');
  assert.match(config, /distill_from: \//);
  const [before, after] = [
    openSafetensors(best),
    openSafetensors(path.join(report.run, 'checkpoints/best/model.safetensors')),
  ];
  assert.deepEqual(readTensor(after, 'blocks.0.mlp.fc1.weight'), readTensor(before, 'blocks.0.mlp.fc1.weight'));
  assert.notDeepEqual(readTensor(after, 'head.weight'), readTensor(before, 'head.weight'));
});

test('what a training option cannot do here is refused before a run is made', () => {
  const runsDir = temporaryFolder();
  const gqaRun = trained(runsDir, 'few', ...SMALL);
  const refused = (pattern: RegExp, code: number, ...args: string[]): void => {
    const ran = gqa(['train', '--config', CONFIG, '--runs-dir', runsDir, '--run-name', 'x', ...args]);
    assert.equal(ran.code, code, ran.stderr);
    assert.match(ran.stderr, pattern);
    assert.equal(fs.existsSync(path.join(runsDir, 'smoke/x')), false);
  };
  const file = path.join(gqaRun.run, 'checkpoints/best/model.safetensors');
  refused(/KV heads|merged from MHA/, 2, ...SMALL, '--set', `train.distill_from=${file}`);
  refused(/train\.precision float16 needs the compiled step/, 2, '--set', 'train.precision=float16', '--eager');
  refused(/data\.limit/, 2, '--set', 'data.limit={ train: 2, test: 2 }', '--set', 'data.val_fraction=0.9');
  refused(/cannot be opened|no-such/, 5, '--set', 'train.distill_from=no-such.safetensors');
});

test('two steps on wasm, for every kind of variant: trained, evaluated, and close to what the native runtime computes', () => {
  const runsDir = temporaryFolder();
  for (const variant of ['gqa', 'kdgqa', 'pgqa']) {
    const mixing = variant === 'gqa' ? ['--set', 'data.mixup=0.8', '--set', 'data.cutmix=1'] : [];
    const sets = ['--set', `model.variant=${variant}`, '--set', 'model.kv_heads=2', ...mixing];
    const wasm = trained(runsDir, `wasm-${variant}`, ...sets, '--device', 'wasm') as unknown as {
      device: string;
      test: { loss: number };
    };
    const auto = trained(runsDir, `auto-${variant}`, ...sets) as unknown as { test: { loss: number } };
    assert.equal(wasm.device, 'wasm cpu eager');
    assert.ok(
      Math.abs(wasm.test.loss - auto.test.loss) < 1e-3 * auto.test.loss,
      `${variant}: ${wasm.test.loss} on wasm, ${auto.test.loss} natively`,
    );
  }
});

test('a compiled run and one operation by operation give the same figures, to the last digits of float32', (t) => {
  const runsDir = temporaryFolder();
  const compiled = trained(runsDir, 'compiled', ...SMALL) as unknown as {
    device: string;
    test: { loss: number; top1: number };
  };
  if (!compiled.device.startsWith('tensorflow')) return t.skip('no native runtime here');
  const eager = trained(runsDir, 'eager', ...SMALL, '--eager') as unknown as typeof compiled;
  assert.match(compiled.device, /^tensorflow cpu (fused|compiled)$/);
  assert.equal(eager.device, 'tensorflow cpu eager');
  assert.ok(
    Math.abs(compiled.test.loss - eager.test.loss) < 1e-5 * eager.test.loss,
    `${compiled.test.loss} compiled, ${eager.test.loss} eagerly`,
  );
  assert.equal(compiled.test.top1, eager.test.top1);
});

test('bench measures both ways of running a step in one document', (t) => {
  const ran = gqa([
    'bench',
    'step',
    '--config',
    CONFIG,
    '--steps',
    '2',
    '--rounds',
    '2',
    '--compare',
    'eager',
    '--json',
  ]);
  if (/wasm/.test(ran.stderr) && ran.code === 2) return t.skip('no native runtime here: there is nothing to compare');
  assert.equal(ran.code, 0, ran.stderr);
  const found = JSON.parse(ran.stdout);
  assert.match(found.mode, /^(fused|compiled)$/);
  assert.deepEqual([found.eager.mode, found.variant, found.kv_heads], ['eager', 'dgqa-ema', 2]);
  for (const key of [
    'start_s',
    'first_step_s',
    'train_images_per_s',
    'train_ms_per_step',
    'eval_images_per_s',
    'peak_rss_mb',
    'parameters',
    'kv_parameters',
    'gflops_per_image',
  ])
    assert.ok(found[key] > 0, key);
  assert.deepEqual([found.tensors_grown, found.eager.tensors_grown], [0, 0]);
});

test('bench measures two variants side by side, and says what kinds of operations a step spends its time on', (t) => {
  const ran = gqa([
    'bench',
    'step',
    '--config',
    CONFIG,
    '--steps',
    '1',
    '--rounds',
    '3',
    '--compare',
    'pgqa',
    '--profile',
    '--json',
  ]);
  if (/wasm/.test(ran.stderr) && ran.code === 2) return t.skip('no native runtime here: nothing is compiled');
  assert.equal(ran.code, 0, ran.stderr);
  const found = JSON.parse(ran.stdout);
  assert.deepEqual([found.variant, found.pgqa.variant, found.pgqa.mode], ['dgqa-ema', 'pgqa', found.mode]);
  assert.ok(found.ratio > 0);
  const kinds = new Map(found.profile.map((kind: { op: string; operations: number }) => [kind.op, kind.operations]));
  assert.ok(
    [...kinds.keys()].some((op) => /Adam/.test(String(op))) &&
      [...kinds.keys()].some((op) => /MatMul/.test(String(op))),
  );
});

test('bench compares with the variants that choose their KV heads themselves, from any config; each has its own sizes', (t) => {
  const bench = (...args: string[]) =>
    gqa(['bench', 'step', '--config', CONFIG, '--steps', '1', '--rounds', '1', ...args]);
  const kvHeads: Record<string, number> = { mha: 4, mqa: 1 };
  for (const variant of ['mha', 'mqa']) {
    const ran = bench('--compare', variant, '--json');
    if (/wasm/.test(ran.stderr)) return t.skip('no native runtime here: a step takes long');
    assert.equal(ran.code, 0, ran.stderr);
    const found = JSON.parse(ran.stdout);
    assert.deepEqual(
      [found.variant, found.kv_heads, found[variant].variant, found[variant].kv_heads],
      ['dgqa-ema', 2, variant, kvHeads[variant]],
    );
    assert.equal(found[variant].kv_parameters, (found.kv_parameters * found[variant].kv_heads) / 2);
  }
  const refused = bench('--compare', 'gqa', '--set', 'model.variant=mha', '--set', 'model.kv_heads=null');
  assert.equal(refused.code, 2, refused.stderr);
  assert.match(
    refused.stderr,
    /--compare gqa: .*model\.kv_heads is missing: variant gqa needs it.*\n.*begin with a config of gqa and compare with mha/,
  );
});
