/** `gqa sweep --slurm`: the points as one job array; each task is a run that goes on from its own checkpoint. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { counted } from '../counted.js';
import { GqaError } from '../errors.js';
import { command } from '../invocation.js';
import { noteSlurmJob, writeSlurmScript } from '../run/sweep-folder.js';
import { outcomeIn } from '../sweep/child.js';
import { slurmScript } from '../sweep/slurm.js';
import { say, sayNext } from './say.js';
import type { SweepOptions } from './sweep.js';
import type { SweepPlan } from './sweep-plan.js';

/** @throws GqaError `environment` without sbatch, or where it refuses */
export function submitted(
  { folder, runsDir, points }: SweepPlan,
  options: SweepOptions,
  program: readonly string[],
): void {
  const open = points.filter(({ runName }) => outcomeIn(path.join(folder, runName)) === null);
  if (open.length === 0) {
    say(`all ${counted(points.length, 'run')} are done`);
    sayNext(`leaderboard ${folder}`);
    return;
  }
  const [absolute, runs] = [path.resolve(folder), open.map(({ runName }) => runName)];
  const array = { name: path.basename(folder), runs, folder: absolute, runsDir: path.resolve(runsDir), program };
  const script = slurmScript(array, options);
  const file = writeSlurmScript(folder, script);
  if (options.dryRun) {
    process.stdout.write(script);
    say(`not submitted: ${file}`);
    return;
  }
  const { status, stdout, stderr, error } = spawnSync('sbatch', ['--parsable', file], { encoding: 'utf8' });
  if (status !== 0)
    throw new GqaError('environment', `sbatch did not take ${file}: ${(error?.message ?? stderr).trim()}`, {
      hint: 'On a machine without Slurm leave --slurm out; --dry-run prints the script alone.',
    });
  const job = stdout.trim().split(';')[0] as string;
  noteSlurmJob(folder, { job, runs });
  if (options.json) process.stdout.write(`${JSON.stringify({ sweep: folder, job, runs })}\n`);
  say(`job ${job}: ${counted(runs.length, 'task')}, logs in ${path.join(folder, 'slurm')}`);
  say(`what is found so far: ${command(`sweep collect ${folder}`)} · to stop: ${command(`sweep cancel ${folder}`)}`);
  sayNext(`sweep status ${folder}`);
}
