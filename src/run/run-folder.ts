/**
 * The folder of a run, runs/<name>/<run>/, and the only code that writes what a training leaves in it (evaluation.ts
 * adds eval/<split>/metrics.json; a sweep's own folder is sweep-folder.ts's). docs/runs.md says what each file holds:
 * config.yaml, meta.json, conversion.json, status.json, results.csv, metrics.jsonl, log.txt, skipped.jsonl,
 * damaged.jsonl, report.json, lock, checkpoints/.
 *
 * Every failed write is an error with exit code 5; that of log.txt at the end of the epoch, so that it never hides the
 * error that was to be written.
 */
import {
  closeSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';
import path from 'node:path';
import { dumpConfig } from '../config/load.js';
import type { Config } from '../config/schema.js';
import { GqaError } from '../errors.js';
import { type Content, checkFolder, fileError, makeFolder, writeFileAtomic } from '../files/atomic.js';
import { claim, type Holder, type Lock } from '../files/lock.js';
import { type GoodState, goodState, statesOf } from './checkpoints.js';
import { wasInterrupted } from './interrupt.js';
import { append, flush, logLines, writeStatus } from './lines.js';
import { describeModel, describeRun, type RunAbout } from './meta.js';
import { type EpochResult, type Figures, prefixed, type ResultColumn, resultColumns, rounded } from './results.js';
import { openSaver } from './saver.js';
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
  /**
   * Keeps what the run goes on from: checkpoints/state/. Training may go on before it is on the disk, where `beside`.
   * @param bytes of the state, which `content` writes before this returns
   * @param run   how far it is and what its model is, as JSON
   * @throws GqaError `io`, also for the one before
   */
  keepState(
    step: number,
    bytes: number,
    content: Piecewise,
    run: Record<string, unknown>,
    beside: boolean,
  ): Promise<void>;
  /** The newest checkpoint that is whole, once nothing is being written; null: there is none. */
  keptState(): Promise<GoodState | null>;
  /** Waits for the checkpoint that is being written. @throws GqaError `io` */
  settled(): Promise<void>;
  /** report.json: what `gqa train --json` prints. */
  writeReport(report: unknown): void;
  /** Closes the files. Left undone, the end of the process notes the run as interrupted or failed. */
  close(): void;
}

/** Gives a file piece by piece. */
type Piecewise = (write: (bytes: Uint8Array) => void) => void;

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

/** The files of a run that grow, by what a checkpoint tells how far. */
const GROWING = ['results.csv', 'metrics.jsonl', 'skipped.jsonl', 'damaged.jsonl'] as const;

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

/**
 * Opens a run to go on with it: its files are cut back to what the checkpoint knows of, since what came after is done
 * again.
 * @param lock as `lockRun` gave it
 * @param config as it goes on, which config.yaml becomes
 * @param note  what meta.json tells of it
 * @throws GqaError `io`
 */
export function continueRun(
  folder: string,
  config: Config,
  kept: GoodState | null,
  lock: Lock,
  note: Record<string, unknown>,
): RunFolder {
  try {
    const place = (file: string): string => path.join(folder, file);
    for (const file of GROWING)
      cutBack(place(file), kept === null ? firstLength(file) : (kept.manifest.lengths[file] ?? null));
    if (!existsSync(place('results.csv'))) writeFileAtomic(place('results.csv'), toCsv([[...resultColumns]]));
    rmSync(place('report.json'), { force: true });
    if (kept !== null) putBack(path.join(kept.folder, 'best.safetensors'), place('checkpoints/best/model.safetensors'));
    else for (const which of ['last', 'best']) rmSync(place(`checkpoints/${which}/model.safetensors`), { force: true });
    writeFileAtomic(place('config.yaml'), dumpConfig(config));
    const meta = JSON.parse(readFileSync(place('meta.json'), 'utf8')) as { resumed?: unknown[] };
    const resumed = [...(meta.resumed ?? []), note];
    writeFileAtomic(
      place('meta.json'),
      `${JSON.stringify({ ...meta, resumed }, null, 2)}
`,
    );
    const [log, results, metrics] = ['log.txt', 'results.csv', 'metrics.jsonl'].map((file) =>
      openSync(place(file), 'a'),
    ) as [number, number, number];
    const run = openRun(folder, config, { results, metrics, log }, lock, kept?.manifest.elapsed);
    run.setStatus('running', { epoch: 0, step: kept?.manifest.step ?? 0 });
    return run;
  } catch (error) {
    throw error instanceof GqaError ? error : fileError(`cannot go on with run ${folder}`, error);
  }
}

const firstLength = (file: (typeof GROWING)[number]): number | null =>
  file === 'results.csv' ? Buffer.byteLength(toCsv([[...resultColumns]])) : file === 'metrics.jsonl' ? 0 : null;

/** @param length null: it was not there. A file that is shorter (its end never reached the disk) stays as it is */
function cutBack(file: string, length: number | null): void {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? null;
  if (size === null) return;
  if (length === null) rmSync(file);
  else if (size > length) truncateSync(file, length);
}

/** The best model as the checkpoint has it: one that came after may never come again. */
function putBack(from: string, to: string): void {
  if (!existsSync(from)) {
    rmSync(to, { force: true });
    return;
  }
  const aside = `${to}.tmp`;
  rmSync(aside, { force: true });
  try {
    linkSync(from, aside);
  } catch {
    copyFileSync(from, aside);
  }
  renameSync(aside, to);
  rmSync(aside, { force: true }); // a rename of two names of one file leaves both
}

/**
 * @param results, metrics, log handles of the files that lines are added to
 * @param elapsed seconds of the run before
 */
function openRun(
  folder: string,
  config: Config,
  { results, metrics, log: logHandle }: Record<'results' | 'metrics' | 'log', number>,
  lock: Lock,
  elapsed = 0,
): RunFolder {
  const started = performance.now() - 1000 * elapsed;
  const seconds = (): number => (performance.now() - started) / 1000;
  const saver = openSaver();
  const states = statesOf(folder);
  const earlier = {
    skipped: linesOf(path.join(folder, 'skipped.jsonl')),
    damaged: linesOf(path.join(folder, 'damaged.jsonl')),
  };
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
    const time = { time_s: seconds(), rss_mb: process.memoryUsage.rss() / 1e6 };
    const cells = resultColumns.map((column) => rounded({ ...time, ...row }[column] ?? null));
    append(results, toCsv([cells]), path.join(folder, 'results.csv'));
    flush(results, path.join(folder, 'results.csv'));
  };
  const close = (): void => {
    if (!open) return;
    open = false;
    process.off('exit', atExit);
    saver.close();
    lock.release();
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
      if (performance.now() - statusWritten <= STATUS_EVERY_MS) return;
      if (lock.lost())
        throw new GqaError('io', `run ${folder} was taken over by another process, which took this one for dead`);
      setStatus('running');
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
      const lines = new Set([...earlier[which], ...images.map((image) => `${JSON.stringify(image)}\n`)]);
      if (lines.size > 0) writeFileAtomic(path.join(folder, `${which}.jsonl`), [...lines].join(''));
    },
    writeCheckpoint(which, file, content) {
      const target = path.join(folder, 'checkpoints', which, file);
      writeFileAtomic(target, content);
      return target;
    },
    async keepState(step, bytes, content, run, beside) {
      flush(metrics, path.join(folder, 'metrics.jsonl'));
      const best = path.join(folder, 'checkpoints', 'best', 'model.safetensors');
      const kept = {
        ...{ folder: states, keep: config.train.keep, bytes, best: existsSync(best) ? best : null },
        manifest: { step, elapsed: seconds(), lengths: lengthsOf(folder), run },
      };
      await saver.save(kept, content, beside);
    },
    async keptState() {
      await saver.settle();
      return goodState(states);
    },
    settled: saver.settle,
    writeReport: (report) => writeFileAtomic(path.join(folder, 'report.json'), `${JSON.stringify(report)}\n`),
    close,
  };
}

const linesOf = (file: string): string[] =>
  existsSync(file)
    ? readFileSync(file, 'utf8')
        .split(/(?<=\n)/)
        .filter((line) => line !== '')
    : [];

const lengthsOf = (folder: string): Record<string, number | null> =>
  Object.fromEntries(
    GROWING.map((file) => [file, statSync(path.join(folder, file), { throwIfNoEntry: false })?.size ?? null]),
  );
