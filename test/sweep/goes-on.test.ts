/** Sweeps that are killed, begun again under another plan, looked at and cancelled: real ones of tiny runs. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { holderOf } from '../../src/files/lock.js';
import { gqa, temporaryFolder, until } from '../cli-run.js';

const skip = process.platform === 'win32' && 'Windows has no such signals';
const folder = temporaryFolder();
const at = (...names: string[]): string => path.join(folder, ...names);
const asked = (name: string, ...more: string[]): string[] => [
  ...['sweep', '--config', 'configs/smoke.yaml', '--variants', 'gqa', '--kv-heads', '2'],
  ...['--runs-dir', folder, '--name', name, ...more],
];
const long = ['--set', 'train.epochs=100000', '--set', 'train.steps=null', '--set', 'data.limit=60'];

/** What a failed test leaves behind. */
const started: ChildProcess[] = [];
after(() => started.forEach((sweep) => void sweep.kill('SIGTERM')));

/** A sweep of one long run, once the run has begun to train. */
async function begun(name: string) {
  const sweep = spawn(process.execPath, ['bin/gqa.js', ...asked(name, ...long)], { stdio: 'ignore' });
  started.push(sweep);
  await until(() => existsSync(at(name, 'gqa-kv2-s42', 'checkpoints/state/newest')));
  return { sweep, run: at(name, 'gqa-kv2-s42') };
}
const stateIn = (run: string): string => JSON.parse(readFileSync(path.join(run, 'status.json'), 'utf8')).state;

test('a sweep that is killed takes its run along, which is kept and can go on at once', { skip }, async () => {
  const { sweep, run } = await begun('killed');
  sweep.kill('SIGKILL');
  await once(sweep, 'exit');
  await until(() => stateIn(run) === 'interrupted');
  await until(() => holderOf(path.join(run, 'lock')) === null);
  const { code, stdout } = gqa(['sweep', 'status', at('killed'), '--json']);
  assert.equal(code, 0);
  const { process: worker, runs } = JSON.parse(stdout);
  assert.deepEqual([worker, runs.map(({ state }: { state: string }) => state)], [null, ['interrupted']]);
});

test('sweep status tells how far runs are and who works on them; sweep cancel stops them', { skip }, async () => {
  const { sweep, run } = await begun('cancelled');
  const status = gqa(['sweep', 'status', at('cancelled')]);
  assert.match(status.stdout, /gqa-kv2-s42 +running +\d+\/100000/);
  assert.match(status.stderr, new RegExp(`1 running\nprocess ${sweep.pid} .*works on it`));
  const cancelled = gqa(['sweep', 'cancel', at('cancelled')]);
  assert.equal(cancelled.code, 0, cancelled.stderr);
  await once(sweep, 'exit');
  assert.equal(sweep.exitCode, 143);
  assert.equal(stateIn(run), 'interrupted');
  assert.match(gqa(['sweep', 'cancel', at('cancelled')]).stderr, /nobody works on/);
  const surplus = gqa(['sweep', 'status', at('cancelled'), '--jobs', '2']);
  assert.deepEqual([surplus.code, surplus.stderr], [2, 'gqa: gqa sweep status does not use --jobs\n']);
  for (const what of ['status', 'collect', 'cancel']) {
    const none = gqa(['sweep', what, folder]);
    assert.equal(none.code, 2, what);
    assert.match(none.stderr, /is not the folder of a sweep/);
  }
});

test('a folder that is no sweep is not taken for one of its name', () => {
  mkdirSync(at('mine'));
  const { code, stderr } = gqa(asked('mine'));
  assert.equal(code, 2);
  assert.match(stderr, /mine exists already\nIt holds no plan\.jsonl/);
});

test('the same name: goes on; another plan is shown and asked for; what has begun is not trained by other settings', () => {
  const first = gqa(asked('plan', '--seeds', '0'));
  assert.equal(first.code, 0, first.stderr);
  const again = gqa(asked('plan', '--seeds', '0'));
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stderr, /goes on with [\s\S]*1 of 1 run are done already/);

  const plan = readFileSync(at('plan', 'plan.jsonl'), 'utf8');
  const more = gqa(asked('plan', '--seeds', '1,2'));
  assert.equal(more.code, 2, more.stderr);
  assert.match(more.stderr, /has another plan than this\n\+ gqa-kv2-s1\n\+ gqa-kv2-s2\n- gqa-kv2-s0\n--yes takes/);
  const other = gqa(asked('plan', '--seeds', '0', '--set', 'train.lr=0.5', '--yes'));
  assert.equal(other.code, 2, other.stderr);
  assert.match(
    other.stderr,
    /begun with other settings\n~ gqa-kv2-s0: train\.lr: 0\.001 → 0\.5\nChoose another --name/,
  );
  assert.equal(readFileSync(at('plan', 'plan.jsonl'), 'utf8'), plan, 'nothing is changed by what is refused');

  const taken = gqa(asked('plan', '--seeds', '0,1', '--yes'));
  assert.equal(taken.code, 0, taken.stderr);
  assert.match(taken.stderr, /\+ gqa-kv2-s1[\s\S]*1 of 2 runs are done already/);

  const written = readFileSync(at('plan', 'leaderboard.csv'), 'utf8');
  rmSync(at('plan', 'leaderboard.csv'));
  const collected = gqa(['sweep', 'collect', at('plan')]);
  assert.equal(collected.code, 0, collected.stderr);
  assert.match(collected.stderr, /2 of 2 runs are done/);
  assert.equal(readFileSync(at('plan', 'leaderboard.csv'), 'utf8'), written);
});
