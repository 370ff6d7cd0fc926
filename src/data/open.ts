/** From the config's `data` to a data set: which reader a name has, and where its files are looked for. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { defaultDataRoot } from '../config/names.js';
import type { Config } from '../config/schema.js';
import { GqaError } from '../errors.js';
import { cifar10, cifar100, readCifar } from './cifar.js';
import type { Dataset } from './dataset.js';
import { idxFiles, readIdx } from './idx.js';
import { readImageFolder } from './image-folder.js';

interface Reader {
  /** Folders below `root`, in the order in which they are tried; '' is root itself. */
  folders: readonly string[];
  /** Absolute folders tried after those. */
  systemFolders?: readonly string[];
  /** A folder is taken when one of these lies in it; what is then missing is the reader's error. Empty: the first folder is taken, whatever it holds. */
  files: readonly string[];
  /** The files as told to a user who has none of them. */
  expected: string;
  read(name: string, folder: string): Dataset;
  hint: string;
}

const FASHION_CLASSES = ['T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot'];
const DIGITS = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];

const idxLayout = {
  files: idxFiles.flatMap((file) => [file, `${file}.gz`]),
  expected: `${idxFiles.join(', ')} (each as it is or with .gz)`,
};

/** null: the layout is not read by this version. Folder names are those of the official archives and of torchvision. */
const READERS: Record<Config['data']['name'], Reader | null> = {
  'fashion-mnist': {
    folders: ['', 'fashion-mnist', 'FashionMNIST/raw'],
    systemFolders: ['/usr/share/datasets/fashion-mnist'],
    ...idxLayout,
    read: (name, folder) => readIdx(name, folder, FASHION_CLASSES),
    hint: "Debian's package dataset-fashion-mnist brings them all; data.root: datasets/fashion-mnist-subset takes the 3,000 pictures that come with this repository.",
  },
  mnist: {
    folders: ['', 'mnist', 'MNIST/raw'],
    ...idxLayout,
    read: (name, folder) => readIdx(name, folder, DIGITS),
    hint: 'Place the four official files in one of these folders.',
  },
  cifar10: {
    folders: ['', 'cifar10', 'cifar-10-batches-bin', 'cifar10/cifar-10-batches-bin'],
    files: [...cifar10.train, ...cifar10.test, cifar10.names],
    expected: [...cifar10.train, ...cifar10.test, cifar10.names].join(', '),
    read: (name, folder) => readCifar(name, folder, cifar10),
    hint: 'Unpack the official "CIFAR-10 binary version" (cifar-10-binary.tar.gz) there. For CIFAR-10 as picture files use data.name: image-folder.',
  },
  cifar100: {
    folders: ['', 'cifar100', 'cifar-100-binary', 'cifar100/cifar-100-binary'],
    files: [...cifar100.train, ...cifar100.test, cifar100.names],
    expected: [...cifar100.train, ...cifar100.test, cifar100.names].join(', '),
    read: (name, folder) => readCifar(name, folder, cifar100),
    hint: 'Unpack the official "CIFAR-100 binary version" (cifar-100-binary.tar.gz) there.',
  },
  'image-folder': {
    folders: [''],
    files: [],
    expected: '',
    read: readImageFolder,
    hint: '',
  },
  food101: null,
  'tiny-imagenet': null,
};

/**
 * Reads a data set: raw ones whole into shared memory, of picture folders the list of files. `Dataset.from` tells which folder was taken.
 * Errors: exit 2 for a layout this version does not read; exit 3 for missing or bad files.
 */
export async function openDataset(data: Pick<Config['data'], 'name' | 'root'>): Promise<Dataset> {
  const reader = READERS[data.name];
  if (reader === null) {
    throw new GqaError('usage', `data.name: this version does not read the layout of ${data.name} yet`, {
      hint: 'Lay its pictures out as <root>/{train,test}/<class>/*.jpg and use data.name: image-folder.',
    });
  }
  const { folder, tried } = look(reader, data.root);
  if (folder === null) {
    throw new GqaError(
      'data',
      `${data.name} was not found; expected ${reader.expected} in one of:\n${tried.map((path) => `  ${path}`).join('\n')}`,
      {
        hint: reader.hint,
      },
    );
  }
  return reader.read(data.name, folder);
}

/** Where a data set is looked for, in order, and the folder that would be read: the first that holds one of its files. null: none, or the layout is not read. */
export function whereIs(data: Pick<Config['data'], 'name' | 'root'>): { folder: string | null; tried: string[] } {
  const reader = READERS[data.name];
  return reader === null ? { folder: null, tried: [] } : look(reader, data.root);
}

function look(reader: Reader, root: string): { folder: string | null; tried: string[] } {
  // A root that was chosen is meant: only where none was is another place good enough.
  const elsewhere = root === defaultDataRoot ? (reader.systemFolders ?? []) : [];
  const tried = [...reader.folders.map((folder) => resolve(root, folder)), ...elsewhere];
  const holdsFiles = (folder: string): boolean => reader.files.some((file) => existsSync(join(folder, file)));
  const folder = reader.files.length === 0 ? tried[0] : tried.find(holdsFiles);
  return { folder: folder ?? null, tried };
}
