/** The points of a sweep: every combination of variants, KV heads and seeds that differs from the others and that the config allows. */
import { closest } from '../config/expectations.js';
import { loadConfig } from '../config/load.js';
import { type VariantName, variantNames } from '../config/names.js';
import type { Config } from '../config/schema.js';
import { counted } from '../counted.js';
import { GqaError } from '../errors.js';

export interface SweepAxes {
  /** Lists that are left out keep what the config says. */
  variants?: string[] | undefined;
  kvHeads?: number[] | undefined;
  seeds?: number[] | undefined;
}

export interface Point {
  variant: VariantName;
  kvHeads: number;
  seed: number;
  /** Folder of the point's run within the sweep's: `gqa-kv3-s42`. */
  runName: string;
  /** `--set` flags that make the point of the base config. */
  sets: string[];
}

export interface Grid {
  points: Point[];
  /** What was asked for but is not run, and why. */
  notices: string[];
  /** The base config as the first point has it; the points differ from it in variant, kvHeads and seed only. */
  config: Config;
}

/**
 * @param file base config; @param sets its overrides, to which the points' own are added
 * @throws GqaError `usage` listing every invalid point, before anything is started
 */
export function planGrid(file: string, sets: readonly string[], axes: SweepAxes): Grid {
  const unknown = (axes.variants ?? []).filter((variant) => !(variantNames as readonly string[]).includes(variant));
  if (unknown.length > 0) {
    const described = unknown.map(
      (name) => JSON.stringify(name) + (closest(name, variantNames) ? ` (did you mean ${closest(name, variantNames)}?)` : ''),
    );
    throw new GqaError('usage', `--variants has ${described.join(', ')}, expected some of ${variantNames.join(', ')}`);
  }
  const points = new Map<string, Point>();
  const notices: string[] = [];
  const invalid = new Map<string, string[]>();
  let config: Config | undefined;
  let asked = 0;
  for (const variant of axes.variants ?? [undefined]) {
    for (const kvHeads of axes.kvHeads ?? [undefined]) {
      for (const seed of axes.seeds ?? [undefined]) {
        asked++;
        const own = pointSets(variant, kvHeads, seed);
        try {
          config = loadConfig(file, [...sets, ...own]);
        } catch (error) {
          if (!(error instanceof GqaError) || error.code !== 'usage') throw error;
          invalid.set(error.message, [...(invalid.get(error.message) ?? []), own.join(', ') || 'the config']);
          continue;
        }
        const point = pointOf(config, own);
        const ignored = kvHeads !== undefined && isFixed(point.variant);
        if (points.has(point.runName))
          notices.push(
            ignored
              ? `${point.variant} chooses its KV heads itself (${point.kvHeads}), whatever --kv-heads says: it runs once a seed`
              : `${describePoint(point)} is asked for more than once: it runs once`,
          );
        else points.set(point.runName, point);
      }
    }
  }
  if (invalid.size > 0) throw invalidPoints(invalid, asked);
  if (config === undefined) throw new GqaError('usage', 'the sweep has no points');
  return { points: [...points.values()], notices: [...new Set(notices)], config };
}

/** Their number of KV heads is no choice; one that the base config gives for another variant is taken back. */
const isFixed = (variant: string | undefined): boolean => variant === 'mha' || variant === 'mqa';

function pointSets(variant: string | undefined, kvHeads: number | undefined, seed: number | undefined): string[] {
  return [
    ...(variant === undefined ? [] : [`model.variant=${variant}`]),
    ...(isFixed(variant) ? ['model.kv_heads=null'] : kvHeads === undefined ? [] : [`model.kv_heads=${kvHeads}`]),
    ...(seed === undefined ? [] : [`seed=${seed}`]),
  ];
}

function pointOf({ model: { variant, kvHeads }, seed }: Config, sets: string[]): Point {
  return { variant, kvHeads, seed, runName: `${variant}-kv${kvHeads}-s${seed}`, sets };
}

export const describePoint = ({ variant, kvHeads, seed }: Point): string => `${variant}, ${counted(kvHeads, 'KV head')}, seed ${seed}`;

/** One problem of the config itself is told once, problems of points each with the points that have it. */
function invalidPoints(invalid: Map<string, string[]>, asked: number): GqaError {
  const [[message, points] = ['', []]] = [...invalid];
  if (invalid.size === 1 && points.length === asked) return new GqaError('usage', message);
  const lines = [...invalid].map(([message, points]) => `${points.join(' · ')}\n  ${message.replaceAll('\n', '\n  ')}`);
  const count = [...invalid.values()].reduce((sum, points) => sum + points.length, 0);
  return new GqaError(
    'usage',
    `${count} of ${counted(asked, 'point')} of the sweep ${count === 1 ? 'is' : 'are'} invalid; nothing was started\n${lines.join('\n')}`,
  );
}
