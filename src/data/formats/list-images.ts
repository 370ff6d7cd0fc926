/** The images of a folder, by name, and what else lies there. */
import { statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { counted } from '../../counted.js';
import { GqaError } from '../../errors.js';
import { filesSplit, type Split, type SplitName } from '../dataset.js';
import { type Entry, entriesOf, isFolderIn, requireUtf8 } from '../files.js';
import { type FolderLayout, wrongLayout } from './folder-layouts.js';

/**
 * Endings, in any case, of the files that are images. What is inside is recognised by content when an image is decoded.
 */
export const IMAGE_ENDINGS = new Set(['.jpg', '.jpeg', '.png', '.webp']);
/** Images that this program does not decode: leaving them out unasked would be a smaller data set than the user has. */
const OTHER_IMAGE_ENDINGS = new Set([
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

export interface ListedSplit {
  folder: string;
  classes: string[];
  split: Split;
  notices: string[];
}

/** @param name what it is for us. @param folder below root; '' is root itself */
export function listSplit(root: string, name: SplitName, folder: string, layout: FolderLayout): ListedSplit {
  const path = join(root, folder);
  const entries = entriesOf(path);
  const folders = entries.filter((entry) => isFolderIn(path, entry));
  for (const entry of folders) requireUtf8(path, entry);
  const classes = folders.map(({ name }) => name);
  if (classes.length === 0) throw wrongLayout(root, layout, `${path} has no class folders`);
  const images = classes.flatMap((label, index) =>
    listImages(join(path, label)).map((file) => ({ path: file, label: index })),
  );
  const loose = entries.filter((entry) => !folders.includes(entry) && isImage(entry)).length;
  const notices =
    loose > 0
      ? [`${path}: ${counted(loose, 'image')} beside the class folders ${loose === 1 ? 'is' : 'are'} not read`]
      : [];
  const written = new Map<string, string>();
  for (const label of classes) {
    const twin = written.get(label.normalize());
    if (twin !== undefined)
      notices.push(
        `${path}: ${twin} and ${label} look the same, but are two classes: their names are written with other code points`,
      );
    written.set(label.normalize(), label);
  }
  return { folder, classes, split: filesSplit(name, images, layout.size), notices };
}

const isImage = ({ name }: Entry): boolean =>
  [IMAGE_ENDINGS, OTHER_IMAGE_ENDINGS].some((endings) => endings.has(extname(name).toLowerCase()));

/**
 * The images in a folder of one class, by name; hidden files and files that are no images are ignored. Errors: exit 3
 * for none, a folder among them, a kind that is not decoded, or a name that opens nothing.
 */
export function listImages(folder: string): string[] {
  const images: string[] = [];
  for (const entry of entriesOf(folder)) {
    const path = join(folder, entry.name);
    const ending = extname(entry.name).toLowerCase();
    const image = IMAGE_ENDINGS.has(ending);
    if (OTHER_IMAGE_ENDINGS.has(ending) && entry.kind !== 'folder') {
      throw new GqaError(
        'data',
        `${path}: images of this kind are not read; expected ${[...IMAGE_ENDINGS].join(', ')}`,
        {
          hint: 'Convert the image or take it out of the folder; it is not left out unasked.',
        },
      );
    }
    // A link that is named as an image is followed when it is read: a hundred thousand of them take no time here.
    if (entry.kind === 'folder' || (entry.kind === 'link' && !image && isFolderIn(folder, entry))) {
      throw new GqaError('data', `${path} is a folder inside a class; expected images only`, {
        hint: `Move its images into ${folder}.`,
      });
    }
    if (!image) continue;
    requireUtf8(folder, entry);
    if (entry.kind === 'other')
      throw new GqaError('data', `${path} is no file, but a socket, a pipe or a device`, {
        hint: 'Take it out of the folder.',
      });
    images.push(path);
  }
  if (images.length === 0) throw new GqaError('data', `${folder} has no images (${[...IMAGE_ENDINGS].join(' ')})`);
  return images;
}

/** Links count as what they point to; one that leads nowhere or to itself is none. */
export function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

export function someOf(names: string[]): string {
  const shown = names.slice(0, 10).join(', ');
  return names.length > 10 ? `${shown} and ${names.length - 10} more` : shown;
}
