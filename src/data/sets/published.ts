/** What a publisher says of a data set: addresses, checksums, counts. */

import type { Wanted } from '../../download/wanted.js';

export interface Download extends Pick<Wanted, 'url' | 'bytes' | 'sha256'> {
  /** The file's name: below a mirror, and when placed by hand. */
  file: string;
  md5: string;
  /** null: stays as it is, a file of the folder. */
  unpack: 'tar.gz' | 'zip' | null;
}

/** Images of each class: one number where all classes have as many, else one a class. */
export type PerClass = number | readonly number[];

/**
 * Addresses and MD5: the publisher's page, or torchvision
 * (torchvision/datasets/{cifar,food101,mnist,oxford_iiit_pet}.py). Sizes and SHA-256: TensorFlow Datasets, which
 * recorded them from the same addresses (tensorflow_datasets/url_checksums/<name>.txt). Where there is a SHA-256 it
 * decides; MD5 alone shows damage, but not a forger.
 */
export interface CatalogueEntry {
  title: string;
  page: string;
  /** What the publisher says about use. */
  terms: string;
  /** Where address, sizes and checksums stand. */
  source: string;
  downloads: readonly Download[];
  /** The folder below root that it becomes, where its reader looks. */
  folder: string;
  /** Whether archives have that folder at their top; otherwise what they hold goes into it. */
  wrapped: boolean;
  /** Below that folder, when it is whole. */
  holds: readonly string[];
  /** About; limits of unpacking and the space asked for follow from it. */
  unpacked: { bytes: number; files: number };
  classes: number;
  images: { train: number; test: number };
  /** null where the official lists alone tell. */
  perClass: { train: PerClass; test: PerClass } | null;
}

/** Images of every class, as a list. */
export function perClassList(perClass: PerClass, classes: number): number[] {
  return typeof perClass === 'number' ? Array.from({ length: classes }, () => perClass) : [...perClass];
}
