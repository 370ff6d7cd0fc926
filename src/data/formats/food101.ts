/**
 * Food101 as published: `images/<class>/<id>.jpg`, of which `meta/train.txt` and `meta/test.txt` list `<class>/<id>` on
 * each line; classes in the order of `meta/classes.txt`. The parquet mirror has the same order; torchvision sorts,
 * which puts cheese_plate before cheesecake (classes 16 and 17), and changes no other.
 */
import { join } from 'node:path';
import { GqaError } from '../../errors.js';
import { filesSplit, type Published } from '../dataset.js';
import { checkListed, isFileName, type ListedImage, readClassList, readLines } from './lists.js';

export const food101Files: readonly string[] = ['meta/classes.txt', 'meta/train.txt', 'meta/test.txt'];

/**
 * Reads the lists and looks whether their images are there. A part of the data set is whole when its lists and class
 * list say no more than it has. Errors: exit 3 with file and line.
 */
export function readFood101(name: string, folder: string): Published {
  const classes = readClassList(join(folder, 'meta/classes.txt'));
  const labels = new Map(classes.map((label, index) => [label, index]));
  const listed = (list: string): ListedImage[] =>
    readLines(join(folder, list)).map(({ text, at }) => {
      const [label = '', id = '', ...rest] = text.split('/');
      if (!isFileName(id) || rest.length > 0)
        throw new GqaError('data', `${at}: found "${text}"; expected <class>/<id>`);
      const index = labels.get(label);
      if (index === undefined)
        throw new GqaError('data', `${at}: class "${label}" is not in ${join(folder, 'meta/classes.txt')}`);
      return { path: join(folder, 'images', label, `${id}.jpg`), label: index, at };
    });
  const [train, test] = [listed('meta/train.txt'), listed('meta/test.txt')];
  checkListed([...train, ...test]);
  return {
    name,
    from: folder,
    classes,
    train: filesSplit('train', train),
    val: null,
    test: filesSplit('test', test),
    notices: [],
  };
}
