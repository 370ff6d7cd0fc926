/**
 * Any data set as folders of images, one folder a class: the layout of torchvision's ImageFolder, once for each split.
 */
import { extname, join } from 'node:path';
import { counted } from '../../counted.js';
import { GqaError } from '../../errors.js';
import { command } from '../../invocation.js';
import type { Dataset, Evaluable, Split, SplitName } from '../dataset.js';
import { type Entry, entriesOf, isFolderIn } from '../files.js';
import { type FolderLayout, wrongLayout } from './folder-layouts.js';
import { IMAGE_ENDINGS, isFolder, type ListedSplit, listSplit, someOf } from './list-images.js';

/** What is to be read of the folders. */
export interface FolderReading {
  /** What a folder `val` plays: the validation part, or the test split (of a data set that has no other). */
  valIs: 'validation' | 'test';
}

/** What an evaluation asks for, which needs no other split. */
export interface WantedSplit {
  split: SplitName;
  /**
   * Class names in the order of the checkpoint's outputs; null: it carries none. They count where there is no training
   * split.
   */
  classes: readonly string[] | null;
}

/**
 * Lists the images below root/<split>/<class>/. Classes are sorted by code point, as torchvision's are, so that labels
 * agree; images by name. Names beginning with '.' and files that are no images are ignored. All splits must have the
 * same classes. Errors: exit 3, with the expected layout or both lists of classes.
 */
export function readImageFolder(
  name: string,
  root: string,
  layout: FolderLayout,
  reading: FolderReading = { valIs: 'validation' },
): Dataset {
  const { folders, notices: found } = splitFolders(root, layout, reading);
  const notices = [...found];
  const train = folders.train;
  if (train === null) throw withoutTraining(root, layout);
  if (folders.test === null && folders.val === null)
    throw wrongLayout(root, layout, `${join(root, layout.test)} is not there`);
  const read = {
    train: listSplit(root, 'train', train, layout),
    val: listed(root, 'val', folders.val, layout),
    test: listed(root, 'test', folders.test, layout),
  };
  const { classes } = read.train;
  for (const other of [read.val, read.test]) if (other !== null) requireSameClasses(root, read.train, other);
  if (read.val !== null)
    notices.push(
      `${join(root, read.val.folder)} is the validation part: nothing is taken from ${train} for it (data.val_fraction does nothing)`,
    );
  if (read.test === null) {
    notices.push(
      `${root} has no test split: no test figures (data.val_is: test has ${read.val?.folder} play it, and takes the validation part from ${train})`,
    );
  }
  notices.push(...[read.train, read.val, read.test].flatMap((split) => split?.notices ?? []));
  return {
    name,
    from: root,
    classes,
    train: read.train.split,
    val: read.val?.split ?? null,
    test: read.test?.split ?? null,
    notices,
  };
}

/**
 * The same for an evaluation: the wanted split is enough, and where root has no split's folder, but class folders with
 * images, root itself is the wanted split. Without a training split labels are positions in the checkpoint's class
 * names, where it carries them: a class may then have no image here. Errors: exit 3 as above, also for a class that the
 * checkpoint does not know.
 */
export function readWantedSplit(
  name: string,
  root: string,
  layout: FolderLayout,
  reading: FolderReading,
  wanted: WantedSplit,
): Evaluable {
  const own = classFoldersIn(root);
  const itself =
    own.length > 0 &&
    [layout.train, ...layout.val, layout.test].every((split) => own.includes(split) || !isFolder(join(root, split)));
  const { folders, notices } = itself ? NO_SPLITS : splitFolders(root, layout, reading);
  if (folders.train !== null && (folders.test !== null || folders.val !== null))
    return readImageFolder(name, root, layout, reading);
  const folder = itself ? '' : folders[wanted.split];
  if (folder === null) {
    const there = Object.values(folders).filter((found) => found !== null);
    throw wrongLayout(
      root,
      layout,
      `${root} has no ${wanted.split} split${there.length > 0 ? ` (it has ${there.join(', ')})` : ''}`,
    );
  }
  const read = listSplit(root, wanted.split, folder, layout);
  const reported = [...notices, ...read.notices];
  if (itself)
    reported.push(
      `${root} has no folders of splits: its ${read.classes.length} class folders are the ${wanted.split} split`,
    );
  const given = wanted.split === 'train' ? null : wanted.classes;
  const { split, classes } = given === null ? read : relabelled(root, read, given);
  if (given !== null && classes.length > read.classes.length) {
    const without = classes.filter((label) => !read.classes.includes(label));
    reported.push(
      `${join(root, folder)} has no images of ${without.length} of the checkpoint's ${classes.length} classes: ${someOf(without)}`,
    );
  }
  return { name, from: root, classes, ...NO_SPLITS.folders, [wanted.split]: split, notices: reported };
}

const NO_SPLITS = { folders: { train: null, val: null, test: null }, notices: [] as readonly string[] };

/** Labels as positions in the checkpoint's names. */
function relabelled(
  root: string,
  { folder, classes, split }: ListedSplit,
  names: readonly string[],
): { classes: string[]; split: Split } {
  const unknown = classes.filter((label) => !names.includes(label));
  if (unknown.length > 0) {
    throw new GqaError(
      'data',
      `${join(root, folder)} has classes that the checkpoint does not know: ${someOf(unknown)}; it knows ${someOf([...names])}`,
      {
        hint: 'Name the class folders as those that the checkpoint was trained on.',
      },
    );
  }
  const positions = classes.map((label) => names.indexOf(label));
  return { classes: [...names], split: { ...split, labels: split.labels.map((label) => positions[label] ?? 0) } };
}

/**
 * Which folder of root is which split, and what is to be reported of the others. Errors: exit 3 for names that leave a
 * choice.
 */
function splitFolders(
  root: string,
  layout: FolderLayout,
  { valIs }: FolderReading,
): { folders: Record<SplitName, string | null>; notices: readonly string[] } {
  const entries = isFolder(root) ? entriesOf(root) : [];
  const splits = [layout.train, ...layout.val, layout.test];
  // Only a link that is named as a split must lead somewhere.
  const folder = (entry: Entry): boolean =>
    splits.includes(entry.name) ? isFolderIn(root, entry) : entry.kind === 'folder' || isFolder(join(root, entry.name));
  const names = entries.filter((entry) => entry.kind !== 'file' && folder(entry)).map(({ name }) => name);
  // On a file system that takes Train for train, so does this.
  const there = (wanted: string): string | null =>
    names.includes(wanted) || isFolder(join(root, wanted)) ? (names.find((name) => name === wanted) ?? wanted) : null;
  const train = there(layout.train);
  const vals = layout.val.filter((folder) => there(folder) !== null);
  const test = there(layout.test);
  for (const [role, wanted, found] of [
    ['train', [layout.train], train],
    ['val', layout.val, vals[0] ?? null],
    ['test', [layout.test], test],
  ] as const) {
    if (found !== null || wanted.length === 0) continue;
    const near = names.find(
      (name) => NEAR_NAMES[role].test(name) && !splits.includes(name) && layout.unread?.[name] === undefined,
    );
    if (near === undefined || classFoldersIn(root).includes(near)) continue;
    throw new GqaError(
      'data',
      `${join(root, near)} looks like a split, but is not named like one; expected ${wanted.join(' or ')}`,
      {
        hint: `Rename it to ${wanted[0]}, or take it out of ${root}.`,
      },
    );
  }
  if (vals.length > 1) {
    throw new GqaError('data', `${root} has ${vals.join(' and ')}: which is the validation part?`, {
      hint: 'Leave one of them in the folder.',
    });
  }
  const val = vals[0] ?? null;
  if (valIs === 'test' && (val === null || test !== null)) {
    const why = val === null ? `has no ${layout.val.join(' or ')}` : `has ${val} and ${test}`;
    throw new GqaError('usage', `data.val_is is test, but ${root} ${why}`, {
      hint: 'It is for folders with train and val alone.',
    });
  }
  const used = [train, val, test].filter((folder) => folder !== null);
  const lower = used.map((folder) => folder.toLowerCase());
  const beside = names.filter(
    (name) => !used.includes(name) && (names.includes(name.toLowerCase()) || !lower.includes(name.toLowerCase())),
  );
  const reported = beside.filter((folder) => layout.unread?.[folder] !== undefined);
  const others = used.length === 0 ? [] : beside.filter((folder) => !reported.includes(folder));
  const notices = reported.map((folder) => `${join(root, folder)} is not read: ${layout.unread?.[folder]}`);
  if (others.length > 0) notices.push(`${root}: only ${used.join(', ')} are read, not ${someOf(others)}`);
  return { folders: valIs === 'test' ? { train, val: null, test: val } : { train, val, test }, notices };
}

/** What people call a split, and what would be left out if it were not reported. */
const NEAR_NAMES: Record<SplitName, RegExp> = {
  train: /^(train|training|trainset|train_?(set|data|images))$/i,
  val: /^(val|valid|validation|dev|eval|val_?(set|data|images))$/i,
  test: /^(test|testing|tests|testset|test_?(set|data|images))$/i,
};

const subfolders = (root: string): string[] =>
  (isFolder(root) ? entriesOf(root) : [])
    .filter((entry) => entry.kind !== 'file' && isFolder(join(root, entry.name)))
    .map(({ name }) => name);

/** Folders that hold images themselves. */
const classFoldersIn = (root: string): string[] =>
  subfolders(root).filter((name) =>
    entriesOf(join(root, name)).some((entry) => IMAGE_ENDINGS.has(extname(entry.name).toLowerCase())),
  );

function withoutTraining(root: string, layout: FolderLayout): GqaError {
  const classes = classFoldersIn(root);
  if (classes.length === 0 || classes.some((name) => [...layout.val, layout.test].includes(name))) {
    const deeper = subfolders(root).find((name) => isFolder(join(root, name, layout.train)));
    const { message, hint } = wrongLayout(root, layout, `${join(root, layout.train)} is not there`);
    return new GqaError('data', message, {
      hint: deeper === undefined ? layout.hint : `Did you mean data.root: ${join(root, deeper)}? ${hint}`,
    });
  }
  return new GqaError(
    'data',
    `${root} has class folders itself (${someOf(classes)}); expected them in ${layout.train} and ${layout.test}`,
    {
      hint: `Make the two folders, each with all classes, and put a part of every class's images into ${layout.test}. To measure a checkpoint on the folder as it is: ${command('eval … --split test')}`,
    },
  );
}

function requireSameClasses(root: string, train: ListedSplit, other: ListedSplit): void {
  const missing = train.classes.filter((label) => !other.classes.includes(label));
  const added = other.classes.filter((label) => !train.classes.includes(label));
  if (missing.length + added.length === 0) return;
  const lists = [`only in ${train.folder}: ${someOf(missing)}`, `only in ${other.folder}: ${someOf(added)}`].filter(
    (_, i) => [missing, added][i]!.length > 0,
  );
  const twins = missing.filter((label) => added.some((own) => own.normalize() === label.normalize()));
  const alike =
    twins.length > 0
      ? ` ${someOf(twins)} look the same in both, but are written with other code points (Unicode NFC and NFD).`
      : '';
  throw new GqaError(
    'data',
    `${root}: ${train.folder} has ${counted(train.classes.length, 'class')} and ${other.folder} has ${other.classes.length}, not the same ones (${lists.join('; ')})`,
    { hint: `Give all splits the same class folders: labels are positions in their sorted list.${alike}` },
  );
}

const listed = (root: string, name: SplitName, folder: string | null, layout: FolderLayout): ListedSplit | null =>
  folder === null ? null : listSplit(root, name, folder, layout);
