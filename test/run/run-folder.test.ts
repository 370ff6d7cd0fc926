import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs, { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { loadConfig, parseConfig } from '../../src/config/load.js';
import { GqaError } from '../../src/errors.js';
import { resultColumns } from '../../src/run/results.js';
import { checkRun, createRun } from '../../src/run/run-folder.js';

const { config } = parseConfig('name: tiny\ndata: { name: cifar10 }\nmodel: { size: micro }\n', 'tiny.yaml', []);
const device = { name: 'wasm', device: 'cpu', version: '1.2.3' };
const temporary = () => mkdtempSync(path.join(tmpdir(), 'gqa-run-'));
const place = (runsDir: string, runName?: string) => ({ runsDir, name: 'tiny', runName });
const json = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
const failure = (code: string, message: RegExp) => (error: unknown) =>
  error instanceof GqaError && error.code === code && message.test(error.message);

test('a new run has its config, meta data, status, results and places for checkpoints', () => {
  const runsDir = temporary();
  const run = createRun({ ...place(runsDir), config, device });
  run.close();
  assert.match(run.run, /^\d{8}T\d{6}Z$/);
  assert.equal(run.path, path.join(runsDir, 'tiny', run.run));
  assert.deepEqual(readdirSync(run.path).sort(), [
    'checkpoints',
    'config.yaml',
    'log.txt',
    'meta.json',
    'metrics.jsonl',
    'results.csv',
    'status.json',
  ]);
  assert.deepEqual(readdirSync(path.join(run.path, 'checkpoints')).sort(), ['best', 'last']);
  assert.deepEqual(loadConfig(path.join(run.path, 'config.yaml'), []), config);
  const meta = json(path.join(run.path, 'meta.json'));
  assert.deepEqual(meta.versions, { gqa: '0.1.0', node: process.version, tfjs: '4.22.0', wasm: '1.2.3' });
  assert.equal(json(path.join(run.path, 'status.json')).state, 'running');
});

test('meta.json keeps the settings of TensorFlow and no other part of the environment', () => {
  process.env.TF_VAR_password = 'secret';
  process.env.TF_NUM_INTRAOP_THREADS = '3';
  const run = createRun({ ...place(temporary()), config, device });
  run.close();
  const env = json(path.join(run.path, 'meta.json')).env as Record<string, string>;
  assert.equal(env.TF_NUM_INTRAOP_THREADS, '3');
  assert.equal(env.TF_VAR_password, undefined);
});

test('two runs in the same second get two folders', () => {
  const runsDir = temporary();
  const runs = [1, 2, 3].map(() => createRun({ ...place(runsDir), config, device }));
  for (const run of runs) run.close();
  assert.equal(new Set(runs.map((run) => run.path)).size, 3);
});

test('--run-name of a run that exists is exit 2 and changes nothing in it', () => {
  const runsDir = temporary();
  const run = createRun({ ...place(runsDir, 'mine'), config, device });
  run.close();
  writeFileSync(path.join(run.path, 'config.yaml'), 'mine');
  for (const again of [
    () => checkRun(place(runsDir, 'mine')),
    () => createRun({ ...place(runsDir, 'mine'), config, device }),
  ]) {
    assert.throws(again, failure('usage', /run .*mine exists already/));
  }
  assert.deepEqual(readdirSync(path.join(runsDir, 'tiny')), ['mine']);
  assert.equal(readFileSync(path.join(run.path, 'config.yaml'), 'utf8'), 'mine');
});

test('a run name that leaves its folder is exit 2 and makes none', () => {
  const runsDir = temporary();
  for (const name of ['../x', 'a/b', '.hidden', '', 'a\0b', 'x'.repeat(101)])
    assert.throws(() => checkRun(place(runsDir, name)), failure('usage', /--run-name is /));
  assert.deepEqual(readdirSync(runsDir), []);
});

test('a runs folder that cannot be written is exit 5 before anything is made', () => {
  const runsDir = temporary();
  writeFileSync(path.join(runsDir, 'file'), 'kept');
  for (const attempt of [
    () => checkRun(place(path.join(runsDir, 'file'))),
    () => createRun({ ...place(path.join(runsDir, 'file', 'deep')), config, device }),
  ]) {
    assert.throws(attempt, failure('io', /cannot write runs in .*file/));
  }
  assert.deepEqual(readdirSync(runsDir), ['file']);
});

test('checkRun makes no folder', () => {
  const runsDir = path.join(temporary(), 'a', 'b');
  checkRun(place(runsDir, 'x'));
  assert.equal(existsSync(path.dirname(runsDir)), false);
});

test('results.csv has a row an epoch and the test figures of the best one at the end', () => {
  const run = createRun({ ...place(temporary()), config, device });
  const selection = { loss: 0.5, top1: 0.75, top5: null };
  run.epochDone({ epoch: 0, step: 0, lr: null, train: null, selection, imagesPerSecond: null });
  run.epochDone({
    epoch: 1,
    step: 7,
    lr: 1e-5,
    train: { loss: Number.NaN, top1: 1 / 3 },
    selection,
    imagesPerSecond: 12.5,
    tensors: 99,
  });
  run.testDone({ epoch: 1, step: 7, test: { loss: 0.25, top1: 0.5, top5: 1 } });
  run.close();
  const [header, ...rows] = readFileSync(path.join(run.path, 'results.csv'), 'utf8').trimEnd().split('\n');
  assert.equal(header, resultColumns.join(','));
  const [converted, first, best] = rows.map((row) =>
    Object.fromEntries(row.split(',').map((cell, i) => [resultColumns[i], cell])),
  );
  assert.equal(rows.length, 3);
  assert.deepEqual(
    [converted?.row, converted?.epoch, converted?.train_loss, converted?.val_top1, converted?.test_top1],
    ['epoch', '0', '', '0.75', ''],
  );
  assert.deepEqual(
    [first?.train_loss, first?.train_top1, first?.val_loss, first?.val_top5, first?.images_per_s, first?.tensors],
    ['NaN', '0.3333333', '0.5', '', '12.5', '99'],
  );
  assert.deepEqual(
    [best?.row, best?.epoch, best?.step, best?.val_loss, best?.test_loss, best?.test_top1, best?.test_top5],
    ['best', '1', '7', '', '0.25', '0.5', '1'],
  );
});

test('under protocol paper the test split is never called val', () => {
  const paper = { ...config, train: { ...config.train, protocol: 'paper' as const } };
  const run = createRun({ ...place(temporary()), config: paper, device });
  run.epochDone({
    epoch: 1,
    step: 7,
    lr: 1e-5,
    train: null,
    selection: { loss: 0.5, top1: 0.75, top5: 1 },
    imagesPerSecond: null,
  });
  run.close();
  const row = readFileSync(path.join(run.path, 'results.csv'), 'utf8').split('\n')[1]?.split(',') ?? [];
  assert.deepEqual([row[resultColumns.indexOf('val_top1')], row[resultColumns.indexOf('test_top1')]], ['', '0.75']);
});

test('metrics.jsonl shows a loss that is not finite', () => {
  const run = createRun({ ...place(temporary()), config, device });
  run.logStep({ step: 1, train_loss: 0.5 });
  run.logStep({ step: 2, train_loss: Number.NaN });
  run.close();
  assert.equal(
    readFileSync(path.join(run.path, 'metrics.jsonl'), 'utf8'),
    '{"step":1,"train_loss":0.5}\n{"step":2,"train_loss":"NaN"}\n',
  );
});

test('a checkpoint is written under its name, and the old one is kept until the new one is whole', () => {
  const run = createRun({ ...place(temporary()), config, device });
  const file = run.writeCheckpoint('best', 'model.safetensors', new Uint8Array([1]));
  run.writeCheckpoint('best', 'model.safetensors', new Uint8Array([2, 3]));
  run.close();
  assert.equal(file, path.join(run.path, 'checkpoints', 'best', 'model.safetensors'));
  assert.deepEqual([...readFileSync(file)], [2, 3]);
  assert.deepEqual(readdirSync(path.dirname(file)), ['model.safetensors']);
});

for (const [code, state] of [
  [129, 'interrupted'],
  [130, 'interrupted'],
  [143, 'interrupted'],
  [1, 'failed'],
] as const) {
  test(`a run whose process ends with exit code ${code} is noted as ${state}`, () => {
    const runsDir = temporary();
    const module = new URL('../../src/run/run-folder.js', import.meta.url).href;
    const script = `import { createRun } from ${JSON.stringify(module)};
      const run = createRun(${JSON.stringify({ ...place(runsDir, 'r'), config, device })});
      run.setStatus('running', { epoch: 1, step: 5 });
      process.exit(${code});`;
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    assert.equal(status, code, stderr);
    assert.match(
      readFileSync(path.join(runsDir, 'tiny', 'r', 'log.txt'), 'utf8'),
      new RegExp(`Z the process ended with exit code ${code}\\n$`),
    );
    const { state: found, epoch, step } = json(path.join(runsDir, 'tiny', 'r', 'status.json'));
    assert.deepEqual({ found, epoch, step }, { found: state, epoch: 1, step: 5 });
  });
}

const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ /;

test('log.txt has what was said before the run and during it, each line with its time; meta.json what the run is made of', () => {
  const about = {
    parameters: 1000,
    kvParameters: 300,
    trainedKvParameters: 300,
    grouping: [[0, 0]],
    valueGrouping: null,
    headOrder: [[0, 1]],
    notices: ['computing on wasm', 'from scratch'],
  };
  const said = [{ at: new Date('2026-11-26T01:02:03.456Z'), text: 'computing on wasm' }];
  const run = createRun({ ...place(temporary()), config, device, about, said });
  run.log('epoch 1/5 · …');
  run.log('\nthe loss is not finite\nLower train.lr.\n');
  run.close();
  run.log('too late');
  const lines = readFileSync(path.join(run.path, 'log.txt'), 'utf8').split('\n');
  assert.equal(lines[0], '2026-11-26T01:02:03Z computing on wasm');
  assert.ok(lines.slice(0, -1).every((line) => time.test(line)));
  assert.deepEqual(
    lines.slice(1).map((line) => line.replace(time, '')),
    ['epoch 1/5 · …', 'the loss is not finite', 'Lower train.lr.', ''],
  );
  const { parameters, kv_parameters, notices } = json(path.join(run.path, 'meta.json'));
  assert.deepEqual(
    { parameters, kv_parameters, notices },
    { parameters: 1000, kv_parameters: 300, notices: about.notices },
  );
});

test('a log that cannot be written is reported at the end of the epoch, and hides no error that comes before', () => {
  const run = createRun({ ...place(temporary()), config, device });
  const { writeSync } = fs;
  const full = (file: string | number, ...rest: unknown[]): number => {
    if (typeof rest[0] === 'object' && String(rest[0]).includes('said on a full disk'))
      throw Object.assign(new Error('full'), { code: 'ENOSPC' });
    return (writeSync as (...all: unknown[]) => number)(file, ...rest);
  };
  fs.writeSync = full as typeof writeSync;
  syncBuiltinESMExports();
  try {
    run.log('said on a full disk');
    run.log('said on a full disk, again');
    run.setStatus('running', { epoch: 0, step: 0 });
    const result = {
      epoch: 1,
      step: 7,
      lr: 1e-5,
      train: null,
      selection: { loss: 0.5, top1: 0.75, top5: 1 },
      imagesPerSecond: null,
    };
    assert.throws(() => run.epochDone(result), failure('io', /cannot write .*log\.txt: the disk is full/));
  } finally {
    fs.writeSync = writeSync;
    syncBuiltinESMExports();
    run.close();
  }
  assert.match(readFileSync(path.join(run.path, 'results.csv'), 'utf8'), /\nepoch,1,7,/);
});

test('a run that was closed keeps the state it had', () => {
  const run = createRun({ ...place(temporary()), config, device });
  run.setStatus('done', { epoch: 5, step: 50 });
  run.close();
  run.close();
  assert.equal(json(path.join(run.path, 'status.json')).state, 'done');
});
