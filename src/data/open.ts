/** From the config's `data` to a data set: where its files are looked for, and which of its forms is there. */
import { resolve } from 'node:path';
import { defaultDataRoot } from '../config/names.js';
import { GqaError } from '../errors.js';
import { command } from '../invocation.js';
import { withCommonSize } from './common-size.js';
import type { Dataset, Evaluable, Take } from './dataset.js';
import type { WantedSplit } from './formats/image-folder.js';
import type { Reading } from './reading.js';
import type { Layout, Wanted } from './sets/layout.js';
import { SETS } from './sets.js';

/**
 * Reads a data set: raw ones whole into shared memory, of image folders the list of files. `Dataset.from` tells which
 * folder was taken: root itself before folders below it.
 * @param take of data sets that are held as encoded images: which of them. Left out: all
 * @param reading how images are read where a common size is looked for; left out: it is not
 * Errors: exit 3 for missing or bad files.
 */
export async function openDataset(wanted: Wanted, take?: Take, reading?: Reading): Promise<Dataset> {
  const { layout, folder } = place(wanted);
  const dataset = await layout.read(folder, wanted, take);
  return reading === undefined ? dataset : withCommonSize(dataset, reading);
}

/** The same for an evaluation of one split: a data set of class folders needs no other split then. */
export async function openSplit(
  wanted: Wanted,
  split: WantedSplit,
  take?: Take,
  reading?: Reading,
): Promise<Evaluable> {
  const { found, places } = look(wanted);
  const { layout, folder } = found ?? places.find((at) => at.layout.holds?.(at.folder, split.split)) ?? place(wanted);
  const dataset = layout.readSplit?.(folder, wanted, split) ?? (await layout.read(folder, wanted, take));
  return reading === undefined ? dataset : withCommonSize(dataset, reading);
}

/** Errors: exit 3 with all places when none holds the data set. */
function place(wanted: Wanted): Place {
  const { name } = wanted;
  const { found, places } = look(wanted);
  if (found !== undefined) return found;
  const layouts = SETS[name].layouts;
  const tried = layouts.map((layout) =>
    [
      `${layout.expected} in one of:`,
      ...inLines(places.filter((place) => place.layout === layout).map(({ folder }) => folder)),
    ].join('\n'),
  );
  throw new GqaError('data', `${name} was not found; expected ${tried.join('\nor ')}`, {
    hint: [...fetching(wanted), ...layouts.flatMap(({ hint }) => hint ?? [])].join('\n'),
  });
}

/** The first place on a line of its own: that is where most people look. */
function inLines([first, ...others]: string[]): string[] {
  return [`  ${first}`, ...(others.length > 0 ? [`  ${others.join(', ')}`] : [])];
}

function fetching({ name, root }: Pick<Wanted, 'name' | 'root'>): string[] {
  const where = root === defaultDataRoot ? '' : ` --root ${/^[\w./-]+$/.test(root) ? root : JSON.stringify(root)}`;
  return SETS[name].fetch === null
    ? []
    : [`${command(`data fetch ${name}${where}`)} downloads it, checks it and unpacks it there.`];
}

/**
 * Where a data set is looked for, in order, and the folder that would be read: the first that holds one of its files.
 * null: none.
 */
export function whereIs(wanted: Pick<Wanted, 'name' | 'root'>): { folder: string | null; tried: string[] } {
  const { found, places } = look(wanted);
  return { folder: found?.folder ?? null, tried: [...new Set(places.map(({ folder }) => folder))] };
}

interface Place {
  layout: Layout;
  folder: string;
}

/** The places of a data set, root itself before folders below it, and the first that holds it. */
function look({ name, root }: Pick<Wanted, 'name' | 'root'>): { found: Place | undefined; places: Place[] } {
  // A root that was chosen is meant: only where none was is another place good enough.
  const elsewhere = (layout: Layout): readonly string[] =>
    root === defaultDataRoot ? (layout.systemFolders ?? []) : [];
  const all = SETS[name].layouts.flatMap((layout) =>
    [...layout.folders, ...elsewhere(layout)].map((folder) => ({
      layout,
      folder: resolve(root, folder),
      isRoot: folder === '',
    })),
  );
  const places = [...all.filter(({ isRoot }) => isRoot), ...all.filter(({ isRoot }) => !isRoot)];
  return { found: places.find(({ layout, folder }) => layout.isIn(folder)), places };
}
