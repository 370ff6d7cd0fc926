/** CINIC-10 (Darlow et al. 2018, arXiv:1810.03505): folders of PNG images. */
import type { FolderLayout } from '../formats/folder-layouts.js';
import { classFolders, type DataSet } from './layout.js';

/**
 * CINIC-10 as published: PNG images of 32 × 32. Its third split, `valid`, takes no part: a validation part is taken
 * from train, as for CIFAR-10.
 */
export const folders: FolderLayout = {
  train: 'train',
  val: [],
  test: 'test',
  unread: { valid: 'the validation part is taken from train; all three are read with data.name: image-folder' },
  size: { height: 32, width: 32 },
  hint: 'Unpack the official archive (CINIC-10.tar.gz) there; its folder valid is not read.',
};

export const cinic10: DataSet = {
  layouts: [classFolders(['', 'cinic10', 'CINIC-10', 'cinic10/CINIC-10'], folders)],
  fetch: {
    title: 'CINIC-10',
    page: 'https://datashare.ed.ac.uk/handle/10283/3192',
    terms: 'CC BY 4.0; a part of the images is of ImageNet',
    source: 'address: the page of the publisher; MD5 and size as loaders on GitHub have them (no SHA-256 is published)',
    downloads: [
      {
        url: 'https://datashare.ed.ac.uk/bitstream/handle/10283/3192/CINIC-10.tar.gz',
        file: 'CINIC-10.tar.gz',
        bytes: 687_544_992,
        sha256: null,
        md5: '6ee4d0c996905fe93221de577967a372',
        unpack: 'tar.gz',
      },
    ],
    folder: 'cinic10',
    wrapped: false,
    holds: ['train', 'test'],
    unpacked: { bytes: 700_000_000, files: 270_040 },
    classes: 10,
    images: { train: 90_000, test: 90_000 },
    perClass: { train: 9000, test: 9000 },
  },
};
