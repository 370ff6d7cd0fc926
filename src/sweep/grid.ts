/**
 * The points of a sweep: every combination of variants, KV heads, seeds and other axes that differs from the others and that the
 * config allows.
 */
import { closest } from '../config/expectations.js';
import { requireEffect } from '../config/idle.js';
import { type FoundWeights, parseConfig, type ReadConfig, readText } from '../config/load.js';
import { hasFixedKvHeads, variantOverride } from '../config/overrides.js';
import { counted } from '../counted.js';
import { GqaError } from '../errors.js';
import { VARIANTS, type VariantName } from '../model/variants.js';
import { type Axis, type AxisValues, combinations, inWords, slugOf } from './axis.js';

export interface SweepAxes {
  /** Lists that are left out keep what the config says. */
  variants?: string[] | undefined;
  kvHeads?: number[] | undefined;
  seeds?: number[] | undefined;
  /** Any other keys. */
  axis?: Axis[] | undefined;
}

export interface PlannedPoint {
  variant: VariantName;
  kvHeads: number;
  seed: number;
  /** What it has of other axes. */
  axes: AxisValues;
  /** Folder of the point's run within the sweep's: `gqa-kv3-s42`. */
  runName: string;
}

export interface Point extends PlannedPoint {
  /** What it trains by: resolved once, when the sweep is planned. */
  read: ReadConfig;
}

export interface Grid {
  points: Point[];
  /** What was asked for but is not run or has no effect, and why. */
  notices: string[];
}

/**
 * @param file base config, read once; @param sets its overrides, to which the points' own are added
 * @param found of the weights that they name
 * @throws GqaError `usage` listing every invalid point, before anything is started
 */
export function planGrid(file: string, sets: readonly string[], axes: SweepAxes, found?: FoundWeights): Grid {
  const unknown = (axes.variants ?? []).filter((variant) => !Object.keys(VARIANTS).includes(variant));
  if (unknown.length > 0) {
    const described = unknown.map(
      (name) =>
        JSON.stringify(name) +
        (closest(name, Object.keys(VARIANTS)) ? ` (did you mean ${closest(name, Object.keys(VARIANTS))}?)` : ''),
    );
    throw new GqaError(
      'usage',
      `--variants has ${described.join(', ')}, expected some of ${Object.keys(VARIANTS).join(', ')}`,
    );
  }
  requireOneChoice(sets, axes);
  const text = readText(file);
  const points = new Map<string, Point>();
  const notices: string[] = [];
  const invalid = new Map<string, string[]>();
  let asked = 0;
  const others = combinations(axes.axis ?? []);
  for (const variant of axes.variants ?? [undefined]) {
    for (const kvHeads of axes.kvHeads ?? [undefined]) {
      for (const [seed, values] of (axes.seeds ?? [undefined]).flatMap((seed) =>
        others.map((of) => [seed, of] as const),
      )) {
        asked++;
        const own = [
          ...pointSets(variant, kvHeads, seed),
          ...Object.entries(values).map(([key, value]) => `${key}=${value}`),
        ];
        let read: ReadConfig;
        try {
          read = parseConfig(text, file, [...sets, ...own], found);
        } catch (error) {
          if (!(error instanceof GqaError) || error.code !== 'usage') throw error;
          invalid.set(error.message, [...(invalid.get(error.message) ?? []), own.join(', ') || 'the config']);
          continue;
        }
        const point = pointOf(read, values);
        const ignored = kvHeads !== undefined && hasFixedKvHeads(point.variant);
        if (ignored)
          notices.push(
            `${point.variant} chooses its KV heads itself (${point.kvHeads}), whatever --kv-heads says: it runs once a seed`,
          );
        else if (points.has(point.runName))
          notices.push(`${describePoint(point)} is asked for more than once: it runs once`);
        points.set(point.runName, points.get(point.runName) ?? point);
      }
    }
  }
  if (invalid.size > 0) throw invalidPoints(invalid, asked);
  const planned = [...points.values()];
  const reads = planned.map(({ read }) => read);
  const reported = [...reads.flatMap((read) => read.notices), ...notices, ...requireEffect(file, reads, 'sweep')];
  return { points: planned, notices: [...new Set(reported)] };
}

const axisKeys = { variants: 'model.variant', kvHeads: 'model.kv_heads', seeds: 'seed' } as const;
const axisFlags = { variants: '--variants', kvHeads: '--kv-heads', seeds: '--seeds' } as const;

/** One of them would be passed over. */
function requireOneChoice(sets: readonly string[], axes: SweepAxes): void {
  for (const axis of ['variants', 'kvHeads', 'seeds'] as const) {
    const key = axisKeys[axis];
    const set = sets.find((set) => set.startsWith(`${key}=`));
    if (axes[axis] !== undefined && set !== undefined)
      throw new GqaError('usage', `--set ${set} and ${axisFlags[axis]} ${axes[axis].join(',')} both choose ${key}`, {
        hint: `Leave one of them out.`,
      });
  }
  const taken = [...sets.map((set) => set.split('=')[0] as string), ...Object.values(axisKeys)];
  for (const { key, values } of axes.axis ?? []) {
    if (taken.includes(key))
      throw new GqaError('usage', `--axis ${key}=${values.join(',')}: ${key} is chosen by another flag already`, {
        hint: 'Variants, KV heads and seeds are axes of their own: --variants, --kv-heads, --seeds.',
      });
    taken.push(key);
  }
}

function pointSets(variant: string | undefined, kvHeads: number | undefined, seed: number | undefined): string[] {
  return [
    ...variantOverride(variant),
    ...(hasFixedKvHeads(variant) || kvHeads === undefined ? [] : [`model.kv_heads=${kvHeads}`]),
    ...(seed === undefined ? [] : [`seed=${seed}`]),
  ];
}

function pointOf(read: ReadConfig, axes: AxisValues): Point {
  const { model, seed } = read.config;
  const { variant, kvHeads } = model;
  return { variant, kvHeads, seed, axes, runName: `${variant}-kv${kvHeads}-s${seed}${slugOf(axes)}`, read };
}

export const describePoint = ({ variant, kvHeads, seed, axes }: PlannedPoint): string =>
  `${variant}, ${counted(kvHeads, 'KV head')}, seed ${seed}${inWords(axes)}`;

/** One problem of the config itself is reported once, problems of points each with the points that have it. */
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
