/** `gqa runs`: which runs there are and how far they are; one of them closely; several side by side. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { byDottedKey } from '../config/resolve.js';
import { configSchema } from '../config/schema.js';
import { GqaError } from '../errors.js';
import { command } from '../invocation.js';
import { columnsOf } from '../run/fit.js';
import { configIn, numberOf, overviewOf, paceOf, type RunOverview, resultsIn, runsBelow } from '../run/overview.js';
import { clock } from '../run/progress.js';
import { type Column, formatTable, percent } from '../run/table.js';
import { sayNext } from './say.js';

export interface RunsOptions {
  what: 'list' | 'show' | 'compare';
  runs: string[];
  runsDir: string;
  json: boolean;
}

/** @throws GqaError `usage` for a folder that is no run */
export async function runs({ what, runs: given, runsDir, json }: RunsOptions): Promise<void> {
  const folders = what === 'list' ? runsBelow(runsDir) : given.map(required);
  if (what !== 'list' && (folders.length === 0 || (what === 'show' && folders.length > 1)))
    throw new GqaError('usage', `runs ${what} needs ${what === 'show' ? 'one run folder' : 'run folders'}`, {
      hint: `${command('runs')} lists them.`,
    });
  const found = folders.map(overviewOf);
  if (json)
    process.stdout.write(
      `${JSON.stringify(what === 'show' ? { ...found[0], ...detailsOf(folders[0] as string) } : found)}\n`,
    );
  else if (what === 'list') {
    process.stdout.write(found.length === 0 ? `no runs below ${runsDir}\n` : listed(found));
    const newest = found.at(-1);
    if (newest !== undefined) sayNext(`runs show ${newest.run}`);
  } else process.stdout.write(what === 'show' ? shown(found[0] as RunOverview) : compared(found));
}

function required(folder: string): string {
  if (existsSync(path.join(folder, 'status.json'))) return folder;
  throw new GqaError('usage', `${folder}: not a run folder: it holds no status.json`, {
    hint: `${command('runs')} lists them.`,
  });
}

const COLUMNS: Column[] = [
  { title: 'run' },
  { title: 'state' },
  { title: 'variant' },
  { title: 'KV heads', align: 'right' },
  { title: 'seed', align: 'right', optional: true },
  { title: 'epoch', align: 'right' },
  { title: 'step', align: 'right', optional: true },
  { title: 'best top-1', align: 'right' },
  { title: 'test top-1', align: 'right' },
  { title: 'took', align: 'right', optional: true },
  { title: 'last heard of', optional: true },
];

const cell = (value: number | string | null): string => (value === null ? '–' : String(value));

const listed = (found: RunOverview[]): string =>
  formatTable(
    COLUMNS,
    found.map((one) => [
      ...[one.run, one.state, cell(one.variant), cell(one.kv_heads), cell(one.seed)],
      ...[`${one.epoch}/${cell(one.epochs)}`, String(one.step), percent(one.best_top1), percent(one.test_top1)],
      ...[one.seconds === null ? '–' : clock(one.seconds), cell(one.updated)],
    ]),
    columnsOf(process.stdout),
  );

/** Keys of its config that are other than the defaults, figures by epoch, and where the time went. */
function detailsOf(run: string) {
  const config = configIn(run);
  const rows = resultsIn(run).filter(({ row }) => row === 'epoch');
  const of = (column: keyof (typeof rows)[number]): (number | null)[] => rows.map((row) => numberOf(row[column]));
  return {
    config: changedKeys(config),
    curves: { train_loss: of('train_loss'), val_top1: of('val_top1'), test_top1: of('test_top1') },
    ...paceOf(rows),
  };
}

function changedKeys(config: ReturnType<typeof configIn>): Record<string, unknown> {
  const least = { name: config.name, data: { name: config.data?.name }, model: { size: config.model?.size } };
  const defaults = configSchema.safeParse(least).data as Record<string, unknown> | undefined;
  if (defaults === undefined) return {};
  const usual = byDottedKey(defaults);
  return Object.fromEntries(
    [...byDottedKey(config)].filter(([key, value]) => !isDeepStrictEqual(usual.get(key) ?? null, value ?? null)),
  );
}

const BLOCKS = '▁▂▃▄▅▆▇█';

/** A line of block characters, the lowest value the lowest block; a gap where nothing was measured. */
export function sparkline(values: readonly (number | null)[]): string {
  const known = values.filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  return values
    .map((value) => (value === null ? ' ' : BLOCKS[high === low ? 3 : Math.round((7 * (value - low)) / (high - low))]))
    .join('');
}

function shown(one: RunOverview): string {
  const { config, curves, images_per_s, data_wait } = detailsOf(one.run);
  const curve = (title: string, values: (number | null)[], word: (value: number) => string): string[] => {
    const known = values.filter((value) => value !== null);
    if (known.length === 0) return [];
    return [`  ${title.padEnd(12)}${sparkline(values)}  ${word(known[0] as number)} → ${word(known.at(-1) as number)}`];
  };
  const again = one.state === 'done' ? `eval ${one.run}` : `train --resume ${one.run}`;
  return [
    `${one.run}: ${one.state}, epoch ${one.epoch}/${cell(one.epochs)}, step ${one.step}, last heard of ${cell(one.updated)}`,
    `  best top-1 ${percent(one.best_top1)}, test top-1 ${percent(one.test_top1)}`,
    ...curve('train loss', curves.train_loss, (value) => value.toFixed(4)),
    ...curve('val top-1', curves.val_top1, percent),
    ...curve('test top-1', curves.test_top1, percent),
    ...(images_per_s === null
      ? []
      : [
          `  time: ${one.seconds === null ? '–' : clock(one.seconds)} in all, training ${images_per_s.toFixed(1)} images/s, ${percent(data_wait)} of it waiting for images`,
        ]),
    '  config, where it is not the default:',
    ...Object.entries(config).map(([key, value]) => `    ${key}: ${JSON.stringify(value)}`),
    `next: ${command(again)}`,
    '',
  ].join('\n');
}

/** Figures and the keys in which they differ, a column a run. */
function compared(found: RunOverview[]): string {
  const configs = found.map(({ run }) => detailsOf(run).config);
  const keys = [...new Set(configs.flatMap((config) => Object.keys(config)))].filter(
    (key) => key !== 'name' && !configs.every((config) => isDeepStrictEqual(config[key], configs[0]?.[key])),
  );
  const rows: [string, string[]][] = [
    ['state', found.map(({ state }) => state)],
    ['epoch', found.map(({ epoch, epochs }) => `${epoch}/${cell(epochs)}`)],
    ['best top-1', found.map(({ best_top1 }) => percent(best_top1))],
    ['test top-1', found.map(({ test_top1 }) => percent(test_top1))],
    ['took', found.map(({ seconds }) => (seconds === null ? '–' : clock(seconds)))],
    ...keys.map((key): [string, string[]] => [
      key,
      configs.map((config) => (config[key] === undefined ? 'default' : JSON.stringify(config[key]))),
    ]),
  ];
  return formatTable(
    [{ title: '' }, ...found.map(({ run }): Column => ({ title: run, align: 'right' }))],
    rows.map(([title, cells]) => [title, ...cells]),
    columnsOf(process.stdout),
  );
}
