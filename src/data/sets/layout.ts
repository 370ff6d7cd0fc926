/** A form in which a data set lies on a disk, and the forms that several data sets have in common. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../../config/schema.js';
import type { Dataset, Evaluable, SplitName, Take } from '../dataset.js';
import { type CifarLayout, readCifar } from '../formats/cifar.js';
import { type CifarPythonLayout, readCifarPython } from '../formats/cifar-python.js';
import type { FolderLayout } from '../formats/folder-layouts.js';
import { idxFiles, readIdx } from '../formats/idx.js';
import { readImageFolder, readWantedSplit, type WantedSplit } from '../formats/image-folder.js';
import { holdsParquet, type ParquetLayout, readParquet } from '../formats/parquet.js';
import type { CatalogueEntry, Download } from './published.js';

/** A data set: one file of this folder, and a line of sets.ts. */
export interface DataSet {
  /**
   * Its forms, in the order in which they are looked for. Folder names are those of the official archives and of
   * torchvision.
   */
  layouts: readonly Layout[];
  /** Where it is fetched from; null: there is no official address. */
  fetch: CatalogueEntry | null;
}

/**
 * What is opened: `labels` tells between the two label sets of CIFAR-100 (default fine), `valIs` what a folder `val`
 * plays (default the validation part).
 */
export type Wanted = Pick<Config['data'], 'name' | 'root'> & Partial<Pick<Config['data'], 'labels' | 'valIs'>>;

export interface Layout {
  /** Folders below `root`, in the order in which they are tried; '' is root itself. */
  folders: readonly string[];
  /** Absolute folders tried after those. */
  systemFolders?: readonly string[];
  /** Whether a folder is taken; what is then missing is the reader's error. */
  isIn(folder: string): boolean;
  /** The files as reported to a user who has none of them. */
  expected: string;
  read(folder: string, wanted: Wanted, take: Take | undefined): Dataset | Promise<Dataset>;
  /** For an evaluation, where other splits may be missing; left out: none may. */
  readSplit?(folder: string, wanted: Wanted, split: WantedSplit): Evaluable;
  /** Whether a folder holds at least that split; only asked when no folder is taken. */
  holds?(folder: string, split: SplitName): boolean;
  hint?: string;
}

/** The four files of MNIST's form, kept packed: the reader takes them so. */
export function idxDownloads(
  base: string,
  sums: readonly { bytes: number; md5: string; sha256: string }[],
): Download[] {
  return idxFiles.map((name, i) => ({ url: `${base}${name}.gz`, file: `${name}.gz`, unpack: null, ...sums[i]! }));
}

/** One file is enough: a folder that holds some of them is meant. */
export const holdsAny =
  (files: readonly string[]): Layout['isIn'] =>
  (folder) =>
    files.some((file) => existsSync(join(folder, file)));

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;

export const idxLayout = (folders: string[], classes: string[], hint: string): Layout => ({
  folders,
  isIn: holdsAny(idxFiles.flatMap((file) => [file, `${file}.gz`])),
  expected: `${idxFiles.join(', ')} (each as it is or with .gz)`,
  read: (folder, { name }) => readIdx(name, folder, classes),
  hint,
});

export const cifarBinary = (folders: string[], layout: CifarLayout, coarse: CifarLayout, hint: string): Layout => {
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
export const cifarPython = (folders: string[], layout: CifarPythonLayout, coarse: CifarPythonLayout): Layout => {
  const files = [...layout.train, ...layout.test, layout.meta];
  return {
    folders,
    isIn: (folder) => files.some((file) => isFile(join(folder, file))),
    expected: `${files.join(', ')} (the python version)`,
    read: (folder, { name, labels }) => readCifarPython(name, folder, labels === 'coarse' ? coarse : layout),
  };
};

export const parquetMirror = (
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

export const classFolders = (folders: string[], layout: FolderLayout): Layout => ({
  folders,
  isIn: (folder) => [layout.train, layout.test].every((split) => existsSync(join(folder, split))),
  expected: `${layout.train}/<class>/<image>, ${layout.test}/<class>/<image>`,
  read: (folder, wanted) => readImageFolder(wanted.name, folder, layout, folderReading(wanted)),
  holds: (folder, split) => split !== 'val' && existsSync(join(folder, layout[split])),
  readSplit: (folder, wanted, split) => readWantedSplit(wanted.name, folder, layout, folderReading(wanted), split),
  hint: layout.hint,
});
