/**
 * Oxford-IIIT Pet as published: `images/<breed>_<number>.jpg`, of which `annotations/trainval.txt` and
 * `annotations/test.txt` list "<breed>_<number> class species breed" on each line. Labels are the 37 classes, counted
 * from 1 in the files; a class is named as its images are.
 */
import { join } from 'node:path';
import { GqaError } from '../../errors.js';
import { filesSplit, type Published } from '../dataset.js';
import { checkListed, type ListedImage, readLines } from './lists.js';

export const oxfordPetFiles: readonly string[] = ['annotations/trainval.txt', 'annotations/test.txt'];

/** Reads the lists and looks whether their images are there. Errors: exit 3 with file and line. */
export function readOxfordPet(name: string, folder: string): Published {
  const classes: string[] = [];
  const listed = (list: string): ListedImage[] =>
    readLines(join(folder, list)).map(({ text, at }) => {
      const [, image, breed, number] = /^(([A-Za-z][\w-]*)_\d+) (\d{1,3}) \d+ \d+$/.exec(text) ?? [];
      if (image === undefined || breed === undefined || number === '0') {
        throw new GqaError(
          'data',
          `${at}: found "${text}"; expected <breed>_<number> and three numbers: class (from 1), species, breed`,
        );
      }
      const label = Number(number) - 1;
      const known = classes[label] ?? breed;
      if (known !== breed) throw new GqaError('data', `${at}: class ${number} is ${breed} here, but ${known} before`);
      classes[label] = breed;
      return { path: join(folder, 'images', `${image}.jpg`), label, at };
    });
  const [train, test] = [listed('annotations/trainval.txt'), listed('annotations/test.txt')];
  const gap = Array.from(classes).indexOf(undefined as never);
  if (gap >= 0)
    throw new GqaError(
      'data',
      `${folder}: no image is listed of class ${gap + 1}, though there are ${classes.length} classes`,
    );
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
