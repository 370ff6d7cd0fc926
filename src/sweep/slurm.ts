/** The points of a sweep as one job array of Slurm: its script, what `sbatch` is asked for, and what of it waits or runs. */
import { spawnSync } from 'node:child_process';
import { quoted } from '../invocation.js';

export interface SlurmOptions {
  partition?: string;
  /** As `sbatch --gres`: `gpu:1`. */
  gres?: string;
  /** As `sbatch --time`: `4:00:00`. */
  time?: string;
  /** Tasks at once. */
  arrayLimit?: number;
}

export interface SlurmArray {
  name: string;
  /** Run names, a task each. */
  runs: readonly string[];
  /** The sweep's folder, and where runs are made. */
  folder: string;
  runsDir: string;
  /** What runs `gqa`: `node cli.js`. */
  program: readonly string[];
}

/** Seconds before the time limit at which a run is warned: it saves after the step it is in. */
const WARNED_BEFORE = 120;

/**
 * A task trains its run, from its checkpoint where there is one. Warned of the time limit (SIGUSR1, which nothing else
 * sends), the run saves and the task asks to be queued again; cancelled (SIGTERM), it saves and ends.
 */
export function slurmScript({ name, runs, folder, runsDir, program }: SlurmArray, options: SlurmOptions): string {
  const { partition, gres, time, arrayLimit } = options;
  const asked = [
    `job-name=gqa-${name}`,
    `array=0-${runs.length - 1}${arrayLimit === undefined ? '' : `%${arrayLimit}`}`,
    `output=${folder}/slurm/%A_%a.log`,
    ...['open-mode=append', 'requeue', `signal=B:USR1@${WARNED_BEFORE}`],
    ...(partition === undefined ? [] : [`partition=${partition}`]),
    ...(gres === undefined ? [] : [`gres=${gres}`]),
    ...(time === undefined ? [] : [`time=${time}`]),
  ];
  return `#!/bin/bash
${asked.map((each) => `#SBATCH --${each}`).join('\n')}
# Made by gqa sweep --slurm. To submit it again: gqa sweep --resume with --slurm takes what is not done.
runs=(${runs.map(quoted).join(' ')})
run=\${runs[$SLURM_ARRAY_TASK_ID]}
${program.map(quoted).join(' ')} train --config ${quoted(`${folder}/configs`)}/"$run".yaml --run-name "$run" \\
  --runs-dir ${quoted(runsDir)} --resume auto &
child=$!
again=no
trap 'again=yes; kill -TERM $child 2> /dev/null' USR1
trap 'kill -TERM $child 2> /dev/null' TERM INT
while true; do
  wait $child # comes back early when a signal is taken
  code=$?
  kill -0 $child 2> /dev/null || break
done
if [ $again = yes ] && [ $code -eq 143 ]; then
  echo "the time limit is near: $run is saved and queued again"
  scontrol requeue "$SLURM_JOB_ID"
  exit 0
fi
exit $code
`;
}

/**
 * Tasks of an array that wait or run, and Slurm's word for each: `PENDING`, `RUNNING`. Empty when all have ended, and
 * where there is no Slurm. What has ended is told by the runs themselves, so that no accounting is needed.
 */
export function queuedTasks(job: string): Map<number, string> {
  const { status, stdout } = spawnSync('squeue', ['--noheader', '--array', '--jobs', job, '--format', '%K %T'], {
    encoding: 'utf8',
  });
  if (status !== 0) return new Map(); // no Slurm, or a job that it has forgotten
  const lines = stdout
    .trim()
    .split('\n')
    .filter((line) => /^\d+ /.test(line));
  return new Map(lines.map((line) => [Number.parseInt(line, 10), line.split(' ')[1] as string]));
}
