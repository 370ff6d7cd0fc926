/** `gqa sweep --slurm` on a real Slurm of one node, which scripts/slurm-node.sh starts; skipped aloud where there is none. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { slurmScript } from '../../src/sweep/slurm.js';
import { gqa } from '../cli-run.js';

const array = {
  name: 's',
  runs: ['a', "b'c"],
  folder: '/runs/my sweep',
  runsDir: '/runs',
  program: ['node', '/x/cli.js'],
};

test('the script asks for what was asked for, quotes what bash would read otherwise, and is bash', () => {
  const script = slurmScript(array, { partition: 'gpu', gres: 'gpu:1', time: '4:00:00', arrayLimit: 3 });
  for (const line of [
    '--array=0-1%3',
    '--partition=gpu',
    '--gres=gpu:1',
    '--time=4:00:00',
    '--signal=B:USR1@120',
    '--requeue',
  ])
    assert.ok(script.includes(`#SBATCH ${line}\n`), line);
  assert.match(script, /^runs=\(a 'b'\\''c'\)$/m);
  assert.match(script, /--config '\/runs\/my sweep\/configs'\/"\$run"\.yaml/);
  assert.doesNotMatch(slurmScript(array, {}), /partition|gres|time=|%\d/);
  const checked = spawnSync('bash', ['-n'], { input: script, encoding: 'utf8' });
  assert.equal(checked.status, 0, checked.stderr);
});

const has = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
const missing = ['slurmctld', 'slurmd', 'munged', 'sbatch'].filter((program) => !has(program));
const skip =
  missing.length > 0
    ? `no Slurm here: ${missing.join(', ')} (Debian: slurm-wlm, munge)`
    : process.getuid?.() === 0
      ? false
      : 'a Slurm of one node is started as root';
const folder = mkdtempSync(path.join(tmpdir(), 'gqa-slurm-'));
const node = (what: string) =>
  spawnSync('scripts/slurm-node.sh', [what, path.join(folder, 'slurm'), '16917'], { encoding: 'utf8' });
const env = { SLURM_CONF: path.join(folder, 'slurm', 'slurm.conf') };

before(() => {
  if (skip) return;
  const { status, stderr } = node('start');
  assert.equal(status, 0, stderr);
});
after(() => {
  if (!skip) node('stop');
});

async function ended(job: string): Promise<void> {
  for (let i = 0; i < 400; i++) {
    const { stdout } = spawnSync('squeue', ['-h', '-j', job], { encoding: 'utf8', env: { ...process.env, ...env } });
    if (stdout.trim() === '') return;
    await setTimeout(300);
  }
  throw new Error(`job ${job} does not end`);
}

test('a job array gives what a sweep here gives, a run that fails fails alone, and --resume submits what is not done', {
  skip,
}, async () => {
  const asked = [
    ...['sweep', '--config', 'configs/smoke.yaml', '--variants', 'gqa,dgqa-ema', '--kv-heads', '2'],
    ...['--axis', 'train.lr=1e-3,1e30', '--runs-dir', folder, '--json'],
  ];
  const here = gqa([...asked, '--name', 'here', '--jobs', '2']);
  assert.equal(here.code, 7, here.stderr);
  const there = gqa([...asked, '--name', 'there', '--slurm'], process.cwd(), env);
  assert.equal(there.code, 0, there.stderr);
  const { job, runs } = JSON.parse(there.stdout) as { job: string; runs: string[] };
  assert.equal(runs.length, 4);
  await ended(job);
  const board = (name: string): string => gqa(['leaderboard', path.join(folder, name), '--format', 'json']).stdout;
  assert.equal(board('there'), board('here'));
  assert.equal(JSON.parse(board('there')).length, 2, 'two of four are done');
  const log = readFileSync(path.join(folder, 'there/slurm', `${job}_1.log`), 'utf8');
  assert.match(log, /the loss is not finite/);
  const again = gqa(['sweep', '--resume', path.join(folder, 'there'), '--slurm', '--dry-run'], process.cwd(), env);
  assert.match(again.stdout, /^runs=\(gqa-kv2-s42-lr1e30 dgqa-ema-kv2-s42-lr1e30\)$/m);
});
