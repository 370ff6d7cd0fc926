/** `gqa sweep --slurm` on a real Slurm of one node, which scripts/slurm-node.sh starts; skipped aloud where there is none. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { slurmScript } from '../../src/sweep/slurm.js';
import { gqa, until } from '../cli-run.js';

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

const slurm = (...args: string[]) =>
  spawnSync(args[0] as string, args.slice(1), { encoding: 'utf8', env: { ...process.env, ...env } });
const ended = (job: string): Promise<void> => until(() => slurm('squeue', '-h', '-j', job).stdout.trim() === '');

test('a job array gives what a sweep here gives, a run that fails fails alone, and --resume submits what is not done', {
  skip,
}, async () => {
  const asked = [
    ...['sweep', '--config', 'configs/smoke.yaml', '--variants', 'gqa,dgqa-ema', '--kv-heads', '2'],
    ...['--seeds', '0,1', '--axis', 'train.lr=1e-3,1e30', '--runs-dir', folder, '--json'],
  ];
  const here = gqa([...asked, '--name', 'here', '--jobs', '2']);
  assert.equal(here.code, 7, here.stderr);
  const there = gqa([...asked, '--name', 'there', '--slurm'], process.cwd(), env);
  assert.equal(there.code, 0, there.stderr);
  const { job, runs } = JSON.parse(there.stdout) as { job: string; runs: string[] };
  assert.equal(runs.length, 8);
  const status = JSON.parse(gqa(['sweep', 'status', path.join(folder, 'there'), '--json'], process.cwd(), env).stdout);
  assert.ok(
    status.runs.some(({ slurm }: { slurm: string }) => /^(PENDING|RUNNING)$/.test(slurm)),
    'Slurm is asked',
  );
  await ended(job);
  const board = (name: string): string => gqa(['leaderboard', path.join(folder, name), '--format', 'json']).stdout;
  // all but how fast they were
  const figures = (name: string): string => board(name).replace(/"images_per_second":[^,}]*/g, '');
  assert.equal(figures('there'), figures('here'));
  assert.deepEqual(
    JSON.parse(board('there')).map(({ test }: { test: { n: number } }) => test.n),
    [2, 2],
    'four of eight are done',
  );
  const log = readFileSync(path.join(folder, 'there/slurm', `${job}_1.log`), 'utf8');
  assert.match(log, /the loss is not finite/);
  const again = gqa(['sweep', '--resume', path.join(folder, 'there'), '--slurm', '--dry-run'], process.cwd(), env);
  assert.match(again.stdout, /^runs=\((\S+-s[01]-lr1e30 ?){4}\)$/m);
});

/** A job of one run, once the run has kept a state. */
async function submitted(name: string): Promise<{ job: string; run: string }> {
  const asked = [...one, '--name', name, '--slurm', '--json'];
  const { code, stdout, stderr } = gqa(asked, process.cwd(), env);
  assert.equal(code, 0, stderr);
  const run = path.join(folder, name, 'gqa-kv2-s0');
  await until(() => existsSync(path.join(run, 'checkpoints/state/newest')));
  return { job: JSON.parse(stdout).job, run };
}
const one = [
  ...['sweep', '--config', 'configs/smoke.yaml', '--variants', 'gqa', '--kv-heads', '2', '--seeds', '0'],
  ...['--set', 'train.epochs=20', '--set', 'train.steps=null', '--set', 'data.limit=200', '--runs-dir', folder],
];
const weights = (run: string): Buffer => readFileSync(path.join(run, 'checkpoints/best/model.safetensors'));

test('warned of its time limit, on a node that is drained meanwhile, a run saves, is queued again and ends as if nothing had been', {
  skip,
}, async () => {
  const here = gqa([...one, '--name', 'whole']);
  assert.equal(here.code, 0, here.stderr);
  const { job, run } = await submitted('warned');
  const node = slurm('sinfo', '-h', '-o', '%n').stdout.trim();
  assert.equal(slurm('scontrol', 'update', `NodeName=${node}`, 'State=DRAIN', 'Reason=test').status, 0);
  const warned = slurm('scancel', '--batch', '--signal=USR1', `${job}_0`);
  assert.equal(warned.status, 0, warned.stderr);
  await until(() => /PENDING/.test(slurm('squeue', '-h', '-o', '%T', '-j', job).stdout));
  assert.equal(JSON.parse(readFileSync(path.join(run, 'status.json'), 'utf8')).state, 'interrupted');
  assert.equal(slurm('scontrol', 'update', `NodeName=${node}`, 'State=RESUME').status, 0);
  await ended(job);
  const log = readFileSync(path.join(folder, 'warned/slurm', `${job}_0.log`), 'utf8');
  assert.match(log, /the time limit is near: gqa-kv2-s0 is saved and queued again/);
  assert.match(log, /goes on after step \d+/);
  assert.ok(weights(run).equals(weights(path.join(folder, 'whole/gqa-kv2-s0'))), 'the same bytes');
});

test('sweep cancel ends a job array, and its runs are kept', { skip }, async () => {
  const { job, run } = await submitted('cancelled');
  const { code, stderr } = gqa(['sweep', 'cancel', path.join(folder, 'cancelled')], process.cwd(), env);
  assert.equal(code, 0, stderr);
  assert.match(stderr, new RegExp(`job ${job} is cancelled`));
  await ended(job);
  assert.equal(JSON.parse(readFileSync(path.join(run, 'status.json'), 'utf8')).state, 'interrupted');
});
