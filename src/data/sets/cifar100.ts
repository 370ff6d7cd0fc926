/**
 * CIFAR-100, with its 100 classes or their 20 superclasses: binary and python version, and the mirror of parquet files.
 */
import type { CifarLayout } from '../formats/cifar.js';
import type { CifarPythonLayout } from '../formats/cifar-python.js';
import { words } from '../formats/class-order.js';
import type { ParquetLayout } from '../formats/parquet.js';
import { CIFAR_PAGE, CIFAR_SOURCE, CIFAR_TERMS, cifar10Parquet } from './cifar10.js';
import { cifarBinary, cifarPython, type DataSet, parquetMirror } from './layout.js';

export const cifar100Classes: readonly string[] = words(`
  apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle caterpillar cattle
  chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard
  lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
  plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
  squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm`);

export const cifar100CoarseClasses: readonly string[] = words(`
  aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices household_furniture insects large_carnivores
  large_man-made_outdoor_things large_natural_outdoor_scenes large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles
  small_mammals trees vehicles_1 vehicles_2`);

/** With the fine labels. */
export const cifar100Binary: CifarLayout = {
  train: ['train.bin'],
  test: ['test.bin'],
  names: 'fine_label_names.txt',
  classes: 100,
  labelBytes: 2,
  labelAt: 1,
  recordsPerFile: { train: 50_000, test: 10_000 },
};

/** With the 20 superclasses. */
export const cifar100CoarseBinary: CifarLayout = {
  ...cifar100Binary,
  names: 'coarse_label_names.txt',
  classes: 20,
  labelAt: 0,
};

export const cifar100Python: CifarPythonLayout = {
  train: ['train'],
  test: ['test'],
  meta: 'meta',
  names: 'fine_label_names',
  labels: 'fine_labels',
  classes: 100,
  recordsPerFile: { train: 50_000, test: 10_000 },
};

export const cifar100PythonCoarse: CifarPythonLayout = {
  ...cifar100Python,
  names: 'coarse_label_names',
  labels: 'coarse_labels',
  classes: 20,
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

export const cifar100: DataSet = {
  layouts: [
    cifarBinary(
      ['', 'cifar100', 'cifar-100-binary', 'cifar100/cifar-100-binary'],
      cifar100Binary,
      cifar100CoarseBinary,
      'Unpack the official "CIFAR-100 binary version" (cifar-100-binary.tar.gz) there.',
    ),
    cifarPython(
      ['', 'cifar100', 'cifar-100-python', 'cifar100/cifar-100-python'],
      cifar100Python,
      cifar100PythonCoarse,
    ),
    parquetMirror('cifar100', 'uoft-cs/cifar100', cifar100Parquet, cifar100CoarseParquet),
  ],
  fetch: {
    title: 'CIFAR-100, binary version',
    page: CIFAR_PAGE,
    terms: CIFAR_TERMS,
    source: CIFAR_SOURCE,
    downloads: [
      {
        url: 'https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz',
        file: 'cifar-100-binary.tar.gz',
        bytes: 168_513_733,
        sha256: '58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec',
        md5: '03b5dce01913d631647c71ecec9e9cb8',
        unpack: 'tar.gz',
      },
    ],
    folder: 'cifar-100-binary',
    wrapped: true,
    holds: [...cifar100Binary.train, ...cifar100Binary.test, cifar100Binary.names],
    unpacked: { bytes: 184_500_000, files: 5 },
    classes: 100,
    images: { train: 50_000, test: 10_000 },
    perClass: { train: 500, test: 100 },
  },
};
