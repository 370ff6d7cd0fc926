/** From the config's `data` to a data set: which reader a name has, and where its files are looked for. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Config } from '../config/schema.js';
import { GqaError } from '../errors.js';
import type { Dataset } from './dataset.js';
import { idxFiles, readIdx } from './idx.js';

type DataName = Config['data']['name'];

interface Reader {
  /** Folders below `root`, in the order in which they are tried; '' is root itself. */
  folders: string[];
  /** Absolute folders tried after those. */
  systemFolders: string[];
  /** A folder is taken when one of these files or folders lies in it; the reader then misses what is missing. */
  files: readonly string[];
  read(name: string, folder: string): Dataset;
  /** Where to get it. */
  hint: string;
}

const FASHION_CLASSES = ['T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot'];
const DIGITS = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];
const idxFilesOrPacked = idxFiles.flatMap((file) => [file, `${file}.gz`]);

const READERS: Partial<Record<DataName, Reader>> = {
  'fashion-mnist': {
    folders: ['', 'fashion-mnist', 'FashionMNIST/raw'],
    systemFolders: ['/usr/share/datasets/fashion-mnist'],
    files: idxFilesOrPacked,
    read: (name, folder) => readIdx(name, folder, FASHION_CLASSES),
    hint: "Debian's package dataset-fashion-mnist brings all of it; the subset in this repository is taken with data.root: datasets/fashion-mnist-subset.",
  },
  mnist: {
    folders: ['', 'mnist', 'MNIST/raw'],
    systemFolders: [],
    files: idxFilesOrPacked,
    read: (name, folder) => readIdx(name, folder, DIGITS),
    hint: 'Place the four official files (.gz or unpacked) there.',
  },
};

/**
 * Reads a data set: raw ones whole, of picture folders the list of files.
 * Errors: exit 2 for a layout this version does not read; exit 3 for missing or bad files.
 */
export async function openDataset(data: Config['data']): Promise<Dataset> {
  const reader = READERS[data.name];
  if (reader === undefined) {
    throw new GqaError('usage', `data.name: this version does not read the layout of ${data.name} yet`, {
      hint: 'Lay the pictures out as <root>/{train,test}/<class>/*.jpg and use data.name: image-folder.',
    });
  }
  const tried = [...reader.folders.map((folder) => resolve(data.root, folder)), ...reader.systemFolders];
  const folder = tried.find((candidate) => reader.files.some((file) => existsSync(join(candidate, file))));
  if (folder === undefined) {
    throw new GqaError('data', `${data.name} was not found in ${tried.join(', ')}; expected ${reader.files.join(', ')}`, {
      hint: reader.hint,
    });
  }
  return reader.read(data.name, folder);
}
