/**
 * Names that config and command line share. No package is imported here, so that `gqa --help` loads nothing for them.
 */

/** Data sets that a config may name. `image-folder`: root/train/<class>/… and root/test/<class>/…, an image a file. */
export const dataNames = [
  'fashion-mnist',
  'mnist',
  'cifar10',
  'cifar100',
  'food101',
  'tiny-imagenet',
  'cinic10',
  'imagenet',
  'oxford-pet',
  'image-folder',
] as const;
export type DataName = (typeof dataNames)[number];

/** Sizes of a model that have a name. */
export const sizeNames = ['micro', 'tiny', 'small', 'base', 'large'] as const;
export type SizeName = (typeof sizeNames)[number];

/** The sections of a config. */
export const sectionNames: readonly string[] = ['data', 'model', 'train', 'eval'];

/** Where data sets are looked for when the config does not say. */
export const defaultDataRoot = 'datasets';

export const deviceNames = ['auto', 'gpu', 'native', 'cpu', 'wasm'] as const;
