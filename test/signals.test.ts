/**
 * A signal in every phase of every command that computes: exit code, status, checkpoints and words, each met at an
 * exact point (at-point.ts).
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { openSafetensors } from '../src/checkpoint/safetensors.js';
import { gqa, gqaAt, temporaryFolder } from './cli-run.js';

const skip = process.platform === 'win32' && 'Windows has no such signals';
const runsDir = temporaryFolder();
const train = (runName: string, ...sets: string[]): string[] => [
  ...['train', '--config', 'configs/smoke.yaml', '--runs-dir', runsDir, '--run-name', runName],
  ...['train.steps=6', 'train.epochs=2', ...sets].flatMap((set) => ['--set', set]),
];
const inRun = (runName: string, ...file: string[]): string => path.join(runsDir, 'smoke', runName, ...file);
const model = (runName: string, which: 'last' | 'best'): string =>
  inRun(runName, 'checkpoints', which, 'model.safetensors');
const status = (runName: string): unknown => {
  const { state, epoch, step } = JSON.parse(fs.readFileSync(inRun(runName, 'status.json'), 'utf8'));
  return [state, epoch, step];
};
const stepsIn = (file: string): number => JSON.parse(openSafetensors(file).metadata.gqa as string).steps;

before(() => {
  const ran = gqa(train('mha', 'model.variant=mha', 'model.kv_heads=null', 'train.steps=1'));
  assert.equal(ran.code, 0, ran.stderr);
});

for (const { phase, at, signal, code, sets, state, reported } of [
  {
    phase: 'evaluation as converted',
    at: 'worker',
    signal: 'SIGINT',
    code: 130,
    sets: ['model.variant=gqa', `model.pretrained=${model('mha', 'best')}`],
    state: ['interrupted', 0, 0],
    reported: /\ngqa: stopped by SIGINT \(as converted\)\nNo model was saved\.\n$/,
  },
  {
    phase: 'calibration',
    at: 'worker',
    signal: 'SIGTERM',
    code: 143,
    sets: ['model.variant=kdgqa', `model.pretrained=${model('mha', 'best')}`],
    state: ['interrupted', 0, 0],
    reported: /\ngqa: stopped by SIGTERM \(before the first step\)\nNo model was saved\.\n$/,
  },
  {
    phase: 'training, on wasm',
    at: 'write "step":5',
    signal: 'SIGHUP',
    code: 129,
    sets: ['device=wasm'],
    state: ['interrupted', 2, 5],
    reported:
      /\ngqa: stopped by SIGHUP after step 5 of 6 \(epoch 2\)\nThe model after step 5 is in .*last.model\.safetensors; the best one, after step 3, in .*\nTo go on: .*train --resume .*\n$/,
  },
  {
    phase: 'validation',
    at: 'rename checkpoints/last',
    signal: 'SIGINT',
    code: 130,
    sets: [],
    state: ['interrupted', 1, 3],
    reported:
      /\ngqa: stopped by SIGINT after step 3 of 6 \(epoch 1\/2 validation\)\nThe model after step 3 is in .*last.model\.safetensors\.\nTo go on: .*train --resume .*\n$/,
  },
  {
    phase: 'test',
    at: 'rename checkpoints/best',
    signal: 'SIGTERM',
    code: 143,
    sets: ['train.epochs=1'],
    state: ['interrupted', 1, 3],
    reported: /\ngqa: stopped by SIGTERM after step 3 of 3 \(test, best epoch \(1\)\)\n/,
  },
] as const) {
  test(`train, ${phase}: ${signal} is exit ${code}, with a true status and the model saved where there is one`, {
    skip,
  }, () => {
    const ran = gqaAt(at, signal, train(phase.slice(0, 4), ...sets));
    assert.equal(ran.code, code, ran.stderr);
    assert.equal(ran.stdout, '');
    assert.match(ran.stderr, reported);
    assert.deepEqual(status(phase.slice(0, 4)), state);
    const last = model(phase.slice(0, 4), 'last');
    if (state[2] === 0) assert.ok(!fs.existsSync(last));
    else assert.equal(stepsIn(last), state[2]);
  });
}

test('a model whose loss is not finite is not saved, and that is said', { skip }, () => {
  const sets = ['model.variant=gqa', 'train.lr=1e30', 'train.log_every=1000', 'data.limit=400', 'train.steps=null'];
  const ran = gqaAt('look 20', 'SIGTERM', train('nan', ...sets));
  assert.equal(ran.code, 143, ran.stderr);
  assert.match(
    ran.stderr,
    /stopped by SIGTERM after step \d+ of \d+ \(epoch 1\)\nThe model after step \d+ was not saved: the loss was not finite at step 2\nNo model was saved/,
  );
  assert.ok(!fs.existsSync(model('nan', 'last')));
});

for (const { command, at, args, code, signal } of [
  { command: 'eval', at: 'worker', signal: 'SIGTERM', code: 143, args: ['eval', inRun('mha')] },
  {
    command: 'eval on wasm',
    at: 'worker',
    signal: 'SIGHUP',
    code: 129,
    args: ['eval', inRun('mha'), '--device', 'wasm'],
  },
  {
    command: 'bench step',
    at: 'look 3',
    signal: 'SIGTERM',
    code: 143,
    args: ['bench', 'step', '--config', 'configs/smoke.yaml'],
  },
  {
    command: 'bench data',
    at: 'worker',
    signal: 'SIGINT',
    code: 130,
    args: ['bench', 'data', '--config', 'configs/smoke.yaml'],
  },
  { command: 'reference', at: 'look 2', signal: 'SIGINT', code: 130, args: ['reference', 'test/reference'] },
  {
    command: 'data verify',
    at: 'turn 20',
    signal: 'SIGTERM',
    code: 143,
    args: ['data', 'verify', 'fashion-mnist', '--root', 'datasets/fashion-mnist-subset'],
  },
] as const) {
  test(`${command}: ${signal} ends it with exit ${code} and no figures`, { skip }, () => {
    const ran = gqaAt(at, signal, [...args]);
    assert.equal(ran.code, code, ran.stderr);
    assert.match(ran.stderr, new RegExp(`gqa: stopped by ${signal}`));
    assert.doesNotMatch(ran.stdout, /[0-9] images|failed\n|classes/);
    assert.ok(!fs.existsSync(inRun('mha', 'eval')));
  });
}

test('sweep: a closed terminal reaches the run, which saves, and the leaderboard is written', { skip }, () => {
  const args = ['sweep', '--config', 'configs/smoke.yaml', '--runs-dir', runsDir, '--name', 's', '--seeds', '1,2'];
  const ran = gqaAt('write "step":1', 'parent SIGHUP', args);
  assert.equal(ran.code, 129, ran.stderr);
  assert.match(ran.stderr, /gqa: stopped by SIGHUP with 0 of 2 runs done; see .*leaderboard\.csv/);
  const run = path.join(runsDir, 's', 'dgqa-ema-kv2-s1');
  assert.equal(JSON.parse(fs.readFileSync(path.join(run, 'status.json'), 'utf8')).state, 'interrupted');
  assert.ok(stepsIn(path.join(run, 'checkpoints/last/model.safetensors')) >= 1);
  assert.match(
    fs.readFileSync(path.join(runsDir, 's/leaderboard.csv'), 'utf8'),
    /,interrupted,129,exit 129,[\s\S]*,not run,/,
  );
});

const script = spawnSync('script', ['--version'], { encoding: 'utf8' });
test('a terminal that is closed: the run saves and ends with 129, though there is nobody to tell', {
  skip: skip || (/util-linux/.test(script.stdout ?? '') ? false : 'needs util-linux’s script'),
}, async () => {
  const code = path.join(temporaryFolder(), 'code');
  const long = train('closed', 'device=wasm', 'train.epochs=100000', 'train.steps=null').map((arg) => `'${arg}'`);
  // As an interactive shell does: it is reported by the terminal, and tells what it has started.
  const command = `'${process.execPath}' bin/gqa.js ${long.join(' ')} & trap "kill -HUP $!" HUP; wait $!; wait $!; echo $? > '${code}'`;
  const terminal = spawn('script', ['-qfc', command, '/dev/null'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, SHELL: '/bin/sh' },
  });
  let shown = '';
  terminal.stdout.setEncoding('utf8').on('data', (part: string) => {
    shown += part;
    if (shown.includes('epoch 2/')) terminal.kill('SIGKILL');
  });
  await once(terminal, 'exit');
  while (!fs.existsSync(code) || fs.readFileSync(code, 'utf8') === '') await setTimeout(50);
  assert.equal(fs.readFileSync(code, 'utf8'), '129\n');
  const [state, , step] = status('closed') as [string, number, number];
  assert.deepEqual([state, stepsIn(model('closed', 'last'))], ['interrupted', step]);
});

for (const [signal, expected] of [
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`npm scripts pass ${signal} on to what they started, and end as it ends`, { skip }, async () => {
    const folder = temporaryFolder();
    const child = path.join(folder, 'child.mjs');
    fs.writeFileSync(
      child,
      `process.on('${signal}', () => process.exit(${expected})); console.log('ready'); setInterval(() => {}, 1000);`,
    );
    const runner = path.resolve('scripts/run-cli.mjs');
    const parent = path.join(folder, 'parent.mjs');
    fs.writeFileSync(
      parent,
      `import { runNode } from ${JSON.stringify(runner)}; process.exitCode = await runNode([${JSON.stringify(child)}]);`,
    );
    const started = spawn(process.execPath, [parent], { stdio: ['ignore', 'pipe', 'inherit'] });
    started.stdout.once('data', () => started.kill(signal));
    assert.deepEqual(await once(started, 'exit'), [expected, null]);
  });
}
