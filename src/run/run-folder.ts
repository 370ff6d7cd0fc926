/**
 * The folder of a run, runs/<name>/<run>/, and the code that writes what a training leaves in it (`gqa eval` adds
 * eval/<split>/metrics.json):
 *
 *   config.yaml    resolved; `gqa train --config` repeats the run from it
 *   meta.json      versions, git commit, device, machine, command line, settings, numbers of parameters, fingerprint of
 * the data set, notices, warnings
 *   status.json    {state, epoch, step, pid, updated}: the epoch it is in and the optimizer steps done; never
 * half-written
 *   results.csv    a row an epoch and a last one with the test figures of the best checkpoint (`resultColumns`)
 *   metrics.jsonl  a line a log step
 *   log.txt        what was said on stderr (notices, a line an epoch; no bars) and the error that ended the run, each
 * line with its time in UTC
 *   skipped.jsonl  a line a image that could not be read (data.on_bad_image: skip); not there when there is none
 *   damaged.jsonl  a line a image that is damaged and was decoded as far as it goes (data.on_bad_image: warn); not
 * there when there is none
 *   checkpoints/   last/ and best/, a model file in each
 *
 * Every failed write is an error with exit code 5; that of log.txt at the end of the epoch, so that it never hides the
 * error that was to be written.
 */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { dumpConfig } from '../config/load.js';
import type { Config } from '../config/schema.js';
import { GqaError } from '../errors.js';
import { gqaVersion, packageRoot } from '../version.js';
import { checkFolder, fileError, makeFolder, writeFileAtomic } from './atomic.js';
import { wasInterrupted } from './interrupt.js';
import { toCsv } from './table.js';

/**
 * Columns of results.csv; new ones are only ever added at the end. `row` is `epoch` (epoch 0: as converted, before any
 * training; without figures when the head is a fresh one) or, once and last, `best`: the best checkpoint, its epoch and
 * step, and its test figures. val_*: the validation part; empty under protocol `paper`, which has none and fills test_*
 * in every row. Fractions 0 to 1; time_s since the run began; images_per_s in training alone; rss_mb of this process,
 * in 10⁶ bytes; tensors alive in TensorFlow.js; data_wait: the part of the training time that steps waited for images;
 * steps_left_out: optimizer steps of the epoch that float16 left out, empty with other precisions.
 */
export const resultColumns = [
  'row',
  'epoch',
  'step',
  'time_s',
  'lr',
  'train_loss',
  'train_top1',
  'val_loss',
  'val_top1',
  'val_top5',
  'test_loss',
  'test_top1',
  'test_top5',
  'images_per_s',
  'rss_mb',
  'tensors',
  'data_wait',
  'steps_left_out',
] as const;
type ResultColumn = (typeof resultColumns)[number];

export interface Figures {
  loss: number;
  top1: number;
  top5: number | null;
}

export interface EpochResult {
  /** From 1; 0 is the model before any training. */
  epoch: number;
  step: number;
  lr: number | null;
  train: { loss: number; top1: number } | null;
  /**
   * On what the best epoch is chosen by: the validation part, or the test split under protocol `paper`. Null: a fresh
   * head, not trained yet.
   */
  selection: Figures | null;
  imagesPerSecond: number | null;
  dataWait?: number;
  tensors?: number;
  /** With float16: optimizer steps of the epoch that were left out. */
  stepsLeftOut?: number | null;
}

export type RunState = 'running' | 'done' | 'failed' | 'interrupted';

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
  setStatus(state: RunState, at?: { epoch: number; step: number }): void;
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
  /** Adds to log.txt; throws nothing: a write that failed is told by the next `epochDone` or `testDone`. */
  log(text: string): void;
  /** Writes checkpoints/<which>/<file> in one piece; returns its path. */
  writeCheckpoint(which: 'last' | 'best', file: string, bytes: Uint8Array): string;
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
export interface Said {
  at: Date;
  text: string;
}

/** What a run's record holds of the model, and of what the user was told of it. */
export interface RunAbout {
  parameters: number;
  kvParameters: number;
  notices: readonly string[];
}

/**
 * Makes the folder with config.yaml, meta.json, log.txt, status.json and the header of results.csv, or leaves nothing
 * behind.
 * @param device what computes: the backend, as `startBackend` gives it
 * @param data, about, warnings for meta.json: the fingerprint of the data set, what the run is made of, what may make
 *   its figures wrong
 * @param said what was said before, for log.txt
 * @throws GqaError `usage` when `runName` is taken, `io` when something cannot be written
 */
export function createRun(
  place: RunPlace & {
    config: Config;
    device: { name: string; device: string; version: string };
    data?: Record<string, unknown>;
    about?: RunAbout;
    warnings?: readonly string[];
    said?: readonly Said[];
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
      // What led here is told: it is why the rest cannot be taken away either.
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
  const stamp =
    runName ??
    new Date()
      .toISOString()
      .replace(/\.\d+Z$/, 'Z')
      .replace(/[-:]/g, '');
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

/** UTC, to the second, in a form that every file system takes: 20261122T161500Z. */
export function timeStamp(): string {
  return new Date()
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replace(/[-:]/g, '');
}

/** @param results, metrics, log handles of the files that lines are added to */
function openRun(
  folder: string,
  config: Config,
  { results, metrics, log: logHandle }: Record<'results' | 'metrics' | 'log', number>,
): RunFolder {
  const started = performance.now();
  let status: { state: RunState; epoch: number; step: number } = { state: 'running', epoch: 0, step: 0 };
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
      // The process is ending for a reason that was told; a disk that is full by now must not hide it.
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
    writeCheckpoint(which, file, bytes) {
      const target = path.join(folder, 'checkpoints', which, file);
      writeFileAtomic(target, bytes);
      return target;
    },
    close,
  };
}

function prefixed(part: 'val' | 'test', { loss, top1, top5 }: Figures): Partial<Record<ResultColumn, number | null>> {
  return { [`${part}_loss`]: loss, [`${part}_top1`]: top1, [`${part}_top5`]: top5 };
}

/** Seven digits: what a float32 holds. */
function rounded(cell: number | string | null): number | string | null {
  return typeof cell === 'number' && Number.isFinite(cell) ? Number(cell.toPrecision(7)) : cell;
}

/**
 * In one piece; on a full disk, which has no room for a second file, over the old one: a run that failed must not be
 * told as running.
 */
function writeStatus(file: string, text: string): void {
  try {
    writeFileAtomic(file, text);
  } catch (error) {
    try {
      const handle = openSync(file, 'r+');
      writeSync(handle, text);
      ftruncateSync(handle, Buffer.byteLength(text));
      closeSync(handle);
    } catch {
      throw error;
    }
  }
}

/** A row or line in full, or none of it. */
function append(handle: number, text: string, file: string): void {
  const { size } = fstatSync(handle);
  try {
    const bytes = Buffer.from(text, 'utf8');
    // A disk that is nearly full takes a part first, and says so only at the next call.
    for (let offset = 0; offset < bytes.length; ) offset += writeSync(handle, bytes, offset);
  } catch (error) {
    cutBack(handle, size);
    throw fileError(`cannot write ${file}`, error);
  }
}

function cutBack(handle: number, size: number): void {
  try {
    ftruncateSync(handle, size);
  } catch {
    // The device has failed altogether; the error that led here tells so.
  }
}

function flush(handle: number, file: string): void {
  try {
    fsyncSync(handle);
  } catch (error) {
    throw fileError(`cannot flush ${file}`, error);
  }
}

/** Each line with its time: a message of several lines stays readable when lines are sorted or searched. */
function logLines(at: Date, text: string): string {
  const time = at.toISOString().replace(/\.\d+Z$/, 'Z');
  return text
    .trim()
    .split('\n')
    .map((line) => `${time} ${line}`.trimEnd())
    .join('\n')
    .concat('\n');
}

function describeModel(about: RunAbout | undefined): Record<string, unknown> {
  if (about === undefined) return {};
  return { parameters: about.parameters, kv_parameters: about.kvParameters, notices: about.notices };
}

/**
 * Variables that change how things are computed. No wider: an environment holds secrets too, and Terraform's also begin
 * with TF_.
 */
const settings =
  /^(TF_(CPP|CUDA|CUDNN|DETERMINISTIC|DISABLE|ENABLE|FORCE|GPU|NUM|ONEDNN|USE|XLA)_|GQA_|CUDA_|XLA_|OMP_|NVIDIA_|NODE_OPTIONS$|UV_THREADPOOL_SIZE$)/;

/** What a run's meta.json holds; null where there is none, or none that can be read. */
export function readMeta(folder: string): Record<string, unknown> | null {
  try {
    return JSON.parse(readFileSync(path.join(folder, 'meta.json'), 'utf8')) as Record<string, unknown> | null;
  } catch {
    return null; // the folder is no run's: a config lies beside anything
  }
}

/** meta.json: what the figures depend on beside the config. */
function describeRun(device: { name: string; device: string; version: string }): Record<string, unknown> {
  return {
    schema_version: 1,
    started: new Date().toISOString(),
    versions: {
      gqa: gqaVersion(),
      node: process.version,
      tfjs: installedVersion('@tensorflow/tfjs'),
      [device.name]: device.version,
    },
    device: device.device,
    backend: device.name,
    git: gitState(packageRoot),
    argv: process.argv.slice(2),
    cwd: process.cwd(),
    host: os.hostname(),
    platform: `${process.platform}-${process.arch}`,
    cpu: os.cpus()[0]?.model ?? null,
    cores: os.availableParallelism(),
    memory_mb: Math.round(os.totalmem() / 1e6),
    env: Object.fromEntries(Object.entries(process.env).filter(([key]) => settings.test(key))),
  };
}

function installedVersion(name: string): string | null {
  try {
    return (createRequire(import.meta.url)(`${name}/package.json`) as { version: string }).version;
  } catch {
    return null; // told as unknown; the run does not depend on knowing it
  }
}

/**
 * The commit of this code; null where it is no git checkout (of its own: not one that merely lies around it) or git is
 * not installed.
 */
function gitState(root: string): { commit: string; dirty: boolean } | null {
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', root, ...args], {
      encoding: 'utf8',
      timeout: 5000,
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  try {
    if (path.resolve(git('rev-parse', '--show-toplevel')) !== path.resolve(root)) return null;
    return { commit: git('rev-parse', 'HEAD'), dirty: git('status', '--porcelain') !== '' };
  } catch {
    return null;
  }
}
