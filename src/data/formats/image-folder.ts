/** Any data set as folders of pictures, one folder a class: the layout of torchvision's ImageFolder, once for each split. */
import { readdirSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { GqaError } from '../../errors.js';
import { type Dataset, filesSplit, type PictureSize, type Split } from '../dataset.js';

/** Endings, in any case, of the files that are pictures. What is inside is told by content when a picture is decoded. */
const PICTURE_ENDINGS = new Set(['.jpg', '.jpeg', '.png', '.webp']);
/** Pictures that this program does not decode: leaving them out unasked would be a smaller data set than the user has. */
const OTHER_PICTURE_ENDINGS = new Set([
  '.gif',
  '.bmp',
  '.tif',
  '.tiff',
  '.ppm',
  '.pgm',
  '.avif',
  '.heic',
  '.heif',
  '.jfif',
  '.jp2',
  '.jxl',
  '.svg',
]);

/** Which folders are the splits. */
export interface FolderLayout {
  train: string;
  test: string;
  /** Size of every picture, where the data set has one. */
  size?: PictureSize;
  hint: string;
}

export const imageFolder: FolderLayout = {
  train: 'train',
  test: 'test',
  hint: 'Only folders named train and test are read; rename val or validation to test if it is to play that part.',
};

/** CINIC-10 as published: PNG pictures of 32 × 32. Its third split, `valid`, takes no part. */
export const cinic10: FolderLayout = {
  train: 'train',
  test: 'test',
  size: { height: 32, width: 32 },
  hint: 'Unpack the official archive (CINIC-10.tar.gz) there; its folder valid is not read.',
};

/** ImageNet-1k with a folder for each wnid in both splits; the labels of its test pictures were never published. */
export const imagenet: FolderLayout = {
  train: 'train',
  test: 'val',
  hint: 'The official archive of validation pictures has no class folders: sort them into val/<wnid>/ first, as for torchvision.',
};

/**
 * Lists the pictures below root/<split>/<class>/. Classes are sorted by code unit, as torchvision's are, so that labels agree; pictures by name.
 * Names beginning with '.' and files that are no pictures are ignored. Both splits must have the same classes.
 * Errors: exit 3, with the expected layout or both lists of classes.
 */
export function readImageFolder(name: string, root: string, layout: FolderLayout = imageFolder): Dataset {
  const [train, test] = [listSplit(root, 'train', layout), listSplit(root, 'test', layout)];
  const missing = train.classes.filter((label) => !test.classes.includes(label));
  const added = test.classes.filter((label) => !train.classes.includes(label));
  if (missing.length + added.length > 0) {
    const lists = [`only in ${layout.train}: ${someOf(missing)}`, `only in ${layout.test}: ${someOf(added)}`].filter(
      (_, i) => [missing, added][i]!.length > 0,
    );
    throw new GqaError(
      'data',
      `${root}: ${layout.train} has ${train.classes.length} classes and ${layout.test} has ${test.classes.length}, not the same ones (${lists.join('; ')})`,
      {
        hint: 'Give both splits the same class folders: labels are positions in their sorted list.',
      },
    );
  }
  return { name, from: root, classes: train.classes, train: train.split, test: test.split };
}

function listSplit(root: string, split: Split['name'], layout: FolderLayout): { classes: string[]; split: Split } {
  const folder = join(root, layout[split]);
  if (!isFolder(folder)) throw wrongLayout(root, layout, `${folder} is not there`);
  const classes = visible(folder).filter((entry) => isFolder(join(folder, entry)));
  if (classes.length === 0) throw wrongLayout(root, layout, `${folder} has no class folders`);
  const pictures = classes.flatMap((name, label) => listPictures(join(folder, name)).map((path) => ({ path, label })));
  return { classes, split: filesSplit(split, pictures, layout.size) };
}

/** The pictures in a folder of one class, by name; hidden files and files that are no pictures are ignored. Errors: exit 3 for none, a folder among them, or a kind that is not decoded. */
export function listPictures(folder: string): string[] {
  const pictures: string[] = [];
  for (const entry of visible(folder)) {
    const path = join(folder, entry);
    const ending = extname(entry).toLowerCase();
    if (PICTURE_ENDINGS.has(ending)) pictures.push(path);
    else if (OTHER_PICTURE_ENDINGS.has(ending)) {
      throw new GqaError('data', `${path}: pictures of this kind are not read; expected ${[...PICTURE_ENDINGS].join(', ')}`, {
        hint: 'Convert the picture or take it out of the folder; it is not left out unasked.',
      });
    } else if (isFolder(path)) {
      throw new GqaError('data', `${path} is a folder inside a class; expected pictures only`, {
        hint: `Move its pictures into ${folder}.`,
      });
    }
  }
  if (pictures.length === 0) throw new GqaError('data', `${folder} has no pictures (${[...PICTURE_ENDINGS].join(' ')})`);
  return pictures;
}

/** Names in a folder without hidden ones, sorted by code unit (not by the user's language). */
function visible(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((entry) => !entry.startsWith('.'))
      .sort();
  } catch (cause) {
    throw new GqaError('data', `${folder} cannot be listed: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** Links count as what they point to. */
function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function wrongLayout(root: string, { train, test, hint }: FolderLayout, found: string): GqaError {
  const tree = [
    root,
    `├── ${train}`,
    '│   ├── <class>',
    '│   │   ├── <picture>.jpg (.jpeg, .png, .webp)',
    '│   │   └── …',
    '│   └── …',
    `└── ${test}`,
    '    └── (the same classes)',
  ];
  return new GqaError('data', `${found}; expected this layout:\n${tree.join('\n')}`, { hint });
}

function someOf(names: string[]): string {
  const shown = names.slice(0, 10).join(', ');
  return names.length > 10 ? `${shown} and ${names.length - 10} more` : shown;
}
