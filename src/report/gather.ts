/** What a report is made of: what the folders of its runs hold, read once and as it is now, whether they are done or not. */
import path from 'node:path';
import { byDottedKey } from '../config/resolve.js';
import { readMeta } from '../run/meta.js';
import { configIn, numberOf, overviewOf, paceOf, type RunOverview, resultsIn } from '../run/overview.js';
import { type Confusion, confusionIn } from '../run/predictions.js';
import { type AxisValues, inWords } from '../sweep/axis.js';
import { outcomeIn } from '../sweep/child.js';
import { type Row, reportOf } from '../sweep/leaderboard.js';

export interface ReportedRun extends Row {
  overview: RunOverview;
  /** Top-1 by which the best epoch is chosen, after each epoch; epoch 0: as converted. */
  curve: { epoch: number; top1: number }[];
  imagesPerSecond: number | null;
  /** The part of the training time that steps waited for images. */
  dataWait: number | null;
  /** Keys of its config, resolved. */
  config: ReadonlyMap<string, unknown>;
  /** For each layer the group of every head; null: nothing is known of it. */
  groups: readonly (readonly number[])[] | null;
  /** Of values, where they are grouped apart. */
  valueGroups: readonly (readonly number[])[] | null;
  /** Versions, machine, commit. */
  environment: Readonly<Record<string, string>>;
  warnings: readonly string[];
  /** Images by class (row) and by what was predicted (column); null: it was not tested, or by an older gqa. */
  confusion: Confusion | null;
}

/** One run of a plan. */
export function gathered({ point, outcome, run }: Row): ReportedRun {
  const meta = readMeta(run) ?? {};
  const rows = resultsIn(run).filter(({ row }) => row === 'epoch');
  const config = byDottedKey(configIn(run));
  const column = config.get('train.protocol') === 'paper' ? 'test_top1' : 'val_top1';
  const { images_per_s: imagesPerSecond, data_wait: dataWait } = paceOf(rows);
  return {
    ...{ point, outcome, run, overview: overviewOf(run) },
    curve: rows.flatMap((row) => {
      const [epoch, top1] = [numberOf(row.epoch), numberOf(row[column])];
      return epoch === null || top1 === null ? [] : [{ epoch, top1 }];
    }),
    ...{ imagesPerSecond, dataWait, config },
    groups: matrixOf(meta.grouping),
    valueGroups: matrixOf(meta.value_grouping),
    environment: environmentOf(meta),
    warnings: reportOf({ point, outcome, run })?.warnings ?? textsOf(meta.warnings),
    confusion: confusionIn(run),
  };
}

/** A run that belongs to no plan; `axes` tells by which it is kept apart from others. */
export function rowOf(run: string, axes: AxisValues): Row {
  const { variant, kv_heads, seed } = overviewOf(run);
  const point = {
    variant: variant ?? 'unknown',
    kvHeads: kv_heads ?? 0,
    seed: seed ?? 0,
    axes,
    runName: path.basename(run),
  };
  return { point: point as Row['point'], outcome: outcomeIn(run), run };
}

/** Keys of a config that say how figures were made: runs that differ there are never averaged together. */
const PROTOCOL =
  /^(data\.(?!root|workers|cache|cache_gb|timeout_s|max_pixels|verify)|train\.(?!log_every|checkpoint_every|keep|on_nan|tensorboard|distill_from$)|model\.(pretrained|size|image_size|patch_size|embed_dim|depth|heads)$)/;

/**
 * What runs differ in besides variant, KV heads and seed, by run: values of those keys alone that are not the same in
 * all.
 */
export function protocolAxes(runs: readonly string[]): AxisValues[] {
  const configs = runs.map((run) => byDottedKey(configIn(run)));
  const keys = [...new Set(configs.flatMap((config) => [...config.keys()]))].filter(
    (key) => PROTOCOL.test(key) && new Set(configs.map((config) => JSON.stringify(config.get(key)))).size > 1,
  );
  return configs.map((config) => Object.fromEntries(keys.map((key) => [key, wordOf(config.get(key))])));
}

/** As configs have it: text without quotes. */
export const wordOf = (value: unknown): string =>
  value === undefined ? '–' : typeof value === 'string' ? value : JSON.stringify(value);

/** `gqa, K = 3`, and its axes. */
export const methodName = ({
  variant,
  kvHeads,
  axes,
}: {
  variant: string;
  kvHeads: number;
  axes: AxisValues;
}): string => `${variant}, K = ${kvHeads}${inWords(axes)}`;

const textsOf = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];

function matrixOf(value: unknown): number[][] | null {
  const isRow = (row: unknown): row is number[] => Array.isArray(row) && row.every((each) => typeof each === 'number');
  return Array.isArray(value) && value.length > 0 && value.every(isRow) ? value : null;
}

function environmentOf(meta: Record<string, unknown>): Record<string, string> {
  const versions = (meta.versions ?? {}) as Record<string, unknown>;
  const git = meta.git as { commit?: string; dirty?: boolean } | null | undefined;
  const found: Record<string, unknown> = {
    processor: meta.cpu,
    cores: meta.cores,
    device: meta.device,
    platform: meta.platform,
    ...versions,
    commit: git?.commit === undefined ? undefined : `${git.commit.slice(0, 12)}${git.dirty ? ', changed' : ''}`,
  };
  return Object.fromEntries(
    Object.entries(found).flatMap(([key, value]) =>
      value === undefined || value === null ? [] : [[key, String(value)]],
    ),
  );
}
