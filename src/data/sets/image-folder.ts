/** Any data set whose images lie in a folder for each class. */
import type { FolderLayout } from '../formats/folder-layouts.js';
import { classFolders, type DataSet } from './layout.js';

export const imageFolder: FolderLayout = {
  train: 'train',
  val: ['val', 'valid', 'validation'],
  test: 'test',
  hint: 'Folders named train and test are read, and val (or valid, or validation) as the validation part; with train and val alone there is no test split, unless data.val_is: test.',
};

export const anyImageFolder: DataSet = {
  layouts: [{ ...classFolders([''], imageFolder), isIn: () => true }],
  fetch: null,
};
