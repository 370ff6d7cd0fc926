/** A run that was stopped, opened to go on: its files as its checkpoint knows them. */
import { existsSync, openSync, readFileSync, renameSync, rmSync, statSync, truncateSync } from 'node:fs';
import path from 'node:path';
import { dumpConfig } from '../config/load.js';
import type { Config } from '../config/schema.js';
import { GqaError } from '../errors.js';
import { fileError, writeFileAtomic } from '../files/atomic.js';
import type { Lock } from '../files/lock.js';
import { type GoodState, linked } from './checkpoints.js';
import { GROWING, openRun, type RunFolder } from './open-run.js';
import { resultColumns } from './results.js';
import { toCsv } from './table.js';

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
    writeFileAtomic(place('meta.json'), `${JSON.stringify({ ...meta, resumed }, null, 2)}\n`);
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
  linked(from, aside);
  renameSync(aside, to);
  rmSync(aside, { force: true }); // a rename of two names of one file leaves both
}
