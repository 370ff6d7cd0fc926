/** A run's folder while it is open: the files that grow as it goes, and what takes their place as a whole. */
import { closeSync, existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Config } from '../config/schema.js';
import { GqaError } from '../errors.js';
import { type Content, writeFileAtomic } from '../files/atomic.js';
import type { Lock } from '../files/lock.js';
import { type GoodState, goodState, statesOf } from './checkpoints.js';
import { wasInterrupted } from './interrupt.js';
import { append, flush, logLines, writeStatus } from './lines.js';
import { type EpochResult, type Figures, prefixed, type ResultColumn, resultColumns, rounded } from './results.js';
import { openSaver } from './saver.js';
import { toCsv } from './table.js';
import { EVENTS_FILE, openEvents } from './tensorboard.js';

export type RunStatus = 'running' | 'done' | 'failed' | 'interrupted';

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

/** The files of a run that grow, by what a checkpoint tells how far. */
export const GROWING = ['results.csv', 'metrics.jsonl', 'skipped.jsonl', 'damaged.jsonl', EVENTS_FILE] as const;

/**
 * @param results, metrics, log handles of the files that lines are added to
 * @param elapsed seconds of the run before
 */
export function openRun(
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
  const events = config.train.tensorboard ? openEvents(folder) : null;
  const close = (): void => {
    if (!open) return;
    open = false;
    process.off('exit', atExit);
    saver.close();
    lock.release();
    events?.close();
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
      if (selection !== null)
        events?.add(step, prefixed(config.train.protocol === 'paper' ? 'test' : 'val', selection));
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
      const { step, ...values } = line;
      if (typeof step === 'number') events?.add(step, values);
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
