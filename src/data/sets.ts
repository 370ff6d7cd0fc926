/** The data sets, a file and a line each; their names are those of config/names.ts. */
import type { DataName } from '../config/names.js';
import { cifar10 } from './sets/cifar10.js';
import { cifar100 } from './sets/cifar100.js';
import { cinic10 } from './sets/cinic10.js';
import { fashionMnist } from './sets/fashion-mnist.js';
import { food101 } from './sets/food101.js';
import { anyImageFolder } from './sets/image-folder.js';
import { imagenet } from './sets/imagenet.js';
import type { DataSet } from './sets/layout.js';
import { mnist } from './sets/mnist.js';
import { oxfordPet } from './sets/oxford-pet.js';
import type { CatalogueEntry } from './sets/published.js';
import { tinyImagenet } from './sets/tiny-imagenet.js';

export const SETS: Record<DataName, DataSet> = {
  'fashion-mnist': fashionMnist,
  mnist,
  cifar10,
  cifar100,
  food101,
  'tiny-imagenet': tinyImagenet,
  'oxford-pet': oxfordPet,
  cinic10,
  imagenet,
  'image-folder': anyImageFolder,
};

/** What can be fetched, by name. */
export const catalogue: Readonly<Record<string, CatalogueEntry>> = Object.fromEntries(
  Object.entries(SETS).flatMap(([name, { fetch }]) => (fetch === null ? [] : [[name, fetch]])),
);
