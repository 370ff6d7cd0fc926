/** What a sweep does, written down before it starts: planned from its flags, or read back from its folder. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { resolvedTeacher, resolvePreprocessing } from '../checkpoint/preprocessing.js';
import { dumpConfig, loadConfig, readConfig } from '../config/load.js';
import { deviceOverride } from '../config/overrides.js';
import { absolutePaths } from '../config/paths.js';
import { preprocessingOf } from '../config/preprocessing.js';
import { byDottedKey } from '../config/resolve.js';
import type { Config } from '../config/schema.js';
import { GqaError } from '../errors.js';
import { claim, type Lock } from '../files/lock.js';
import type { Stop } from '../run/interrupt.js';
import { configIn, makeSweepFolder, planIn, writeConfigs, writePlan } from '../run/sweep-folder.js';
import { timeStamp } from '../run/time-stamp.js';
import { parseAxis } from '../sweep/axis.js';
import { outcomeIn } from '../sweep/child.js';
import { type PlannedPoint, planGrid } from '../sweep/grid.js';
import type { Row } from '../sweep/leaderboard.js';
import { requirePaths } from './require-paths.js';
import type { SweepOptions } from './sweep.js';
import { weightsFor } from './weights.js';

export interface SweepPlan {
  folder: string;
  runsDir: string;
  points: PlannedPoint[];
  /** Of each point, in the same order. */
  configs: string[];
  /** Files that every point begins with. */
  begunWith: Record<string, string | null>;
  notices: string[];
  /** Of a sweep that was begun before: runs that are done are not run again, others go on from their checkpoints. */
  goesOn: boolean;
  lock: Lock;
}

const FILES = ['data.root', 'model.pretrained', 'model.grouping', 'train.distill_from'] as const;

/** @throws GqaError `usage` for a grid with points that cannot be, or a folder that is no sweep's or that another works on */
export async function sweepPlan(options: SweepOptions, stop: Stop): Promise<SweepPlan> {
  if (options.resume === undefined) return newPlan(options, stop);
  const besides = [
    ...(['config', 'name', 'variants', 'kvHeads', 'seeds', 'device'] as const).filter(
      (key) => options[key] !== undefined,
    ),
    ...(['set', 'axis'] as const).filter((key) => (options[key]?.length ?? 0) > 0),
  ].map((key) => (key === 'kvHeads' ? '--kv-heads' : `--${key}`));
  if (besides.length > 0)
    throw new GqaError('usage', `a sweep that goes on does so by its own plan: leave out ${besides.join(', ')}`, {
      hint: 'For other points start another sweep.',
    });
  return planOf(options.resume);
}

async function newPlan(options: SweepOptions, stop: Stop): Promise<SweepPlan> {
  const { config, runsDir } = options;
  if (config === undefined)
    throw new GqaError('usage', 'gqa sweep needs --config, or --resume with the folder of a sweep');
  const sets = [...options.set, ...deviceOverride(options.device)];
  const named = options.name === undefined ? [] : [`name=${JSON.stringify(options.name)}`];
  const { points, notices } = planGrid(
    config,
    [...sets, ...named],
    { ...options, axis: (options.axis ?? []).map(parseAxis) },
    await weightsFor(config, sets, stop),
  );
  const [first] = points;
  if (first === undefined) throw new GqaError('usage', 'the sweep has no points');
  await requirePaths(config, first.read, FILES);
  requireImages(first.read.config);
  const name = options.name ?? `${first.read.config.name.slice(0, 70)}-sweep-${timeStamp()}`;
  const there = path.join(runsDir, name);
  const goesOn = existsSync(planIn(there));
  const folder = goesOn ? there : makeSweepFolder(runsDir, name);
  const lock = claimed(folder);
  const wanted: Record<string, Config> = Object.fromEntries(
    points.map(({ runName, read }) => [runName, absolutePaths({ ...read.config, name })]),
  );
  if (goesOn) {
    const changes = planChanges(folder, wanted);
    if (changes.length > 0 && options.yes !== true)
      throw new GqaError('usage', `${folder} has another plan than this\n${changes.join('\n')}`, {
        hint: '--yes takes the new plan: what is done stays done. For another sweep choose another --name.',
      });
    notices.push(`goes on with ${folder}`, ...changes);
  }
  const texts = Object.entries(wanted).map(([runName, config]) => [runName, dumpConfig(config)]);
  const configs = writeConfigs(folder, Object.fromEntries(texts));
  const planned = points.map(({ read: _, ...point }) => point);
  writePlan(folder, planned);
  return { folder, runsDir, points: planned, configs, begunWith: begunWith(first.read.config), notices, goesOn, lock };
}

/**
 * What a new plan would change of the one that is there, a line each: `+` a point more, `-` one that is no longer asked
 * for, `~` one with other settings.
 * @param wanted configs of the new plan by run name
 * @throws GqaError `usage` where a run has begun with other settings: it cannot go on with these
 */
function planChanges(folder: string, wanted: Readonly<Record<string, Config>>): string[] {
  const before = plannedIn(folder).map(({ runName }) => runName);
  const changed = Object.entries(wanted).flatMap(([runName, config]) => {
    if (!before.includes(runName)) return [];
    const differences = configDifferences(loadConfig(configIn(folder, runName), []), config);
    return differences.length === 0 ? [] : [{ runName, line: `~ ${runName}: ${differences.join(', ')}` }];
  });
  const begun = changed.filter(({ runName }) => existsSync(path.join(folder, runName)));
  if (begun.length > 0)
    throw new GqaError(
      'usage',
      `${folder}: runs have begun with other settings\n${begun.map(({ line }) => line).join('\n')}`,
      {
        hint: 'Choose another --name for these settings.',
      },
    );
  return [
    ...Object.keys(wanted).flatMap((runName) => (before.includes(runName) ? [] : [`+ ${runName}`])),
    ...before.flatMap((runName) => (Object.hasOwn(wanted, runName) ? [] : [`- ${runName}`])),
    ...changed.map(({ line }) => line),
  ];
}

/** `train.lr: 0.001 → 0.01` */
function configDifferences(before: Config, after: Config): string[] {
  const [one, other] = [byDottedKey(before), byDottedKey(after)];
  return [...other].flatMap(([key, value]) => {
    const [a, b] = [JSON.stringify(one.get(key)), JSON.stringify(value)];
    return a === b ? [] : [`${key}: ${a} → ${b}`];
  });
}

const lineSchema = z.object({
  ...{ variant: z.string(), kvHeads: z.number(), seed: z.number(), runName: z.string() },
  axes: z.record(z.string(), z.string()).default({}),
});

/** The points of a sweep's folder. @throws GqaError `usage` where it is none, `io` where its plan cannot be read */
export function plannedIn(folder: string): PlannedPoint[] {
  const plan = planIn(folder);
  if (!existsSync(plan))
    throw new GqaError('usage', `${folder} is not the folder of a sweep: it holds no plan.jsonl`, {
      hint: 'gqa sweep names the folder in its first line: runs/NAME.',
    });
  return readFileSync(plan, 'utf8')
    .trim()
    .split('\n')
    .map((line, i) => {
      try {
        return lineSchema.parse(JSON.parse(line)) as PlannedPoint;
      } catch (cause) {
        throw new GqaError('io', `${plan}:${i + 1} cannot be read: ${(cause as Error).message.split('\n')[0]}`, {
          cause,
        });
      }
    });
}

/** The same with what their runs have come to by now. @throws as `plannedIn` */
export const rowsIn = (folder: string): Row[] =>
  plannedIn(folder).map((point) => {
    const run = path.join(folder, point.runName);
    return { point, outcome: outcomeIn(run), run };
  });

/** A sweep that was stopped: its points and their configs are those of its beginning. */
async function planOf(given: string): Promise<SweepPlan> {
  const folder = path.resolve(given);
  const points = plannedIn(folder);
  const lock = claimed(folder);
  const configs = points.map(({ runName }) => configIn(folder, runName));
  const first = readConfig(configs[0] as string, []);
  await requirePaths(configs[0] as string, first, FILES);
  return {
    ...{ folder, runsDir: path.dirname(folder), points, configs, lock },
    ...{ begunWith: begunWith(first.config), notices: [], goesOn: true },
  };
}

const begunWith = ({ model, train }: Config): Record<string, string | null> => ({
  'model.pretrained': model.pretrained,
  'train.distill_from': train.distillFrom,
});

const claimed = (folder: string): Lock =>
  claim(
    path.join(folder, 'lock'),
    ({ pid, host }) =>
      new GqaError('usage', `process ${pid}${host === null ? '' : ` on ${host}`} works on ${folder}`, {
        hint: 'Wait until it is done, or stop it.',
      }),
  );

/** What a checkpoint wants of images is the same for all points: what cannot be is refused before the first. */
function requireImages(config: Config): void {
  const { pretrained } = config.model;
  const { distillFrom } = config.train;
  const resolved = resolvePreprocessing(config, pretrained).config;
  if (distillFrom !== null) resolvedTeacher(distillFrom, config.model.embedDim, preprocessingOf(resolved.data));
}
