/** ImageNet-1k, its validation images sorted into class folders. */
import type { FolderLayout } from '../formats/folder-layouts.js';
import { classFolders, type DataSet } from './layout.js';

/** ImageNet-1k with a folder for each wnid in both splits; the labels of its test images were never published. */
export const folders: FolderLayout = {
  train: 'train',
  val: [],
  test: 'val',
  unread: { test: 'its labels were never published; val is the test split' },
  hint: 'The official archive of validation images has no class folders: sort them into val/<wnid>/ first, as for torchvision.',
};

export const imagenet: DataSet = {
  layouts: [
    classFolders(['', 'imagenet', 'imagenet-1k', 'ILSVRC/Data/CLS-LOC', 'imagenet/ILSVRC/Data/CLS-LOC'], folders),
  ],
  fetch: null,
};
