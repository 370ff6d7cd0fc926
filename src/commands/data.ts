/** `gqa data list | fetch | verify`: which data sets there are, bringing one here, and whether one is whole. */
import path from 'node:path';
import { closest } from '../config/expectations.js';
import { type DataName, dataNames } from '../config/names.js';
import { counted } from '../counted.js';
import { SPLIT_NAMES, type SplitName, splitsOf } from '../data/dataset.js';
import { type FetchWatch, fetchDataset, type Needed } from '../data/fetch/fetch.js';
import { overviewPng } from '../data/inspect/overview.js';
import { type SplitReport, type VerifyReport, verifyDataset } from '../data/inspect/verify.js';
import { openDataset, whereIs } from '../data/open.js';
import type { CatalogueEntry } from '../data/sets/published.js';
import { catalogue } from '../data/sets.js';
import type { Patience } from '../download/download.js';
import { GqaError } from '../errors.js';
import { checkFile, writeFileAtomic } from '../files/atomic.js';
import { command, projectFile } from '../invocation.js';
import { columnsOf } from '../run/fit.js';
import { interruption, type Stop } from '../run/interrupt.js';
import { type Progress, progress } from '../run/progress.js';
import { type Column, formatTable } from '../run/table.js';
import { say } from './say.js';

export interface DataListOptions {
  root: string;
  json: boolean;
}

type Catalogue = Readonly<Record<string, CatalogueEntry>>;

export interface DataFetchOptions {
  name: string;
  root: string;
  mirror?: string;
  offline: boolean;
  json: boolean;
}

/**
 * @param known what can be fetched, and @param patient how patiently; tests give their own
 * @throws GqaError as `fetchDataset`; `usage` for a name that is not known
 */
export async function dataFetch(
  options: DataFetchOptions,
  stop: Stop,
  known: Catalogue = catalogue,
  patient?: Patience,
): Promise<void> {
  const { name, root, mirror, offline } = options;
  const entry = entryOf(name, known);
  if (!options.json) say(`${entry.title}, ${entry.page}\nterms: ${entry.terms}`);
  const result = await fetchDataset(
    name,
    entry,
    { root, mirror, offline, ...(patient === undefined ? {} : { patient }) },
    { ...terminal(), signal: stop.signal },
  );
  if (options.json) process.stdout.write(`${JSON.stringify({ name, ...result })}\n`);
  else if (result.state === 'needed') process.stdout.write(instructions(name, root, result.files));
  else
    process.stdout.write(
      `${name}: ${result.state === 'present' ? 'there already' : 'installed'} in ${result.folder}\n`,
    );
}

/** Every data set that a config may name. */
export async function dataList({ root, json }: DataListOptions, known: Catalogue = catalogue): Promise<void> {
  const sets = dataNames.map((name) => {
    const entry = known[name];
    const { folder, tried } = whereIs({ name, root });
    return {
      name,
      title: entry?.title ?? null,
      classes: entry?.classes ?? null,
      images: entry?.images ?? null,
      download_bytes: entry === undefined ? null : entry.downloads.reduce((sum, { bytes }) => sum + bytes, 0),
      present: name === 'image-folder' ? null : folder !== null,
      folder: name === 'image-folder' ? null : folder,
      looked_for_in: tried,
      fetch: entry === undefined ? null : command(`data fetch ${name}`),
      terms: entry?.terms ?? null,
      page: entry?.page ?? null,
    };
  });
  if (json) {
    process.stdout.write(`${JSON.stringify({ root: path.resolve(root), sets })}\n`);
    return;
  }
  const columns: Column[] = [
    { title: 'data.name' },
    { title: 'classes', align: 'right', optional: true },
    { title: 'train', align: 'right', optional: true },
    { title: 'test', align: 'right', optional: true },
    { title: 'download', align: 'right' },
    { title: 'here' },
    { title: 'in, or how to get it' },
  ];
  const rows = sets.map(({ name, classes, images, download_bytes, present, folder, fetch }) => [
    name,
    String(classes ?? '–'),
    String(images?.train ?? '–'),
    String(images?.test ?? '–'),
    download_bytes === null ? '–' : `${(download_bytes / 1e6).toFixed(0)} MB`,
    present === null ? '–' : present ? 'yes' : 'no',
    folder ??
      fetch ??
      (name === 'image-folder'
        ? 'train/<class>/*, val/<class>/*, test/<class>/* in data.root'
        : `see ${projectFile('datasets/README.md')}`),
  ]);
  process.stdout.write(
    `${formatTable(columns, rows, columnsOf(process.stdout))}Looked for below ${path.resolve(root)} (--root); every place that is tried: --json.\n`,
  );
}

export interface DataVerifyOptions {
  name: string;
  root: string;
  /** PNG to write. */
  overview?: string;
  /** JSON to write. */
  report?: string;
  json: boolean;
}

/**
 * @param known where the official counts stand; tests give their own
 * @throws GqaError `data` when something is wrong, after the report was given; `usage` for a name that is none; `io`
 *   for a file that cannot be written, before anything is read
 */
export async function dataVerify(options: DataVerifyOptions, stop: Stop, known: Catalogue = catalogue): Promise<void> {
  const name = dataNameOf(options.name);
  for (const file of [options.report, options.overview]) if (file !== undefined) checkFile(file);
  const dataset = await stop.during(openDataset({ name, root: options.root }));
  dataset.notices.forEach(say);
  const total = splitsOf(dataset).reduce((sum, { labels }) => sum + labels.length, 0);
  const bar = progress(`verifying ${name}`, total);
  const started = performance.now();
  let report: VerifyReport;
  try {
    report = await verifyDataset(dataset, known[name] ?? null, {
      progress: (done) => bar.update(done, { imagesPerSecond: (1000 * done) / (performance.now() - started) }),
      signal: stop.signal,
    });
  } catch (error) {
    throw stop.signal.aborted ? interruption(stop.signal, '; nothing was written') : error;
  } finally {
    bar.stop();
  }
  process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : formatReport(report));
  if (options.report !== undefined) writeFileAtomic(options.report, `${JSON.stringify(report, null, 2)}\n`);
  if (options.overview !== undefined) writeFileAtomic(options.overview, await stop.during(overviewPng(dataset)));
  if (report.problems.length > 0) {
    throw new GqaError(
      'data',
      `${name} in ${dataset.from} is not the official data set, or is damaged:\n${report.problems.join('\n')}`,
      {
        hint:
          known[name] === undefined
            ? 'Replace the images named.'
            : `${command(`data fetch ${name}`)} brings it afresh into another --root.`,
      },
    );
  }
}

function dataNameOf(name: string): DataName {
  const found = dataNames.find((known) => known === name);
  if (found !== undefined) return found;
  const near = closest(name, dataNames);
  throw new GqaError('usage', `${JSON.stringify(name)} is no data set`, {
    hint: `${near === undefined ? '' : `Did you mean ${near}? `}Known: ${dataNames.join(', ')}.`,
  });
}

function formatReport({ name, from, official, classes, splits, duplicates, problems }: VerifyReport): string {
  const range = ([low, high]: [number, number]): string => (low === high ? `${low}` : `${low}–${high}`);
  const described = (of: SplitName, { images, per_class, height, width, broken, damaged }: SplitReport): string => {
    const [least, most] = per_class.reduce(
      ([low, high], count) => [Math.min(low, count), Math.max(high, count)],
      [Infinity, 0],
    );
    const size = height === null || width === null ? '' : `, ${range(height)} high and ${range(width)} wide`;
    return `${of}: ${counted(images, 'image')}, ${range([least, most])} a class${size}, ${broken.length} broken${damaged.length > 0 ? `, ${damaged.length} damaged` : ''}`;
  };
  const { within, across, labels_differ } = duplicates;
  const called: Record<SplitName, string> = { train: 'training', val: 'validation', test: 'test' };
  const each = <T>(of: Partial<Record<SplitName, T>>, tell: (name: SplitName, item: T) => string): string[] =>
    SPLIT_NAMES.flatMap((split) => (of[split] === undefined ? [] : [tell(split, of[split])]));
  const alsoIn = (count: number, of: string, where: string): string =>
    `${counted(count, `${of} image`)} ${count === 1 ? 'is' : 'are'} also in ${where}`;
  const elsewhere = [
    ...(splits.test === undefined
      ? []
      : [alsoIn(across.test_images, 'test', splits.val === undefined ? 'train' : 'another split')]),
    ...(across.val_images === undefined ? [] : [alsoIn(across.val_images, 'validation', 'another split')]),
  ];
  return [
    `${name} in ${from}: ${counted(classes.length, 'class')}`,
    ...each(splits, described),
    `same pixels: ${each(within, (split, { images, groups }) => `${counted(images, `${called[split]} image`)} in ${counted(groups, 'group')}`).join(', ')}; ` +
      `${[...elsewhere, `in ${counted(labels_differ, 'group')} labels differ`].join('; ')}`,
    ...duplicates.examples
      .slice(0, 3)
      .map((group) => `  ${group.map((seen) => `${seen.image} (${seen.class})`).join(' = ')}`),
    problems.length > 0
      ? `wrong: ${problems.length}`
      : official
        ? 'counts are the official ones; every image decodes'
        : 'every image decodes; there are no official counts to compare with',
    '',
  ].join('\n');
}

function entryOf(name: string, known: Catalogue): CatalogueEntry {
  const entry = Object.hasOwn(known, name) ? known[name] : undefined;
  if (entry !== undefined) return entry;
  const near = closest(name, Object.keys(known));
  const own = (dataNames as readonly string[]).includes(name);
  throw new GqaError(
    'usage',
    own
      ? `${name} has no official address to fetch it from`
      : `${JSON.stringify(name)} is no data set that can be fetched`,
    {
      hint: `${near === undefined || own ? '' : `Did you mean ${near}? `}Known: ${Object.keys(known).join(', ')}.`,
    },
  );
}

function instructions(name: string, root: string, files: readonly Needed[]): string {
  const lines = files.flatMap(({ url, place, bytes, sha256, md5 }) => [
    url,
    `  as        ${place}`,
    `  bytes     ${bytes}`,
    ...(sha256 === null ? [] : [`  sha256    ${sha256}`]),
    `  md5       ${md5}`,
  ]);
  return [`${name} needs:`, ...lines, `Then: ${command(`data fetch ${name} --root ${root} --offline`)}`, ''].join('\n');
}

/** A bar begins with the first bytes: until then the server is asked and asked again, and no time goes by in vain. */
function terminal(): Pick<FetchWatch, 'progress' | 'notice'> {
  return {
    progress(label, total, from) {
      let bar: Progress | null = null;
      return {
        update(now) {
          bar ??= progress(label, total, { unit: 'bytes', from, stays: true });
          bar.update(now);
        },
        stop: () => bar?.stop(),
      };
    },
    notice: say,
  };
}
