/** `gqa sweep status`, `collect` and `cancel`: what a sweep's folder tells, whoever works on it, here or on a cluster. */
import { spawnSync } from 'node:child_process';
import { hostname } from 'node:os';
import path from 'node:path';
import { counted } from '../counted.js';
import { GqaError } from '../errors.js';
import { holderOf } from '../files/lock.js';
import { command } from '../invocation.js';
import { columnsOf } from '../run/fit.js';
import { overviewOf } from '../run/overview.js';
import { rightIn } from '../run/predictions.js';
import { slurmJobsIn, writeLeaderboard, writeSummary } from '../run/sweep-folder.js';
import { type Column, formatTable, percent } from '../run/table.js';
import { leaderboardCsv } from '../sweep/leaderboard.js';
import { queuedTasks } from '../sweep/slurm.js';
import { summaryCsv, summaryOf, summaryTable } from '../sweep/summary.js';
import { say, sayNext } from './say.js';
import { plannedIn, rowsIn } from './sweep-plan.js';

const COLUMNS: Column[] = [
  { title: 'run' },
  { title: 'state' },
  { title: 'Slurm', optional: true },
  { title: 'epoch', align: 'right' },
  { title: 'step', align: 'right', optional: true },
  { title: 'best top-1', align: 'right' },
  { title: 'test top-1', align: 'right' },
  { title: 'last heard of', optional: true },
];

/** @throws GqaError `usage` where the folder is no sweep's */
export async function sweepStatus({ sweep, json }: { sweep: string; json: boolean }): Promise<void> {
  const folder = path.resolve(sweep);
  const queued = queueOf(folder);
  const runs = plannedIn(folder).map(({ runName }) => {
    const found = overviewOf(path.join(folder, runName));
    // what has no status has not begun
    const state: string = found.state === 'unknown' ? 'not begun' : found.state;
    return { name: runName, ...found, state, slurm: queued.get(runName) ?? null };
  });
  const holder = holderOf(path.join(folder, 'lock'));
  if (json) {
    process.stdout.write(`${JSON.stringify({ sweep: folder, process: holder?.pid ?? null, runs })}\n`);
    return;
  }
  const cell = (value: string | number | null): string => (value === null ? '–' : String(value));
  process.stdout.write(
    formatTable(
      COLUMNS.filter(({ title }) => title !== 'Slurm' || queued.size > 0),
      runs.map(({ name, state, slurm, epoch, epochs, step, best_top1, test_top1, updated }) => [
        ...[name, state, ...(queued.size > 0 ? [cell(slurm)] : [])],
        ...[`${epoch}/${cell(epochs)}`, String(step), percent(best_top1), percent(test_top1), cell(updated)],
      ]),
      columnsOf(process.stdout),
    ),
  );
  say(inWords(runs.map(({ state }) => state)));
  if (holder !== null) say(`process ${holder.pid}${holder.host === null ? '' : ` on ${holder.host}`} works on it`);
  const busy = holder !== null || queued.size > 0;
  sayNext(busy || runs.every(({ state }) => state === 'done') ? `report ${sweep}` : `sweep --resume ${sweep}`);
}

/** `3 done, 1 running` */
const inWords = (states: readonly string[]): string =>
  [...new Set(states)].map((state) => `${states.filter((each) => each === state).length} ${state}`).join(', ');

/** Writes leaderboard.csv and summary.csv as the runs are now: on a cluster nobody else does. @throws as above */
export async function sweepCollect({ sweep }: { sweep: string }): Promise<void> {
  const rows = rowsIn(sweep);
  const methods = summaryOf(rows, rightIn);
  writeLeaderboard(sweep, leaderboardCsv(rows));
  writeSummary(sweep, summaryCsv(methods));
  process.stdout.write(summaryTable(methods, columnsOf(process.stdout)));
  say(
    `${rows.filter(({ outcome }) => outcome !== null).length} of ${counted(rows.length, 'run')} are done; leaderboard.csv and summary.csv are in ${sweep}`,
  );
  sayNext(`report ${sweep}`);
}

/**
 * Asks whoever works on a sweep to stop: a process of this machine, and Slurm's tasks. The runs save after the step they
 * are in.
 * @throws GqaError `usage` where another machine works on it, `environment` where Slurm refuses
 */
export async function sweepCancel({ sweep }: { sweep: string }): Promise<void> {
  const folder = path.resolve(sweep);
  plannedIn(folder);
  const holder = holderOf(path.join(folder, 'lock'));
  if (holder !== null && holder.host !== null && holder.host !== hostname())
    throw new GqaError(
      'usage',
      `process ${holder.pid} on ${holder.host} works on ${sweep}, and this is ${hostname()}`,
      {
        hint: `There: ${command(`sweep cancel ${sweep}`)}`,
      },
    );
  const jobs = slurmJobsIn(folder).filter(({ job }) => queuedTasks(job).size > 0);
  for (const { job } of jobs) {
    const { status, stderr } = spawnSync('scancel', [job], { encoding: 'utf8' });
    if (status !== 0) throw new GqaError('environment', `scancel did not take job ${job}: ${stderr.trim()}`);
    say(`job ${job} is cancelled`);
  }
  if (holder !== null) {
    process.kill(holder.pid, 'SIGTERM');
    say(`process ${holder.pid} is asked to stop`);
  }
  if (holder === null && jobs.length === 0) say(`nobody works on ${sweep}`);
  else say('its runs save after the step they are in');
  sayNext(`sweep --resume ${sweep}`);
}

/** What Slurm says of runs that wait or go on, by run name; empty without Slurm. */
function queueOf(folder: string): Map<string, string> {
  const states = slurmJobsIn(folder).flatMap(({ job, runs }) =>
    [...queuedTasks(job)].map(([task, state]) => [runs[task] ?? '', state] as const),
  );
  return new Map(states);
}
