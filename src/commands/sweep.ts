/**
 * `gqa sweep`: a grid of runs, one after another or several at once, each a process running `gqa train`; a failed one
 * does not stop the others.
 */
import { statSync } from 'node:fs';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { snakeKeys } from '../config/resolve.js';
import { counted } from '../counted.js';
import { ExitCode, GqaError } from '../errors.js';
import { command } from '../invocation.js';
import { columnsOf } from '../run/fit.js';
import { interruption, type Stop } from '../run/interrupt.js';
import { clock } from '../run/progress.js';
import { leaderboardIn, writeLeaderboard, writeSummary } from '../run/sweep-folder.js';
import { type Child, outcomeIn, startChild } from '../sweep/child.js';
import { describePoint } from '../sweep/grid.js';
import { describeState, leaderboardCsv, leaderboardTable, type Row, reportOf, stateOf } from '../sweep/leaderboard.js';
import type { SlurmOptions } from '../sweep/slurm.js';
import { summaryCsv, summaryOf, summaryTable } from '../sweep/summary.js';
import { say, sayNext, warningLine } from './say.js';
import { sweepPlan } from './sweep-plan.js';
import { submitted } from './sweep-slurm.js';

export interface SweepOptions extends SlurmOptions {
  /** Left out with `resume`. */
  config?: string;
  /** Folder of a sweep that was stopped: its points are run by its plan, those that are done not again. */
  resume?: string;
  set: string[];
  variants?: string[];
  kvHeads?: number[];
  seeds?: number[];
  /** Any other keys. */
  axis?: string[];
  /** Folder under `runsDir`. */
  name?: string;
  runsDir: string;
  device?: string;
  /** Runs at once; 1 when left out, with `gpus` one for each. */
  jobs?: number;
  /** Numbers of GPUs, each for one run at a time. */
  gpus?: number[];
  /** How often a point that failed is begun again, from its own checkpoint; 0 when left out. */
  retries?: number;
  /** No point begins after one has failed. */
  failFast?: boolean;
  /** Minutes after which no point begins. */
  timeBudget?: number;
  /** Takes a plan that differs from that of the sweep of this name. */
  yes?: boolean;
  /** Submits a job array instead of running anything here. */
  slurm?: boolean;
  dryRun?: boolean;
  json: boolean;
}

const cli = fileURLToPath(new URL('../cli.js', import.meta.url));

/**
 * @param program what runs a point, given the arguments of `gqa`; tests put another in its place
 * @throws GqaError `usage` before anything is started, `sweepFailures` at the end when a run failed, the interruption
 *   when asked to stop
 */
export async function sweep(
  options: SweepOptions,
  stop: Stop,
  program: readonly string[] = [process.execPath, ...process.execArgv, cli],
): Promise<void> {
  const plan = await sweepPlan(options, stop);
  const { folder, runsDir, points, configs, begunWith, notices, goesOn, lock } = plan;
  const changed = watchFiles(begunWith);

  notices.forEach(say);
  say(
    `sweep ${folder}: ${counted(points.length, 'run')}\n${points.map((point) => `  ${describePoint(point)}`).join('\n')}`,
  );
  if (options.slurm) {
    lock.release(); // runs have locks of their own
    submitted(plan, options, program);
    return;
  }
  const rows: Row[] = points.map((point) => {
    const run = path.join(folder, point.runName);
    return { point, outcome: goesOn ? outcomeIn(run) : null, run };
  });
  const before = rows.filter(({ outcome }) => outcome !== null).length;
  if (before > 0) say(`${before} of ${counted(rows.length, 'run')} are done already`);
  const leaderboard = leaderboardIn(folder);
  let unwritten: unknown = null;
  const keepLeaderboard = (): void => {
    try {
      writeLeaderboard(folder, leaderboardCsv(rows));
      writeSummary(folder, summaryCsv(summaryOf(rows)));
      unwritten = null;
    } catch (error) {
      unwritten = error; // the runs go on: their own figures are not lost with the table
    }
  };
  const slots = options.gpus ?? Array<null>(options.jobs ?? 1).fill(null);
  // However the sweep itself ends (kill -9 aside), no run goes on unseen.
  const running = new Set<Child>();
  const toAll = (signal: NodeJS.Signals): void => {
    for (const child of running) child.kill(signal);
  };
  const endRuns = (): void => toAll('SIGTERM');
  process.on('exit', endRuns);
  const took: number[] = []; // seconds of the points that are done
  const queue = rows.entries();
  const begun = performance.now();
  const ends = (): boolean =>
    stop.signal.aborted ||
    (options.failFast === true && rows.some(({ outcome }) => outcome !== null && outcome.state !== 'done')) ||
    performance.now() - begun > (options.timeBudget ?? Number.POSITIVE_INFINITY) * 60_000;
  const work = async (gpu: number | null): Promise<void> => {
    for (const [i, row] of queue) {
      await setImmediate(); // lets signals in
      if (ends()) break;
      if (row.outcome !== null) continue;
      const started = performance.now();
      const named = `[${i + 1}/${rows.length}] ${describePoint(row.point)}`;
      const left = rows.slice(i).filter(({ outcome }) => outcome === null).length;
      say(`${named}${timeLeft(took, left / slots.length)}`);
      const other = changed();
      if (other.length > 0) {
        row.outcome = { state: 'failed', how: `${other.join(', ')} changed after the sweep had begun`, exitCode: null };
      } else {
        const where = ['--run-name', row.point.runName, '--runs-dir', runsDir];
        const attempts = 1 + (options.retries ?? 0);
        for (let attempt = 1; attempt <= attempts; attempt++) {
          const again = goesOn || attempt > 1 ? ['--resume', 'auto'] : [];
          const child = startChild(program, ['train', '--config', configs[i] as string, ...where, ...again, '--json'], {
            env: gpu === null ? {} : { CUDA_VISIBLE_DEVICES: String(gpu) },
            onLine: slots.length === 1 ? null : (line) => say(`${row.point.runName}: ${line}`),
          });
          running.add(child);
          stop.passTo(toAll);
          row.outcome = await child.outcome;
          running.delete(child);
          if (running.size === 0) stop.passTo(null);
          if (!isToTryAgain(row.outcome) || stop.signal.aborted || attempt === attempts) break;
          say(`${named}: ${describeState(row.outcome)}; begun again, ${attempt} of ${options.retries}`);
        }
      }
      if (row.outcome?.state === 'done') took.push((performance.now() - started) / 1000);
      else say(`${named}: ${describeState(row.outcome)}`);
      keepLeaderboard(); // after every point: a sweep that is killed keeps what it found
    }
  };
  try {
    await Promise.all(slots.map(work));
  } finally {
    stop.passTo(null);
    process.off('exit', endRuns);
    lock.release();
  }
  if (stop.signal.aborted) keepLeaderboard();

  process.stdout.write(
    options.json
      ? `${JSON.stringify({ sweep: folder, leaderboard, points: rows.map(asJson), methods: summaryOf(rows).map(snakeKeys) })}\n`
      : `${leaderboardTable(rows, columnsOf(process.stdout))}${overSeeds(rows)}${warningsOf(rows)}`,
  );
  if (!options.json) sayNext(`report ${folder}`);
  const done = rows.filter(({ outcome }) => outcome?.state === 'done').length;
  if (stop.signal.aborted)
    throw interruption(
      stop.signal,
      ` with ${done} of ${counted(rows.length, 'run')} done; ${unwritten instanceof Error ? unwritten.message : `see ${leaderboard}`}\nTo go on: ${command(`sweep --resume ${folder}`)}`,
    );
  if (unwritten !== null) throw unwritten;
  if (done < rows.length)
    throw new GqaError('sweepFailures', `${inWords(rows)} of ${counted(rows.length, 'run')}; see ${leaderboard}`, {
      hint: `To go on with these: ${command(`sweep --resume ${folder}`)}`,
    });
}

/** What a configuration is refused for is refused again. */
const isToTryAgain = (outcome: Row['outcome']): boolean =>
  outcome !== null &&
  (outcome.state === 'failed' || outcome.state === 'crashed') &&
  outcome.exitCode !== ExitCode.usage;

/** `2 failed, 1 was not run` */
function inWords(rows: readonly Row[]): string {
  const failed = rows.filter(({ outcome }) => outcome !== null && outcome.state !== 'done');
  const notRun = rows.filter(({ outcome }) => outcome === null);
  return [
    ...(failed.length > 0 ? [`${failed.length} failed`] : []),
    ...(notRun.length > 0 ? [`${notRun.length} not run`] : []),
  ].join(', ');
}

/**
 * ` · about 12:30 left`, at the pace of the points that are done; empty before the first is.
 * @param seconds of each of those.
 * @param points that are left
 */
export function timeLeft(seconds: readonly number[], points: number): string {
  if (seconds.length === 0) return '';
  return ` · about ${clock((seconds.reduce((sum, one) => sum + one, 0) / seconds.length) * points)} left`;
}

/** Means over seeds, where there are several. */
function overSeeds(rows: readonly Row[]): string {
  const methods = summaryOf(rows);
  if (!methods.some(({ test }) => test.n > 1)) return '';
  const table = summaryTable(methods, columnsOf(process.stdout));
  return `\nover seeds; differences are of pairs of one seed, their intervals by Student’s t\n${table}`;
}

/** Each point's warnings, those of several points once. */
function warningsOf(rows: readonly Row[]): string {
  const warnings = new Set(rows.flatMap(({ outcome }) => (outcome?.state === 'done' ? outcome.report.warnings : [])));
  return [...warnings].map((line) => `${warningLine(line)}\n`).join('');
}

/** Checkpoints that every point begins with: gives the keys of those that are no longer what they were. */
function watchFiles(files: Record<string, string | null>): () => string[] {
  const stampOf = (file: string | null): string => {
    const found = file === null ? undefined : statSync(file, { throwIfNoEntry: false });
    return found === undefined ? '' : `${found.ino} ${found.size} ${found.mtimeMs}`;
  };
  const before = Object.entries(files).map(([key, file]) => ({ key, file, stamp: stampOf(file) }));
  return () => before.filter(({ file, stamp }) => stampOf(file) !== stamp).map(({ key }) => key);
}

function asJson(row: Row): Record<string, unknown> {
  const { point, outcome, run } = row;
  const report = reportOf(row);
  return {
    variant: point.variant,
    kv_heads: point.kvHeads,
    seed: point.seed,
    ...(Object.keys(point.axes).length > 0 ? { axes: point.axes } : {}),
    run,
    state: stateOf(outcome),
    exit_code: outcome?.exitCode ?? null,
    reason: outcome === null || outcome.state === 'done' ? null : outcome.how,
    ...(report === null ? {} : { report }),
  };
}
