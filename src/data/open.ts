/** From the config's `data` to a data set: which layouts a name may have, and where their files are looked for. */
import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type DataName, defaultDataRoot } from '../config/names.js';
import type { Config } from '../config/schema.js';
import { GqaError } from '../errors.js';
import { command } from '../invocation.js';
import type { Dataset, Evaluable, SplitName, Take } from './dataset.js';
import { type CifarLayout, cifar10, cifar100, cifar100Coarse, readCifar } from './formats/cifar.js';
import {
  type CifarPythonLayout,
  cifar10Python,
  cifar100Python,
  cifar100PythonCoarse,
  readCifarPython,
} from './formats/cifar-python.js';
import {
  cifar10Classes,
  cifar100Classes,
  cifar100CoarseClasses,
  food101Classes,
  tinyImagenetWnids,
} from './formats/class-names.js';
import { food101Files, readFood101 } from './formats/food101.js';
import { idxFiles, readIdx } from './formats/idx.js';
import {
  cinic10,
  type FolderLayout,
  imageFolder,
  imagenet,
  readImageFolder,
  readWantedSplit,
  type WantedSplit,
} from './formats/image-folder.js';
import { oxfordPetFiles, readOxfordPet } from './formats/oxford-pet.js';
import { holdsParquet, type ParquetLayout, readParquet } from './formats/parquet.js';
import { readTinyImagenet, tinyImagenetFiles } from './formats/tiny-imagenet.js';

/**
 * What is opened: `labels` tells between the two label sets of CIFAR-100 (default fine), `valIs` what a folder `val`
 * plays (default the validation part).
 */
export type Wanted = Pick<Config['data'], 'name' | 'root'> & Partial<Pick<Config['data'], 'labels' | 'valIs'>>;

interface Layout {
  /** Folders below `root`, in the order in which they are tried; '' is root itself. */
  folders: readonly string[];
  /** Absolute folders tried after those. */
  systemFolders?: readonly string[];
  /** Whether a folder is taken; what is then missing is the reader's error. */
  isIn(folder: string): boolean;
  /** The files as told to a user who has none of them. */
  expected: string;
  read(folder: string, wanted: Wanted, take: Take | undefined): Dataset | Promise<Dataset>;
  /** For an evaluation, where other splits may be missing; left out: none may. */
  readSplit?(folder: string, wanted: Wanted, split: WantedSplit): Evaluable;
  /** Whether a folder holds at least that split; only asked when no folder is taken. */
  holds?(folder: string, split: SplitName): boolean;
  hint?: string;
}

const FASHION_CLASSES = [
  'T-shirt/top',
  'Trouser',
  'Pullover',
  'Dress',
  'Coat',
  'Sandal',
  'Shirt',
  'Sneaker',
  'Bag',
  'Ankle boot',
];
const CIFAR_SIZE = { height: 32, width: 32 };
const DIGITS = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];

/** One file is enough: a folder that holds some of them is meant. */
const holdsAny =
  (files: readonly string[]): Layout['isIn'] =>
  (folder) =>
    files.some((file) => existsSync(join(folder, file)));

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;

const idxLayout = (folders: string[], classes: string[], hint: string): Layout => ({
  folders,
  isIn: holdsAny(idxFiles.flatMap((file) => [file, `${file}.gz`])),
  expected: `${idxFiles.join(', ')} (each as it is or with .gz)`,
  read: (folder, { name }) => readIdx(name, folder, classes),
  hint,
});

const cifarBinary = (folders: string[], layout: CifarLayout, coarse: CifarLayout, hint: string): Layout => {
  const files = [...layout.train, ...layout.test, layout.names];
  return {
    folders,
    isIn: holdsAny(files),
    expected: `${files.join(', ')} (the binary version)`,
    read: (folder, { name, labels }) => readCifar(name, folder, labels === 'coarse' ? coarse : layout),
    hint,
  };
};

/** As files only: CIFAR-100's `train`, `test` and `meta` are folders of other data sets. */
const cifarPython = (folders: string[], layout: CifarPythonLayout, coarse: CifarPythonLayout): Layout => {
  const files = [...layout.train, ...layout.test, layout.meta];
  return {
    folders,
    isIn: (folder) => files.some((file) => isFile(join(folder, file))),
    expected: `${files.join(', ')} (the python version)`,
    read: (folder, { name, labels }) => readCifarPython(name, folder, labels === 'coarse' ? coarse : layout),
  };
};

const parquetMirror = (
  name: string,
  mirror: string,
  layout: ParquetLayout,
  coarse: ParquetLayout = layout,
): Layout => ({
  folders: ['', name, ...['data', 'plain_text', name].map((folder) => `${name}/${folder}`)],
  isIn: (folder) => holdsParquet(folder, layout),
  expected: `${layout.train}-00000-of-….parquet, ${layout.test}-00000-of-….parquet (Hugging Face's mirror ${mirror})`,
  read: (folder, wanted, take) => readParquet(wanted.name, folder, wanted.labels === 'coarse' ? coarse : layout, take),
});

const folderReading = ({ valIs = 'validation' }: Wanted): { valIs: 'validation' | 'test' } => ({ valIs });

const classFolders = (folders: string[], layout: FolderLayout): Layout => ({
  folders,
  isIn: (folder) => [layout.train, layout.test].every((split) => existsSync(join(folder, split))),
  expected: `${layout.train}/<class>/<image>, ${layout.test}/<class>/<image>`,
  read: (folder, wanted) => readImageFolder(wanted.name, folder, layout, folderReading(wanted)),
  holds: (folder, split) => split !== 'val' && existsSync(join(folder, layout[split])),
  readSplit: (folder, wanted, split) => readWantedSplit(wanted.name, folder, layout, folderReading(wanted), split),
  hint: layout.hint,
});

const cifar10Parquet: ParquetLayout = {
  image: 'img',
  label: 'label',
  train: 'train',
  test: 'test',
  classes: cifar10Classes,
  order: cifar10Classes,
  size: CIFAR_SIZE,
};
const cifar100Parquet: ParquetLayout = {
  ...cifar10Parquet,
  label: 'fine_label',
  classes: cifar100Classes,
  order: cifar100Classes,
};
const cifar100CoarseParquet: ParquetLayout = {
  ...cifar10Parquet,
  label: 'coarse_label',
  classes: cifar100CoarseClasses,
  order: cifar100CoarseClasses,
};
const food101Parquet: ParquetLayout = {
  image: 'image',
  label: 'label',
  train: 'train',
  test: 'validation',
  classes: null,
  order: food101Classes,
};
const tinyImagenetParquet: ParquetLayout = {
  ...food101Parquet,
  test: 'valid',
  order: tinyImagenetWnids,
  size: { height: 64, width: 64 },
};

/** Folder names are those of the official archives and of torchvision. */
const LAYOUTS: Record<DataName, readonly Layout[]> = {
  'fashion-mnist': [
    {
      ...idxLayout(
        ['', 'fashion-mnist', 'FashionMNIST/raw'],
        FASHION_CLASSES,
        "Debian's package dataset-fashion-mnist brings them all; data.root: datasets/fashion-mnist-subset takes the 3,000 images that come with this repository.",
      ),
      systemFolders: ['/usr/share/datasets/fashion-mnist'],
    },
  ],
  mnist: [idxLayout(['', 'mnist', 'MNIST/raw'], DIGITS, 'Place the four official files in one of these folders.')],
  cifar10: [
    cifarBinary(
      ['', 'cifar10', 'cifar-10-batches-bin', 'cifar10/cifar-10-batches-bin'],
      cifar10,
      cifar10,
      'Unpack the official "CIFAR-10 binary version" (cifar-10-binary.tar.gz) there. For CIFAR-10 as image files use data.name: image-folder.',
    ),
    cifarPython(['', 'cifar10', 'cifar-10-batches-py', 'cifar10/cifar-10-batches-py'], cifar10Python, cifar10Python),
    parquetMirror('cifar10', 'uoft-cs/cifar10', cifar10Parquet),
  ],
  cifar100: [
    cifarBinary(
      ['', 'cifar100', 'cifar-100-binary', 'cifar100/cifar-100-binary'],
      cifar100,
      cifar100Coarse,
      'Unpack the official "CIFAR-100 binary version" (cifar-100-binary.tar.gz) there.',
    ),
    cifarPython(
      ['', 'cifar100', 'cifar-100-python', 'cifar100/cifar-100-python'],
      cifar100Python,
      cifar100PythonCoarse,
    ),
    parquetMirror('cifar100', 'uoft-cs/cifar100', cifar100Parquet, cifar100CoarseParquet),
  ],
  food101: [
    {
      folders: ['', 'food101', 'food-101', 'food101/food-101'],
      isIn: holdsAny(food101Files),
      expected: `${food101Files.join(', ')}, images/<class>/<id>.jpg`,
      read: (folder, { name }) => readFood101(name, folder),
      hint: 'Unpack the official archive (food-101.tar.gz) there.',
    },
    parquetMirror('food101', 'ethz/food101', food101Parquet),
  ],
  'tiny-imagenet': [
    {
      folders: ['', 'tiny-imagenet', 'tiny-imagenet-200', 'tiny-imagenet/tiny-imagenet-200'],
      isIn: holdsAny(tinyImagenetFiles),
      expected: `${tinyImagenetFiles.join(', ')}, train/<wnid>/images/*.JPEG, val/images/*.JPEG`,
      read: (folder, { name }) => readTinyImagenet(name, folder),
      hint: 'Unpack the official archive (tiny-imagenet-200.zip) there.',
    },
    parquetMirror('tiny-imagenet', 'zh-plus/tiny-imagenet', tinyImagenetParquet),
  ],
  'oxford-pet': [
    {
      folders: ['', 'oxford-pet', 'oxford-iiit-pet', 'oxford-pet/oxford-iiit-pet'],
      isIn: holdsAny(oxfordPetFiles),
      expected: `${oxfordPetFiles.join(', ')}, images/<breed>_<number>.jpg`,
      read: (folder, { name }) => readOxfordPet(name, folder),
      hint: 'Unpack the two official archives (images.tar.gz, annotations.tar.gz) there.',
    },
  ],
  cinic10: [classFolders(['', 'cinic10', 'CINIC-10', 'cinic10/CINIC-10'], cinic10)],
  imagenet: [
    classFolders(['', 'imagenet', 'imagenet-1k', 'ILSVRC/Data/CLS-LOC', 'imagenet/ILSVRC/Data/CLS-LOC'], imagenet),
  ],
  // Taken whatever it holds: its reader shows the whole layout.
  'image-folder': [{ ...classFolders([''], imageFolder), isIn: () => true }],
};

/**
 * Reads a data set: raw ones whole into shared memory, of image folders the list of files. `Dataset.from` tells which
 * folder was taken: root itself before folders below it.
 * @param take of data sets that are held as encoded images: which of them. Left out: all
 * Errors: exit 3 for missing or bad files.
 */
export async function openDataset(wanted: Wanted, take?: Take): Promise<Dataset> {
  const { layout, folder } = place(wanted);
  return layout.read(folder, wanted, take);
}

/** The same for an evaluation of one split: a data set of class folders needs no other split then. */
export async function openSplit(wanted: Wanted, split: WantedSplit, take?: Take): Promise<Evaluable> {
  const { found, places } = look(wanted);
  const { layout, folder } = found ?? places.find((at) => at.layout.holds?.(at.folder, split.split)) ?? place(wanted);
  return layout.readSplit?.(folder, wanted, split) ?? layout.read(folder, wanted, take);
}

/** Errors: exit 3 with all places when none holds the data set. */
function place(wanted: Wanted): Place {
  const { name } = wanted;
  const { found, places } = look(wanted);
  if (found !== undefined) return found;
  const layouts = LAYOUTS[name];
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

/** Data sets without an official address to fetch them from. */
const notFetched: readonly DataName[] = ['imagenet', 'image-folder'];

function fetching({ name, root }: Pick<Wanted, 'name' | 'root'>): string[] {
  const where = root === defaultDataRoot ? '' : ` --root ${/^[\w./-]+$/.test(root) ? root : JSON.stringify(root)}`;
  return notFetched.includes(name)
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
  const all = LAYOUTS[name].flatMap((layout) =>
    [...layout.folders, ...elsewhere(layout)].map((folder) => ({
      layout,
      folder: resolve(root, folder),
      isRoot: folder === '',
    })),
  );
  const places = [...all.filter(({ isRoot }) => isRoot), ...all.filter(({ isRoot }) => !isRoot)];
  return { found: places.find(({ layout, folder }) => layout.isIn(folder)), places };
}
