/**
 * Whether a data set is whole: every image decoded, classes counted against the official counts, the same pixels looked
 * for in two places.
 */
import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { relative } from 'node:path';
import { counted } from '../../counted.js';
import { GqaError } from '../../errors.js';
import { type Dataset, SPLIT_NAMES, type SplitName, splitsOf } from '../dataset.js';
import { imageAt } from '../images/decode.js';
import { type Image, interleaved } from '../images/image.js';
import { type CatalogueEntry, perClassList } from '../sets/published.js';

/** What is said of each split that the data set has. */
type BySplit<T> = Partial<Record<SplitName, T>> & { train: T };

/** What the official lists say; null where nobody says. */
export type Official = Pick<CatalogueEntry, 'classes' | 'images' | 'perClass'>;

export interface SplitReport {
  images: number;
  /** By class index. */
  per_class: number[];
  /** Of what decoded: smallest and largest height and width; null when nothing did. */
  height: [number, number] | null;
  width: [number, number] | null;
  /** Images that do not decode. */
  broken: { image: string; reason: string }[];
  /** Images that are damaged and decode as far as they go. */
  damaged: { image: string; reason: string }[];
}

/** Groups of images with the same pixels. */
export interface Duplicates {
  /** Groups within a split, and how many images of it are in one. */
  within: BySplit<{ groups: number; images: number }>;
  /** Groups with images of several splits, and how many test (and validation) images are in one. */
  across: { groups: number; test_images: number; val_images?: number };
  /** Groups whose images have different labels. */
  labels_differ: number;
  /** The first groups, those across splits before the others. */
  examples: { image: string; split: SplitName; class: string }[][];
}

export interface VerifyReport {
  name: string;
  from: string;
  /**
   * What is wrong; empty: nothing. Duplicates are reported, but are no fault of a copy: some official sets have them.
   */
  problems: string[];
  /** Whether there were official counts to compare with. */
  official: boolean;
  classes: string[];
  splits: BySplit<SplitReport>;
  duplicates: Duplicates;
}

export interface VerifyWatch {
  progress(done: number): void;
  signal?: AbortSignal | undefined;
}

const EXAMPLES = 20;
/** Of broken images and of classes with a wrong count, in `problems`; the report has all. */
const NAMED = 10;

interface Seen {
  split: SplitName;
  index: number;
  label: number;
}

/**
 * Looks at every image of every split.
 * @param official null: nothing to compare counts with
 * Errors: the signal's reason when aborted; what is wrong with the data is in the report
 */
export async function verifyDataset(
  dataset: Dataset,
  official: Official | null,
  watch: VerifyWatch,
): Promise<VerifyReport> {
  const byPixels = new Map<string, Seen[]>();
  let done = 0;
  const splits = {} as BySplit<SplitReport>;
  for (const split of splitsOf(dataset)) {
    const { name } = split;
    const report: SplitReport = {
      images: split.labels.length,
      per_class: countLabels(split.labels, dataset.classes.length),
      height: null,
      width: null,
      broken: [],
      damaged: [],
    };
    splits[name] = report;
    await inParallel(split.labels.length, async (index) => {
      watch.signal?.throwIfAborted();
      try {
        const image = await imageAt(split.source, index, null);
        if (image.damage !== null)
          report.damaged.push({ image: imageName(dataset, name, index), reason: image.damage });
        report.height = widen(report.height, image.height);
        report.width = widen(report.width, image.width);
        const hash = hashOf(image);
        const same = byPixels.get(hash);
        const seen = { split: name, index, label: split.labels[index] ?? 0 };
        if (same === undefined) byPixels.set(hash, [seen]);
        else same.push(seen);
      } catch (error) {
        if (!(error instanceof GqaError)) throw error;
        report.broken.push({ image: imageName(dataset, name, index), reason: error.message });
      }
      watch.progress(++done);
    });
    for (const list of [report.broken, report.damaged]) list.sort((a, b) => (a.image < b.image ? -1 : 1));
  }
  return {
    name: dataset.name,
    from: dataset.from,
    problems: problemsOf(dataset, splits, official),
    official: official !== null,
    classes: dataset.classes,
    splits,
    duplicates: duplicatesOf(dataset, byPixels),
  };
}

/** As many at once as there are cores: files are decoded outside the main thread. */
async function inParallel(count: number, act: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      const index = next++;
      await act(index);
      // raw images need no waiting, but progress and signals need a turn
      if (index % 16 === 0) await new Promise(setImmediate);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}

/** Below the data set's folder; raw images have a number only. */
function imageName(dataset: Dataset, split: SplitName, index: number): string {
  const source = dataset[split]?.source;
  if (source === undefined) return '';
  if (source.kind === 'encoded') return source.names[index] ?? '';
  return source.kind === 'files' ? relative(dataset.from, source.paths[index] ?? '') : `${split} image ${index}`;
}

/** Of size and RGB pixels: what is stored as grey and what is stored as equal channels are the same image. */
function hashOf(image: Image): string {
  const size = `${image.height}x${image.width} `;
  return createHash('sha256').update(size).update(interleaved(image)).digest('base64');
}

function countLabels(labels: Int32Array, classes: number): number[] {
  const counts = Array.from({ length: classes }, () => 0);
  for (const label of labels) counts[label]!++;
  return counts;
}

const widen = (range: [number, number] | null, value: number): [number, number] =>
  range === null ? [value, value] : [Math.min(range[0], value), Math.max(range[1], value)];

function problemsOf(dataset: Dataset, splits: BySplit<SplitReport>, official: Official | null): string[] {
  const problems: string[] = [];
  const found = dataset.classes.length;
  if (official !== null && found !== official.classes)
    problems.push(`${counted(found, 'class')}; ${official.classes} are official`);
  for (const name of SPLIT_NAMES) {
    const report = splits[name];
    if (report === undefined) continue;
    const { images, per_class, broken, damaged } = report;
    // No official set is brought with a validation part.
    if (name !== 'val' && official !== null && images !== official.images[name]) {
      problems.push(`${name}: ${counted(images, 'image')}; ${official.images[name]} are official`);
    }
    if (name !== 'val' && official?.perClass && found === official.classes) {
      const wanted = perClassList(official.perClass[name], found);
      const off = per_class.flatMap((count, c) =>
        count === wanted[c] ? [] : [`${dataset.classes[c]} ${count} instead of ${wanted[c]}`],
      );
      if (off.length > 0)
        problems.push(`${name}: ${counted(off.length, 'class')} with another number of images: ${someOf(off)}`);
    }
    for (const [list, one, more] of [
      [broken, 'image does not decode', 'images do not decode'],
      [damaged, 'image is damaged and decodes as far as it goes', 'images are damaged and decode as far as they go'],
    ] as const) {
      const lines = list.map(({ reason }) => `  ${reason}`);
      if (list.length > 0)
        problems.push(`${name}: ${list.length} ${list.length === 1 ? one : more}:\n${someOf(lines, '\n')}`);
    }
  }
  return problems;
}

function someOf(items: readonly string[], between = ', '): string {
  const rest = items.length - NAMED;
  return [...items.slice(0, NAMED), ...(rest > 0 ? [`${between === '\n' ? '  ' : ''}and ${rest} more`] : [])].join(
    between,
  );
}

function duplicatesOf(dataset: Dataset, byPixels: Map<string, Seen[]>): Duplicates {
  const groups = [...byPixels.values()].filter((group) => group.length > 1).map(inOrder);
  const of = (group: Seen[], split: SplitName): Seen[] => group.filter((seen) => seen.split === split);
  const within = (split: SplitName) => {
    const own = groups.map((group) => of(group, split).length).filter((count) => count > 1);
    return { groups: own.length, images: own.reduce((sum, count) => sum + count, 0) };
  };
  const across = groups.filter((group) => new Set(group.map(({ split }) => split)).size > 1);
  const inAcross = (split: SplitName): number => across.reduce((sum, group) => sum + of(group, split).length, 0);
  const rest = groups.filter((group) => !across.includes(group));
  return {
    within: {
      train: within('train'),
      ...(dataset.val === null ? {} : { val: within('val') }),
      ...(dataset.test === null ? {} : { test: within('test') }),
    },
    across: {
      groups: across.length,
      test_images: inAcross('test'),
      ...(dataset.val === null ? {} : { val_images: inAcross('val') }),
    },
    labels_differ: groups.filter((group) => new Set(group.map(({ label }) => label)).size > 1).length,
    examples: [...sorted(across), ...sorted(rest)].slice(0, EXAMPLES).map((group) =>
      group.map(({ split, index, label }) => ({
        image: imageName(dataset, split, index),
        split,
        class: dataset.classes[label] ?? '',
      })),
    ),
  };
}

/** Training images first, by index: the order in which parallel decoders came to an end must not show. */
const inOrder = (group: Seen[]): Seen[] =>
  group.sort((a, b) => SPLIT_NAMES.indexOf(a.split) - SPLIT_NAMES.indexOf(b.split) || a.index - b.index);
const sorted = (groups: Seen[][]): Seen[][] =>
  groups.sort(([a], [b]) => SPLIT_NAMES.indexOf(a!.split) - SPLIT_NAMES.indexOf(b!.split) || a!.index - b!.index);
