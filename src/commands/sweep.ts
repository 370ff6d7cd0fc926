/** `gqa sweep`: a grid of runs, one after another, each a process running `gqa train`; a failed one does not stop the others. */
import { mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { dumpConfig } from '../config/load.js';
import { deviceOverride } from '../config/overrides.js';
import { absolutePaths } from '../config/paths.js';
import { GqaError } from '../errors.js';
import { fileError, writeFileAtomic } from '../run/atomic.js';
import { checkRun, timeStamp } from '../run/run-folder.js';
import { startChild } from '../sweep/child.js';
import { describePoint, type Point, planGrid } from '../sweep/grid.js';
import { describeState, leaderboardCsv, leaderboardTable, type Row } from '../sweep/leaderboard.js';
import { requirePaths } from './require-paths.js';
import { say } from './say.js';

export interface SweepOptions {
  config: string;
  set: string[];
  variants?: string[];
  kvHeads?: number[];
  seeds?: number[];
  /** Folder under `runsDir`. */
  name?: string;
  runsDir: string;
  device?: string;
  json: boolean;
}

const cli = fileURLToPath(new URL('../cli.js', import.meta.url));

/**
 * @param program what runs a point, given the arguments of `gqa`; tests put another in its place
 * @throws GqaError `usage` before anything is started, `sweepFailures` at the end when a run failed, `sigint` or `sigterm` when interrupted
 */
export async function sweep(
  options: SweepOptions,
  program: readonly string[] = [process.execPath, ...process.execArgv, cli],
): Promise<void> {
  const sets = [...options.set, ...deviceOverride(options.device)];
  const named = options.name === undefined ? [] : [`name=${JSON.stringify(options.name)}`];
  const { points, notices } = planGrid(options.config, [...sets, ...named], options);
  const [first] = points;
  if (first === undefined) throw new GqaError('usage', 'the sweep has no points');
  await requirePaths(options.config, first.read, ['data.root', 'model.pretrained', 'train.distill_from']);
  const name = options.name ?? `${first.read.config.name.slice(0, 70)}-sweep-${timeStamp()}`;
  const folder = makeSweepFolder(options.runsDir, name);
  const configs = writeConfigs(folder, name, points);
  const changed = watchFiles({
    'model.pretrained': first.read.config.model.pretrained,
    'train.distill_from': first.read.config.train.distillFrom,
  });

  notices.forEach(say);
  say(
    `sweep ${folder}: ${points.length} run${points.length === 1 ? '' : 's'}\n${points.map((point) => `  ${describePoint(point)}`).join('\n')}`,
  );
  const rows: Row[] = points.map((point) => ({ point, outcome: null, run: path.join(folder, point.runName) }));
  const leaderboard = path.join(folder, 'leaderboard.csv');
  const signals = forwardSignals();
  try {
    for (const [i, row] of rows.entries()) {
      if (signals.received() !== null) break;
      say(`[${i + 1}/${rows.length}] ${describePoint(row.point)}`);
      const other = changed();
      if (other.length > 0) {
        row.outcome = { state: 'failed', how: `${other.join(', ')} changed after the sweep had begun` };
        say(`[${i + 1}/${rows.length}] ${describePoint(row.point)}: ${describeState(row.outcome)}`);
        writeFileAtomic(leaderboard, leaderboardCsv(rows));
        continue;
      }
      const where = ['--run-name', row.point.runName, '--runs-dir', options.runsDir];
      const child = startChild(program, ['train', '--config', configs[i] as string, ...where, '--json']);
      signals.target(child.kill);
      row.outcome = await child.outcome;
      signals.target(null);
      if (row.outcome.state !== 'done') say(`[${i + 1}/${rows.length}] ${describePoint(row.point)}: ${describeState(row.outcome)}`);
      writeFileAtomic(leaderboard, leaderboardCsv(rows)); // after every point: a sweep that is killed keeps what it found
    }
  } finally {
    signals.release();
  }

  process.stdout.write(
    options.json ? `${JSON.stringify({ sweep: folder, leaderboard, points: rows.map(asJson) })}\n` : leaderboardTable(rows),
  );
  const done = rows.filter(({ outcome }) => outcome?.state === 'done').length;
  const signal = signals.received();
  if (signal !== null)
    throw new GqaError(
      signal === 'SIGINT' ? 'sigint' : 'sigterm',
      `interrupted with ${done} of ${rows.length} runs done; see ${leaderboard}`,
    );
  if (done < rows.length) throw new GqaError('sweepFailures', `${rows.length - done} of ${rows.length} runs failed; see ${leaderboard}`);
}

/** The folder must be new: a leaderboard tells of one sweep. */
function makeSweepFolder(runsDir: string, name: string): string {
  checkRun({ runsDir, name });
  const folder = path.join(runsDir, name);
  try {
    mkdirSync(runsDir, { recursive: true });
    mkdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new GqaError('usage', `${folder} exists already`, {
        hint: 'Choose another --name, or leave it out: the sweep is then named by its time.',
        cause: error,
      });
    }
    throw fileError(`cannot make ${folder}`, error);
  }
  return folder;
}

/** A config for every point, before the first of them starts: editing the base config meanwhile changes no point. */
function writeConfigs(folder: string, name: string, points: readonly Point[]): string[] {
  const configs = path.join(folder, 'configs');
  try {
    mkdirSync(configs);
  } catch (error) {
    throw fileError(`cannot make ${configs}`, error);
  }
  return points.map(({ runName, read }) => {
    const file = path.join(configs, `${runName}.yaml`);
    writeFileAtomic(file, dumpConfig(absolutePaths({ ...read.config, name })));
    return file;
  });
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

/** SIGINT, SIGTERM and a lost terminal go to the run that is computing; the sweep ends when it has ended. */
function forwardSignals(): {
  received(): NodeJS.Signals | null;
  target(kill: ((signal: NodeJS.Signals) => void) | null): void;
  release(): void;
} {
  let received: NodeJS.Signals | null = null;
  let kill: ((signal: NodeJS.Signals) => void) | null = null;
  const listeners = (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((signal) => {
    const listener = () => {
      received = signal === 'SIGHUP' ? 'SIGTERM' : signal;
      kill?.(received);
    };
    process.on(signal, listener);
    return { signal, listener };
  });
  // However the sweep itself ends, no run goes on unseen.
  const atExit = () => kill?.('SIGTERM');
  process.on('exit', atExit);
  return {
    received: () => received,
    target(next) {
      kill = next;
    },
    release() {
      for (const { signal, listener } of listeners) process.off(signal, listener);
      process.off('exit', atExit);
    },
  };
}

function asJson({ point, outcome, run }: Row): Record<string, unknown> {
  const { variant, kvHeads, seed } = point;
  return { variant, kvHeads, seed, run, state: describeState(outcome), ...(outcome?.state === 'done' ? { report: outcome.report } : {}) };
}
