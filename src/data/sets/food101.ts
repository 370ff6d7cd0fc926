/**
 * Food101 as published: `images/<class>/<id>.jpg`, of which `meta/train.txt` and `meta/test.txt` list `<class>/<id>` on
 * each line; classes in the order of `meta/classes.txt`. The parquet mirror has the same order; torchvision sorts,
 * which puts cheese_plate before cheesecake (classes 16 and 17), and changes no other.
 */
import { join } from 'node:path';
import { GqaError } from '../../errors.js';
import { filesSplit, type Published } from '../dataset.js';
import { words } from '../formats/class-order.js';
import { checkListed, isFileName, type ListedImage, readClassList, readLines } from '../formats/lists.js';
import type { ParquetLayout } from '../formats/parquet.js';
import { type DataSet, holdsAny, parquetMirror } from './layout.js';

/** `meta/classes.txt` of the official archive (food-101.tar.gz), its lines in their order. */
export const food101Classes: readonly string[] = words(`
  apple_pie baby_back_ribs baklava beef_carpaccio beef_tartare beet_salad beignets bibimbap bread_pudding breakfast_burrito bruschetta
  caesar_salad cannoli caprese_salad carrot_cake ceviche cheesecake cheese_plate chicken_curry chicken_quesadilla chicken_wings
  chocolate_cake chocolate_mousse churros clam_chowder club_sandwich crab_cakes creme_brulee croque_madame cup_cakes deviled_eggs donuts
  dumplings edamame eggs_benedict escargots falafel filet_mignon fish_and_chips foie_gras french_fries french_onion_soup french_toast
  fried_calamari fried_rice frozen_yogurt garlic_bread gnocchi greek_salad grilled_cheese_sandwich grilled_salmon guacamole gyoza
  hamburger hot_and_sour_soup hot_dog huevos_rancheros hummus ice_cream lasagna lobster_bisque lobster_roll_sandwich macaroni_and_cheese
  macarons miso_soup mussels nachos omelette onion_rings oysters pad_thai paella pancakes panna_cotta peking_duck pho pizza pork_chop
  poutine prime_rib pulled_pork_sandwich ramen ravioli red_velvet_cake risotto samosa sashimi scallops seaweed_salad shrimp_and_grits
  spaghetti_bolognese spaghetti_carbonara spring_rolls steak strawberry_shortcake sushi tacos takoyaki tiramisu tuna_tartare waffles`);

export const food101Files: readonly string[] = ['meta/classes.txt', 'meta/train.txt', 'meta/test.txt'];

/**
 * Reads the lists and looks whether their images are there. A part of the data set is whole when its lists and class
 * list say no more than it has. Errors: exit 3 with file and line.
 */
export function readFood101(name: string, folder: string): Published {
  const classes = readClassList(join(folder, 'meta/classes.txt'));
  const labels = new Map(classes.map((label, index) => [label, index]));
  const listed = (list: string): ListedImage[] =>
    readLines(join(folder, list)).map(({ text, at }) => {
      const [label = '', id = '', ...rest] = text.split('/');
      if (!isFileName(id) || rest.length > 0)
        throw new GqaError('data', `${at}: found "${text}"; expected <class>/<id>`);
      const index = labels.get(label);
      if (index === undefined)
        throw new GqaError('data', `${at}: class "${label}" is not in ${join(folder, 'meta/classes.txt')}`);
      return { path: join(folder, 'images', label, `${id}.jpg`), label: index, at };
    });
  const [train, test] = [listed('meta/train.txt'), listed('meta/test.txt')];
  checkListed([...train, ...test]);
  return {
    name,
    from: folder,
    classes,
    train: filesSplit('train', train),
    val: null,
    test: filesSplit('test', test),
    notices: [],
  };
}

export const food101Parquet: ParquetLayout = {
  image: 'image',
  label: 'label',
  train: 'train',
  test: 'validation',
  classes: null,
  order: food101Classes,
};

export const food101: DataSet = {
  layouts: [
    {
      folders: ['', 'food101', 'food-101', 'food101/food-101'],
      isIn: holdsAny(food101Files),
      expected: `${food101Files.join(', ')}, images/<class>/<id>.jpg`,
      read: (folder, { name }) => readFood101(name, folder),
      hint: 'Unpack the official archive (food-101.tar.gz) there.',
    },
    parquetMirror('food101', 'ethz/food101', food101Parquet),
  ],
  fetch: {
    title: 'Food-101',
    page: 'https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/',
    terms:
      'images from Foodspotting, not owned by the publisher; beyond scientific fair use it is a matter for their owners (license_agreement.txt)',
    source: 'address and MD5: torchvision/datasets/food101.py; size and SHA-256: TensorFlow Datasets',
    downloads: [
      {
        url: 'http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz',
        file: 'food-101.tar.gz',
        bytes: 4_996_278_331,
        sha256: 'd97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4',
        md5: '85eeb15f3717b99a5da872d97d918f87',
        unpack: 'tar.gz',
      },
    ],
    folder: 'food-101',
    wrapped: true,
    holds: ['images', 'meta/classes.txt', 'meta/train.txt', 'meta/test.txt'],
    unpacked: { bytes: 5_100_000_000, files: 101_010 },
    classes: 101,
    images: { train: 75_750, test: 25_250 },
    perClass: { train: 750, test: 250 },
  },
};
