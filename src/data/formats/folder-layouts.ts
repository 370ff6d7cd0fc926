import { GqaError } from '../../errors.js';
import type { ImageSize } from '../dataset.js';

/** Which folders are the splits. */
export interface FolderLayout {
  train: string;
  /** The validation part, under any one of these names; empty: the layout has none. */
  val: readonly string[];
  test: string;
  /** Folders of the published layout that take no part, and why. */
  unread?: Readonly<Record<string, string>>;
  /** Size of every image, where the data set has one. */
  size?: ImageSize;
  hint: string;
}

export const imageFolder: FolderLayout = {
  train: 'train',
  val: ['val', 'valid', 'validation'],
  test: 'test',
  hint: 'Folders named train and test are read, and val (or valid, or validation) as the validation part; with train and val alone there is no test split, unless data.val_is: test.',
};

/**
 * CINIC-10 as published: PNG images of 32 × 32. Its third split, `valid`, takes no part: a validation part is taken
 * from train, as for CIFAR-10.
 */
export const cinic10: FolderLayout = {
  train: 'train',
  val: [],
  test: 'test',
  unread: { valid: 'the validation part is taken from train; all three are read with data.name: image-folder' },
  size: { height: 32, width: 32 },
  hint: 'Unpack the official archive (CINIC-10.tar.gz) there; its folder valid is not read.',
};

/** ImageNet-1k with a folder for each wnid in both splits; the labels of its test images were never published. */
export const imagenet: FolderLayout = {
  train: 'train',
  val: [],
  test: 'val',
  unread: { test: 'its labels were never published; val is the test split' },
  hint: 'The official archive of validation images has no class folders: sort them into val/<wnid>/ first, as for torchvision.',
};

export function wrongLayout(root: string, { train, val, test, hint }: FolderLayout, found: string): GqaError {
  const tree = [
    root,
    `├── ${train}`,
    '│   ├── <class>',
    '│   │   ├── <image>.jpg (.jpeg, .png, .webp)',
    '│   │   └── …',
    '│   └── …',
    ...(val.length > 0 ? [`├── ${val[0]}, if there is one`, '│   └── (the same classes)'] : []),
    `└── ${test}`,
    '    └── (the same classes)',
  ];
  return new GqaError('data', `${found}; expected this layout:\n${tree.join('\n')}`, { hint });
}
