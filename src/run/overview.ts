/** What a run's folder tells of it, whether it goes on, has ended, or was killed. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { loadConfig } from '../config/load.js';
import { snakeKeys } from '../config/resolve.js';
import { holderOf } from '../files/lock.js';
import type { ResultColumn } from './results.js';

export interface RunOverview {
  /** Its folder. */
  run: string;
  /** `killed`: it says that it runs, but nobody works on it. */
  state: 'running' | 'done' | 'failed' | 'interrupted' | 'killed' | 'unknown';
  epoch: number;
  epochs: number | null;
  step: number;
  /** When it told last how far it is; UTC. */
  updated: string | null;
  /** Seconds, as its last row has them. */
  seconds: number | null;
  variant: string | null;
  kv_heads: number | null;
  seed: number | null;
  /** Fractions 0 to 1; null: not measured (yet). */
  best_top1: number | null;
  test_top1: number | null;
}

export type ResultRow = Partial<Record<ResultColumn, string>>;

type Sections = Record<string, Record<string, unknown> | undefined>;

/** Every run below a folder such as `runs`, by name. */
export function runsBelow(folder: string): string[] {
  const inside = (place: string): string[] =>
    existsSync(place)
      ? readdirSync(place, { withFileTypes: true })
          .filter((entry) => entry.isDirectory())
          .map(({ name }) => path.join(place, name))
      : [];
  return inside(folder)
    .flatMap(inside)
    .filter((place) => existsSync(path.join(place, 'status.json')))
    .sort();
}

/** @returns the config of a run as its file has it, or empty where it cannot be read */
export function configIn(run: string): Sections {
  try {
    return snakeKeys(loadConfig(path.join(run, 'config.yaml'), [])) as Sections;
  } catch {
    return {};
  }
}

/** The rows of results.csv by column. */
export function resultsIn(run: string): ResultRow[] {
  try {
    const [head = '', ...lines] = readFileSync(path.join(run, 'results.csv'), 'utf8').trimEnd().split('\n');
    const names = head.split(',');
    return lines.map((line) => Object.fromEntries(line.split(',').map((cell, i) => [names[i], cell])) as ResultRow);
  } catch {
    return [];
  }
}

export function overviewOf(run: string): RunOverview {
  const status = statusIn(run);
  const { model = {}, train = {}, ...config } = configIn(run);
  const rows = resultsIn(run);
  const figure = train.protocol === 'paper' ? 'test_top1' : 'val_top1';
  const measured = rows
    .filter(({ row }) => row === 'epoch')
    .map((row) => numberOf(row[figure]) ?? Number.NEGATIVE_INFINITY);
  const best = Math.max(Number.NEGATIVE_INFINITY, ...measured.slice(numberOf(rows[0]?.epoch) === 0 ? 1 : 0));
  const last = rows.find(({ row }) => row === 'best');
  const lost = status.state === 'running' && holderOf(path.join(run, 'lock')) === null;
  return {
    run,
    state: lost ? 'killed' : status.state,
    epoch: status.epoch,
    epochs: typeof train.epochs === 'number' ? train.epochs : null,
    step: status.step,
    updated: status.updated,
    seconds: numberOf(rows.at(-1)?.time_s),
    variant: typeof model.variant === 'string' ? model.variant : null,
    kv_heads: typeof model.kv_heads === 'number' ? model.kv_heads : null,
    seed: typeof config.seed === 'number' ? config.seed : null,
    best_top1: Number.isFinite(best) ? best : null,
    test_top1: numberOf(last?.test_top1),
  };
}

/** Means over a run's epochs of what was measured: images/s in training, and the part of its time that steps waited for images. */
export function paceOf(epochs: readonly ResultRow[]): { images_per_s: number | null; data_wait: number | null } {
  const mean = (column: ResultColumn): number | null => {
    const known = epochs.map((row) => numberOf(row[column])).filter((value) => value !== null);
    return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
  };
  return { images_per_s: mean('images_per_s'), data_wait: mean('data_wait') };
}

export const numberOf = (cell: string | undefined): number | null =>
  cell === undefined || cell === '' || !Number.isFinite(Number(cell)) ? null : Number(cell);

function statusIn(run: string): Pick<RunOverview, 'state' | 'epoch' | 'step' | 'updated'> {
  try {
    return JSON.parse(readFileSync(path.join(run, 'status.json'), 'utf8'));
  } catch {
    return { state: 'unknown', epoch: 0, step: 0, updated: null };
  }
}
