/** Runs that are stopped, killed, damaged or worked on twice: nothing is lost, and what goes on is as if nothing had been. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { before, test } from 'node:test';
import { gqa, gqaAt, temporaryFolder, until } from '../cli-run.js';
import { assertSame, changesOf, finished, killedAt } from '../kills.js';

const skip = process.platform === 'win32' && 'Windows has no such signals';
const folder = temporaryFolder();
const argsOf = (name: string, ...sets: string[]): string[] => [
  ...['train', '--config', 'configs/smoke.yaml', '--runs-dir', folder, '--run-name', name],
  ...[
    'train.epochs=2',
    'train.steps=null',
    'data.limit=60',
    'train.log_every=3',
    'train.checkpoint_every={steps: 2}',
    ...sets,
  ].flatMap((set) => ['--set', set]),
];
const inRun = (name: string, ...file: string[]): string => path.join(folder, 'smoke', name, ...file);
const states = (name: string): string[] =>
  fs
    .readdirSync(inRun(name, 'checkpoints/state'))
    .filter((entry) => /^\d/.test(entry))
    .sort();

/** bench/kills.mjs does the same for every variant, and at every change. */
test('killed with everything that a step can hold: on to the same bytes as a run that nobody stopped', { skip }, () => {
  const sets = [
    ...['model.variant=kdgqa', 'train.clip_grad=1', 'train.grad_accum_steps=2', 'train.precision=bfloat16'],
    ...['train.ema_decay=0.99', 'data.mixup=0.4', 'data.cutmix=1', 'train.schedule=cosine'],
  ];
  finished(argsOf('all-whole', ...sets));
  assert.ok(killedAt(argsOf('all', ...sets), 'main 60'));
  finished(argsOf('all', ...sets));
  assertSame(inRun('all'), inRun('all-whole'), 'everything');
});

let reference = '';
before(() => {
  finished(argsOf('whole'));
  reference = inRun('whole');
});

test('killed at changes on the disk, in either thread: no run is lost', { skip }, () => {
  const { main } = changesOf(argsOf('counted'), folder);
  // the last ones: the figures are there, and not everything that tells of them
  for (const change of ['main 3', 'thread 400', ...[3, 2, 1, 0].map((before) => `main ${main - before}`)]) {
    const run = change.replace(' ', '-');
    assert.ok(killedAt(argsOf(run), change), change);
    finished(argsOf(run));
    assertSame(inRun(run), reference, change);
  }
});

test('a signal keeps the run, says how to go on, and what goes on ends with the same bytes', { skip }, () => {
  const ran = gqaAt('write "step":9', 'SIGTERM', argsOf('signal'));
  assert.equal(ran.code, 143, ran.stderr);
  assert.match(ran.stderr, /To go on: .*gqa.* train --resume .*smoke.signal\n$/);
  const again = gqa(['train', '--resume', inRun('signal')]);
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stderr, /goes on after step \d+ \(epoch \d\)/);
  assertSame(inRun('signal'), reference, 'after a signal');
  const done = gqa(['train', '--resume', inRun('signal'), '--json']);
  assert.deepEqual([done.code, JSON.parse(done.stdout).run], [0, inRun('signal')]);
  assert.match(done.stderr, /is done; for more epochs/);
});

test('more epochs go on from the end, as if they had been asked for at once', { skip }, () => {
  finished(argsOf('one', 'train.epochs=1'));
  const ran = gqa(['train', '--resume', inRun('one'), '--set', 'train.epochs=2']);
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(ran.stderr, /changed: train\.epochs: 1 → 2/);
  assertSame(inRun('one'), reference, 'with more epochs');
});

test('another config, no run, fewer epochs than are done: exit 2, and nothing is changed', { skip }, () => {
  gqaAt('write "step":9', 'SIGTERM', argsOf('other'));
  const before = fs.readFileSync(inRun('other', 'config.yaml'), 'utf8');
  for (const [args, message] of [
    [
      ['--resume', inRun('other'), '--set', 'train.lr=0.5'],
      /cannot go on with another config[\s\S]*train\.lr: 0\.001 there, 0\.5 asked for/,
    ],
    [['--resume', inRun('other'), '--set', 'train.steps=1'], /has done \d+ steps already; the config wants 1/],
    [['--resume', folder], /not a run folder/],
    [['--resume', 'auto'], /--resume auto needs --config and --run-name/],
    [[], /required option '--config <file>' not specified/],
  ] as const) {
    const ran = gqa(['train', ...args]);
    assert.equal(ran.code, 2, ran.stderr);
    assert.match(ran.stderr, message);
  }
  assert.equal(fs.readFileSync(inRun('other', 'config.yaml'), 'utf8'), before);
});

test('a damaged checkpoint: the one before is taken, aloud, and the end is the same; all damaged: exit 5', {
  skip,
}, () => {
  assert.ok(killedAt(argsOf('damaged'), 'main 150'));
  // not the last one there: a kill between its renaming and the rewriting of `newest` leaves one that nobody asks for
  const newest = fs.readFileSync(inRun('damaged', 'checkpoints/state/newest'), 'utf8').trim();
  fs.truncateSync(inRun('damaged', 'checkpoints/state', newest, 'state.safetensors'), 1000);
  fs.cpSync(inRun('damaged'), inRun('bad'), { recursive: true });
  assert.match(finished(argsOf('damaged')), new RegExp(`warning: a checkpoint is passed over: .*${newest}`));
  assertSame(inRun('damaged'), reference, 'from the one before');
  for (const state of states('bad')) fs.writeFileSync(inRun('bad', 'checkpoints/state', state, 'manifest.json'), '{}');
  const ran = gqa(['train', '--resume', inRun('bad')]);
  assert.equal(ran.code, 5, ran.stderr);
  assert.match(ran.stderr, /no checkpoint of .* is whole/);
});

test('a run that is being worked on is refused; a lock of a process that is gone is not', { skip }, async () => {
  const long = [...argsOf('busy', 'train.epochs=100000'), '--device', 'wasm'];
  const first = spawn(process.execPath, ['bin/gqa.js', ...long], { stdio: 'ignore' });
  await until(() => fs.existsSync(inRun('busy', 'checkpoints/state/newest')));
  const second = gqa(['train', '--resume', inRun('busy')]);
  assert.equal(second.code, 5, second.stderr);
  assert.match(second.stderr, new RegExp(`is being worked on by process ${first.pid} on ${os.hostname()}`));
  first.kill('SIGKILL');
  await once(first, 'exit');
  const third = gqaAt('worker', 'SIGTERM', ['train', '--resume', inRun('busy')]);
  assert.equal(third.code, 143, third.stderr);
  assert.match(third.stderr, new RegExp(`process ${first.pid} on .*, which worked on .*, is gone`));
});

test('a lock of another host holds while it beats, and is taken over when it has stopped', { skip }, () => {
  gqaAt('write "step":9', 'SIGTERM', argsOf('host'));
  const lock = inRun('host', 'lock');
  fs.writeFileSync(lock, '1 0 another-host 5');
  assert.equal(gqa(['train', '--resume', inRun('host')]).code, 5);
  fs.utimesSync(lock, new Date(), new Date(Date.now() - 600_000));
  const ran = gqa(['train', '--resume', inRun('host')]);
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(ran.stderr, /process 1 on another-host, which worked on .*, is gone/);
});

test('a full disk in the middle is exit 5, and the run goes on from the checkpoint before', { skip }, () => {
  const ran = gqaAt('rename checkpoints/last', 'full', argsOf('full'));
  assert.equal(ran.code, 5, ran.stderr);
  assert.match(ran.stderr, /the disk is full \(ENOSPC\)[\s\S]*To go on: /);
  assert.equal(JSON.parse(fs.readFileSync(inRun('full', 'status.json'), 'utf8')).state, 'failed');
  finished(argsOf('full'));
  assertSame(inRun('full'), reference, 'after a full disk');
});

test('a loss that is not finite: exit 6 with step, images and tensor; rollback goes back three times, each told', {
  skip,
}, () => {
  const sets = ['train.lr=1e30', 'train.log_every=1'];
  const stopped = gqa(argsOf('nan', ...sets));
  assert.equal(stopped.code, 6, stopped.stderr);
  assert.match(
    stopped.stderr,
    /the loss is not finite at step \d+, learning rate 1e\+30\nits images: train\[\d+\].*\nthe first parameter that is not finite: \S+/,
  );
  const rolled = gqa(argsOf('rolled', ...sets, 'train.on_nan=rollback', 'train.checkpoint_every={steps: 1}'));
  assert.equal(rolled.code, 6, rolled.stderr);
  assert.match(rolled.stderr, /back to the weights after step \d+|There is no checkpoint yet to go back to/);
});
