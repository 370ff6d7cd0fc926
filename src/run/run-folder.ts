/**
 * The folder of a run, runs/<name>/<run>/, and the only code that writes what a training leaves in it (evaluation.ts
 * adds eval/<split>/metrics.json; a sweep's own folder is sweep-folder.ts's). docs/runs.md says what each file holds:
 * config.yaml, meta.json, conversion.json, status.json, results.csv, metrics.jsonl, log.txt, skipped.jsonl,
 * damaged.jsonl, checkpoints/.
 *
 * Every failed write is an error with exit code 5; that of log.txt at the end of the epoch, so that it never hides the
 * error that was to be written.
 */
import { closeSync, existsSync, mkdirSync, openSync, rmdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { dumpConfig } from '../config/load.js';
import type { Config } from '../config/schema.js';
import { GqaError } from '../errors.js';
import { type Content, checkFolder, fileError, makeFolder, writeFileAtomic } from '../files/atomic.js';
import { wasInterrupted } from './interrupt.js';
import { append, flush, logLines, writeStatus } from './lines.js';
import { describeModel, describeRun, type RunAbout } from './meta.js';
import { type EpochResult, type Figures, prefixed, type ResultColumn, resultColumns, rounded } from './results.js';
import { toCsv } from './table.js';
import { timeStamp } from './time-stamp.js';

export type RunStatus = 'running' | 'done' | 'failed' | 'interrupted';

export interface RunPlace {
  /** Default `runs`. */
  runsDir?: string;
  name: string;
  /** A UTC time stamp when left out. */
  runName?: string | undefined;
}

export interface RunFolder {
  name: string;
  run: string;
  /** runs/<name>/<run>, as it can be given to `gqa eval`. */
  path: string;
  /** Notes how far the run is; status.json follows every few seconds. */
  reached(at: { epoch: number; step: number }): void;
  /** @param at left out: as far as was noted last */
  setStatus(state: RunStatus, at?: { epoch: number; step: number }): void;
  epochDone(result: EpochResult): void;
  /** The last row of results.csv; its test figures are empty when there is no test split. */
  testDone(best: { epoch: number; step: number | null; test: Figures | null }): void;
  /**
   * One line of metrics.jsonl; keys flat and in snake_case. Numbers that are not finite are written as text, since JSON
   * has none.
   */
  logStep(line: Record<string, number | string | null>): void;
  /** Writes skipped.jsonl or damaged.jsonl anew; nothing when there is none. */
  noteImages(which: 'skipped' | 'damaged', images: readonly { split: string; index: number; reason: string }[]): void;
  /** Adds to log.txt; throws nothing: a write that failed is reported by the next `epochDone` or `testDone`. */
  log(text: string): void;
  /** Writes checkpoints/<which>/<file> in one piece; returns its path. */
  writeCheckpoint(which: 'last' | 'best', file: string, content: Content): string;
  /** Closes the files. Left undone, the end of the process notes the run as interrupted or failed. */
  close(): void;
}

/** How often a run that goes on writes status.json, in milliseconds. */
const STATUS_EVERY_MS = 10_000;

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
  try {
    folder = claimFolder(parent, place.runName);
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
    run = openRun(folder, config, { results, metrics, log });
    run.setStatus('running', { epoch: 0, step: 0 });
    return run;
  } catch (error) {
    try {
      if (run) run.close();
      else for (const handle of [results, metrics, log]) if (handle >= 0) closeSync(handle);
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

/** @param results, metrics, log handles of the files that lines are added to */
function openRun(
  folder: string,
  config: Config,
  { results, metrics, log: logHandle }: Record<'results' | 'metrics' | 'log', number>,
): RunFolder {
  const started = performance.now();
  let status: { state: RunStatus; epoch: number; step: number } = { state: 'running', epoch: 0, step: 0 };
  let statusWritten = Number.NEGATIVE_INFINITY;
  let open = true;
  const setStatus: RunFolder['setStatus'] = (state, at = status) => {
    status = { state, epoch: at.epoch, step: at.step };
    statusWritten = performance.now();
    const text = JSON.stringify({ ...status, pid: process.pid, updated: new Date().toISOString() });
    writeStatus(path.join(folder, 'status.json'), `${text}\n`);
  };
  const appendRow = (row: Partial<Record<ResultColumn, number | string | null>>): void => {
    const time = { time_s: (performance.now() - started) / 1000, rss_mb: process.memoryUsage.rss() / 1e6 };
    const cells = resultColumns.map((column) => rounded({ ...time, ...row }[column] ?? null));
    append(results, toCsv([cells]), path.join(folder, 'results.csv'));
    flush(results, path.join(folder, 'results.csv'));
  };
  const close = (): void => {
    if (!open) return;
    open = false;
    process.off('exit', atExit);
    try {
      closeSync(results);
    } finally {
      try {
        closeSync(metrics);
      } finally {
        closeSync(logHandle);
      }
    }
  };
  let logFailure: unknown;
  const log = (text: string): void => {
    if (!open || logFailure !== undefined) return;
    try {
      append(logHandle, logLines(new Date(), text), path.join(folder, 'log.txt'));
    } catch (error) {
      logFailure = error;
    }
  };
  const requireLog = (): void => {
    if (logFailure !== undefined) throw logFailure;
  };
  // A run that was not brought to its end says so, whatever ended it (kill -9 aside: then the process of `pid` is
  // gone).
  const atExit = (code: number): void => {
    try {
      if (status.state === 'running') log(`the process ended with exit code ${code}`);
      if (status.state === 'running') setStatus(wasInterrupted(code) ? 'interrupted' : 'failed');
      close();
    } catch {
      // The process is ending for a reason that was reported; a disk that is full by now must not hide it.
    }
  };
  process.on('exit', atExit);
  return {
    name: config.name,
    run: path.basename(folder),
    path: folder,
    setStatus,
    reached(at) {
      status = { ...status, epoch: at.epoch, step: at.step };
      if (performance.now() - statusWritten > STATUS_EVERY_MS) setStatus('running');
    },
    epochDone({ epoch, step, lr, train, selection, imagesPerSecond, dataWait, tensors, stepsLeftOut }) {
      appendRow({
        row: 'epoch',
        epoch,
        step,
        lr,
        train_loss: train?.loss ?? null,
        train_top1: train?.top1 ?? null,
        ...(selection === null ? {} : prefixed(config.train.protocol === 'paper' ? 'test' : 'val', selection)),
        images_per_s: imagesPerSecond,
        tensors: tensors ?? null,
        data_wait: dataWait ?? null,
        steps_left_out: stepsLeftOut ?? null,
      });
      setStatus('running', { epoch, step });
      requireLog();
    },
    testDone({ epoch, step, test }) {
      appendRow({ row: 'best', epoch, step, ...(test === null ? {} : prefixed('test', test)) });
      requireLog();
    },
    log,
    logStep(line) {
      const cells = Object.entries(line).map(([key, value]) => [
        key,
        typeof value === 'number' && !Number.isFinite(value) ? String(value) : value,
      ]);
      append(metrics, `${JSON.stringify(Object.fromEntries(cells))}\n`, path.join(folder, 'metrics.jsonl'));
    },
    noteImages(which, images) {
      if (images.length === 0) return;
      writeFileAtomic(
        path.join(folder, `${which}.jsonl`),
        images.map((image) => `${JSON.stringify(image)}\n`).join(''),
      );
    },
    writeCheckpoint(which, file, content) {
      const target = path.join(folder, 'checkpoints', which, file);
      writeFileAtomic(target, content);
      return target;
    },
    close,
  };
}
