/**
 * Oxford-IIIT Pet as published: `images/<breed>_<number>.jpg`, of which `annotations/trainval.txt` and
 * `annotations/test.txt` list "<breed>_<number> class species breed" on each line. Labels are the 37 classes, counted
 * from 1 in the files; a class is named as its images are.
 */
import { join } from 'node:path';
import { GqaError } from '../../errors.js';
import { filesSplit, type Published } from '../dataset.js';
import { checkListed, type ListedImage, readLines } from '../formats/lists.js';
import { type DataSet, holdsAny } from './layout.js';

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

export const oxfordPet: DataSet = {
  layouts: [
    {
      folders: ['', 'oxford-pet', 'oxford-iiit-pet', 'oxford-pet/oxford-iiit-pet'],
      isIn: holdsAny(oxfordPetFiles),
      expected: `${oxfordPetFiles.join(', ')}, images/<breed>_<number>.jpg`,
      read: (folder, { name }) => readOxfordPet(name, folder),
      hint: 'Unpack the two official archives (images.tar.gz, annotations.tar.gz) there.',
    },
  ],
  fetch: {
    title: 'Oxford-IIIT Pet',
    page: 'https://www.robots.ox.ac.uk/~vgg/data/pets/',
    terms: 'CC BY-SA 4.0; the images belong to their owners',
    source: 'addresses and MD5: torchvision/datasets/oxford_iiit_pet.py; sizes and SHA-256: TensorFlow Datasets',
    downloads: [
      {
        url: 'https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz',
        file: 'images.tar.gz',
        bytes: 791_918_971,
        sha256: '67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d',
        md5: '5c4f3ee8e5d25df40f4fd59a7f44e54c',
        unpack: 'tar.gz',
      },
      {
        url: 'https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz',
        file: 'annotations.tar.gz',
        bytes: 19_173_078,
        sha256: '52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91',
        md5: '95a8c909bbe2e81eed6a22bccdf3f68f',
        unpack: 'tar.gz',
      },
    ],
    folder: 'oxford-iiit-pet',
    wrapped: false,
    holds: ['images', 'annotations/trainval.txt', 'annotations/test.txt'],
    unpacked: { bytes: 850_000_000, files: 26_000 },
    classes: 37,
    images: { train: 3680, test: 3669 },
    perClass: null,
  },
};
