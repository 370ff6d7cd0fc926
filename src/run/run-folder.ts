/**
 * The folder of a run, runs/<name>/<run>/, and the only code that writes what a training leaves in it (evaluation.ts
 * adds eval/<split>/metrics.json; a sweep's own folder is sweep-folder.ts's). docs/runs.md says what each file holds:
 * config.yaml, meta.json, conversion.json, status.json, results.csv, metrics.jsonl, log.txt, skipped.jsonl,
 * damaged.jsonl, report.json, lock, checkpoints/.
 *
 * Every failed write is an error with exit code 5; that of log.txt at the end of the epoch, so that it never hides the
 * error that was to be written.
 */
import { closeSync, existsSync, mkdirSync, openSync, rmdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { dumpConfig } from '../config/load.js';
import type { Config } from '../config/schema.js';
import { GqaError } from '../errors.js';
import { checkFolder, fileError, makeFolder, writeFileAtomic } from '../files/atomic.js';
import { claim, type Holder, type Lock } from '../files/lock.js';
import { append, logLines } from './lines.js';
import { describeModel, describeRun, type RunAbout } from './meta.js';
import { openRun, type RunFolder } from './open-run.js';
import { resultColumns } from './results.js';
import { toCsv } from './table.js';
import { timeStamp } from './time-stamp.js';

export interface RunPlace {
  /** Default `runs`. */
  runsDir?: string;
  name: string;
  /** A UTC time stamp when left out. */
  runName?: string | undefined;
}

const runNamePattern = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$/;

/**
 * Says before anything is read or computed whether the run's folder can be made; changes nothing.
 * @throws GqaError `usage` when `runName` is taken or no folder name, `io` when the place cannot be written
 */
export function checkRun({ runsDir = 'runs', name, runName }: RunPlace): void {
  if (runName !== undefined) {
    if (!runNamePattern.test(runName)) {
      throw new GqaError(
        'usage',
        `--run-name is ${JSON.stringify(runName)}, expected 1 to 100 letters, digits, ".", "_" or "-", not starting with "."`,
      );
    }
    const folder = path.join(runsDir, name, runName);
    if (existsSync(folder)) throw runExists(folder);
  }
  checkFolder(path.resolve(runsDir, name), `cannot write runs in ${path.join(runsDir, name)}`);
}

const runExists = (folder: string): GqaError =>
  new GqaError('usage', `run ${folder} exists already`, {
    hint: 'Choose another --run-name, or leave it out: the run is then named by its time.',
  });

/** What was said before there was a folder. */
export interface LoggedLine {
  at: Date;
  text: string;
}

/**
 * Makes the folder with config.yaml, meta.json, log.txt, status.json and the header of results.csv, or leaves nothing
 * behind.
 * @param device what computes: the backend, as `startBackend` gives it
 * @param data, about, warnings for meta.json: the fingerprint of the data set, what the run is made of, what may make
 *   its figures wrong
 * @param said what was said before, for log.txt
 * @param conversion for conversion.json, which there is only where something was converted
 * @throws GqaError `usage` when `runName` is taken, `io` when something cannot be written
 */
export function createRun(
  place: RunPlace & {
    config: Config;
    device: { name: string; device: string; version: string };
    data?: Record<string, unknown>;
    about?: RunAbout;
    warnings?: readonly string[];
    said?: readonly LoggedLine[];
    conversion?: Record<string, unknown> | null;
  },
): RunFolder {
  checkRun(place);
  const { runsDir = 'runs', name, config } = place;
  const parent = path.join(runsDir, name);
  const firstMade = makeFolder(parent);
  let folder: string | undefined;
  let results = -1;
  let metrics = -1;
  let log = -1;
  let run: RunFolder | undefined;
  let lock: Lock | undefined;
  try {
    folder = claimFolder(parent, place.runName);
    lock = lockRun(folder);
    for (const which of ['last', 'best']) mkdirSync(path.join(folder, 'checkpoints', which), { recursive: true });
    writeFileAtomic(path.join(folder, 'config.yaml'), dumpConfig(config));
    const meta = {
      ...describeRun(place.device),
      ...describeModel(place.about),
      data: place.data ?? null,
      warnings: place.warnings ?? [],
    };
    writeFileAtomic(path.join(folder, 'meta.json'), `${JSON.stringify(meta, null, 2)}\n`);
    if (place.conversion != null)
      writeFileAtomic(path.join(folder, 'conversion.json'), `${JSON.stringify(place.conversion)}\n`);
    log = openSync(path.join(folder, 'log.txt'), 'ax');
    for (const { at, text } of place.said ?? []) append(log, logLines(at, text), path.join(folder, 'log.txt'));
    results = openSync(path.join(folder, 'results.csv'), 'ax');
    metrics = openSync(path.join(folder, 'metrics.jsonl'), 'ax');
    append(results, toCsv([[...resultColumns]]), path.join(folder, 'results.csv'));
    run = openRun(folder, config, { results, metrics, log }, lock);
    run.setStatus('running', { epoch: 0, step: 0 });
    return run;
  } catch (error) {
    try {
      if (run) run.close();
      else for (const handle of [results, metrics, log]) if (handle >= 0) closeSync(handle);
      lock?.release();
      if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
      if (firstMade !== undefined) removeEmpty(parent, firstMade);
    } catch {
      // What led here is reported: it is why the rest cannot be taken away either.
    }
    throw error instanceof GqaError ? error : fileError(`cannot make a run folder in ${parent}`, error);
  }
}

/**
 * Takes `folder` and those around it away again, up to `topmost`, unless somebody else has put something there
 * meanwhile.
 */
function removeEmpty(folder: string, topmost: string): void {
  try {
    rmdirSync(folder);
    if (path.resolve(folder) !== path.resolve(topmost)) removeEmpty(path.dirname(folder), topmost);
  } catch {
    // Not empty: not ours alone.
  }
}

/** The folder of this run and no other: mkdir fails when two runs want the same name. */
function claimFolder(parent: string, runName: string | undefined): string {
  const stamp = runName ?? timeStamp();
  for (let copy = 1; ; copy++) {
    const folder = path.join(parent, copy === 1 ? stamp : `${stamp}-${copy}`);
    try {
      mkdirSync(folder);
      return folder;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      if (runName !== undefined) throw runExists(folder);
    }
  }
}

/**
 * Takes the lock of a run.
 * @throws GqaError `io` when another process works on it
 */
export function lockRun(folder: string): Lock {
  return claim(path.join(folder, 'lock'), (holder) => inUse(folder, holder));
}

const inUse = (folder: string, { pid, host }: Holder): GqaError =>
  new GqaError(
    'io',
    `run ${folder} is being worked on by process ${Number.isNaN(pid) ? '(unknown)' : pid}${host === null ? '' : ` on ${host}`}`,
    { hint: 'Wait for it, or stop it; what it has trained is kept.' },
  );
