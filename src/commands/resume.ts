/** `gqa train --resume`: which run goes on, from which checkpoint, and what of its config may be another. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type ReadConfig, readConfig } from '../config/load.js';
import { absolutePaths } from '../config/paths.js';
import { byDottedKey } from '../config/resolve.js';
import type { Config } from '../config/schema.js';
import { GqaError } from '../errors.js';
import type { Lock } from '../files/lock.js';
import { command } from '../invocation.js';
import { checkpointsIn, type GoodState, goodState, statesOf } from '../run/checkpoints.js';
import { readMeta, SCHEMA_VERSION } from '../run/meta.js';
import { lockRun } from '../run/run-folder.js';
import type { RunState } from '../train/run-state.js';
import { modelIn } from './source.js';
import type { TrainReport } from './train-report.js';
import { readConfigAndWeights } from './weights.js';

/** A run that goes on. */
export interface Again {
  folder: string;
  read: ReadConfig;
  /** Keys that are other than they were, each as `train.epochs: 2 → 4`. */
  changes: string[];
  lock: Lock;
  /** Null: the run never came to a checkpoint, and begins anew. */
  kept: GoodState | null;
  /** What the run reported at its end; null: it did not come to it. */
  report: TrainReport | null;
}

/** Keys that may be other than the run began with, since no figure depends on them, or since that is what was asked for. */
const CHANGEABLE = new Set([
  ...['device', 'data.root', 'data.workers', 'data.cache', 'data.cache_gb', 'data.timeout_s', 'data.max_pixels'],
  ...['train.epochs', 'train.steps', 'train.log_every', 'train.checkpoint_every', 'train.keep', 'train.on_nan'],
]);

/** Keys of `data` that a config may leave to the checkpoint, and a run's has filled in. */
const FROM_CHECKPOINT = new Set(['mean', 'std', 'resize', 'cropPct', 'interpolation']);

export interface ResumeOptions {
  /** A run folder, or `auto`. */
  resume: string;
  config?: string;
  runName?: string;
  runsDir: string;
}

/**
 * @param sets over the run's config, or with `auto` over that of `config`
 * @returns null: with `auto` there is no such run yet
 * @throws GqaError `usage` when it is no run, or something is asked for that would make it another; `io` when another
 *   process works on it, or no checkpoint is whole
 */
export async function runToResume(options: ResumeOptions, sets: string[]): Promise<Again | null> {
  const asked = options.resume === 'auto' ? await autoRun(options, sets) : { folder: options.resume, read: null };
  const { folder } = asked;
  const file = path.join(folder, 'config.yaml');
  if (options.resume === 'auto' && dropUnmade(folder)) return null;
  if (!isMade(folder)) {
    throw new GqaError('usage', `${folder}: not a run folder: it holds no config.yaml, meta.json and status.json`, {
      hint: `Give runs/<name>/<run>; ${command('runs')} lists them.`,
    });
  }
  if (Number(readMeta(folder)?.schema_version ?? 0) < SCHEMA_VERSION)
    throw new GqaError('usage', `run ${folder} is of an older version, which kept nothing to go on from`, {
      hint: `A new run can begin with its weights: model.pretrained=${modelIn(folder, 'last')}`,
    });
  const before = readConfig(file, []);
  const read =
    asked.read === null ? readConfig(file, sets) : { ...before, config: chosen(before.config, asked.read.config) };
  const changes = differences(before.config, read.config);
  requireChangeable(folder, changes);
  const lock = lockRun(folder);
  try {
    const kept = goodState(statesOf(folder));
    const said = changes.map(({ key, was, is }) => `${key}: ${JSON.stringify(was)} → ${JSON.stringify(is)}`);
    return { folder, read, changes: said, lock, kept, report: reportIn(folder) };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** A run's folder is made once its status stands in it. */
const isMade = (folder: string): boolean =>
  ['config.yaml', 'meta.json', 'status.json'].every((file) => existsSync(path.join(folder, file)));

/** Takes away what a process left that was ended while it made the folder. @returns whether there is no run now */
function dropUnmade(folder: string): boolean {
  if (!existsSync(folder)) return true;
  if (isMade(folder) || existsSync(path.join(folder, 'status.json')) || checkpointsIn(statesOf(folder)).length > 0)
    return false;
  const { release } = lockRun(folder);
  rmSync(folder, { recursive: true, force: true });
  release();
  return true;
}

async function autoRun(
  { config, runName, runsDir }: ResumeOptions,
  sets: string[],
): Promise<{ folder: string; read: ReadConfig }> {
  if (config === undefined || runName === undefined)
    throw new GqaError('usage', '--resume auto needs --config and --run-name, which say which run it is');
  const read = await readConfigAndWeights(config, sets);
  return { folder: path.join(runsDir, read.config.name, runName), read };
}

/** The config that is asked for, with what the run's has filled in. */
function chosen(run: Config, asked: Config): Config {
  const absolute = absolutePaths(asked);
  const data = Object.fromEntries(
    Object.entries(absolute.data).map(([key, value]) => [
      key,
      value === null && FROM_CHECKPOINT.has(key) ? run.data[key as keyof Config['data']] : value,
    ]),
  ) as Config['data'];
  return { ...absolute, name: run.name, data: { ...data, root: run.data.root } };
}

interface Difference {
  key: string;
  was: unknown;
  is: unknown;
}

function differences(before: Config, after: Config): Difference[] {
  const [a, b] = [byDottedKey(before), byDottedKey(after)];
  return [...new Set([...a.keys(), ...b.keys()])]
    .filter((key) => !isDeepStrictEqual(a.get(key), b.get(key)))
    .map((key) => ({ key, was: a.get(key) ?? null, is: b.get(key) ?? null }));
}

function requireChangeable(folder: string, changes: readonly Difference[]): void {
  const refused = changes.filter(({ key }) => !CHANGEABLE.has(key));
  if (refused.length === 0) return;
  throw new GqaError(
    'usage',
    [
      `run ${folder} cannot go on with another config than it began with:`,
      ...refused.map(({ key, was, is }) => `  ${key}: ${JSON.stringify(was)} there, ${JSON.stringify(is)} asked for`),
    ].join('\n'),
    { hint: `Start a new run with it, or leave it out. What may change: ${[...CHANGEABLE].join(', ')}.` },
  );
}

function reportIn(folder: string): TrainReport | null {
  try {
    return JSON.parse(readFileSync(path.join(folder, 'report.json'), 'utf8')) as TrainReport;
  } catch {
    return null; // the run did not come to its end
  }
}

/** The state in a checkpoint, with the paths of where the run lies now. */
export function stateIn(folder: string, { manifest }: GoodState): RunState {
  const { state } = manifest.run as { state: RunState };
  const { best, saved } = state;
  return {
    ...state,
    best: best === null ? null : { ...best, path: modelIn(folder, 'best') },
    saved: {
      last: saved.last === null ? null : { ...saved.last, path: modelIn(folder, 'last') },
      best: saved.best === null ? null : { ...saved.best, path: modelIn(folder, 'best') },
    },
    notSaved: null,
  };
}

/** What computed the run when it was started. */
export const deviceOf = (folder: string): string | null => {
  const meta = readMeta(folder);
  return meta === null ? null : `${String(meta.backend)} on the ${String(meta.device)}`;
};
