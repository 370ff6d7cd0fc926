/**
 * Tiny ImageNet as published: classes are the lines of `wnids.txt`, in that order; images of 64 × 64 in
 * `train/<wnid>/images` and, for all classes together, in `val/images`, with `val/val_annotations.txt` saying the class
 * of each (name, wnid and a box, between tabs). The labels of its `test` folder were never published: `val` is the test
 * split here.
 */
import { join } from 'node:path';
import { counted } from '../../counted.js';
import { GqaError } from '../../errors.js';
import { filesSplit, type Published } from '../dataset.js';
import { inOrder, tinyImagenetWnids } from './class-names.js';
import { listImages } from './list-images.js';
import { checkListed, type ListedImage, readClassList, readLines } from './lists.js';

export const tinyImagenetFiles: readonly string[] = ['wnids.txt', 'val/val_annotations.txt'];

const SIZE = { height: 64, width: 64 };

/** Lists the images of both splits. Errors: exit 3, with file and line, or with the folder that is missing or empty. */
export function readTinyImagenet(name: string, folder: string): Published {
  const wnids = join(folder, 'wnids.txt');
  const classes = readClassList(wnids);
  const train = classes.flatMap((wnid, label) =>
    listImages(join(folder, 'train', wnid, 'images')).map((path) => ({ path, label })),
  );
  const labels = new Map(classes.map((wnid, label) => [wnid, label]));
  const annotations = join(folder, 'val/val_annotations.txt');
  const val = readLines(annotations).map(({ text, at }): ListedImage => {
    const [image = '', wnid = '', ...box] = text.split('\t');
    if (!/^[\w.-]+\.jpe?g$/i.test(image) || box.length !== 4) {
      throw new GqaError(
        'data',
        `${at}: found "${text}"; expected <image>.JPEG, its wnid and four numbers, between tabs`,
      );
    }
    const label = labels.get(wnid);
    if (label === undefined) throw new GqaError('data', `${at}: class "${wnid}" is not in ${wnids}`);
    return { path: join(folder, 'val/images', image), label, at };
  });
  checkListed(val);
  const listed = new Set(val.map(({ path }) => path));
  const unlisted = listImages(join(folder, 'val/images')).filter((path) => !listed.has(path));
  if (unlisted.length > 0) {
    throw new GqaError(
      'data',
      `${counted(unlisted.length, 'image')} ${unlisted.length === 1 ? 'has' : 'have'} no line in ${annotations}, the first ${unlisted[0]}`,
      {
        hint: 'The list is cut short or of another copy: unpack the whole official archive.',
      },
    );
  }
  const official = inOrder(classes, new Int32Array(), tinyImagenetWnids).classes;
  const notices =
    official.join() === classes.join()
      ? []
      : [`${wnids} is in another order than the official archive's: labels are positions in this file`];
  return {
    name,
    from: folder,
    classes,
    train: filesSplit('train', train, SIZE),
    val: null,
    test: filesSplit('test', val, SIZE),
    notices,
  };
}
