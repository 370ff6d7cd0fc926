/** CIFAR-10: binary and python version, and the mirror of parquet files. */
import type { CifarLayout } from '../formats/cifar.js';
import type { CifarPythonLayout } from '../formats/cifar-python.js';
import { words } from '../formats/class-order.js';
import type { ParquetLayout } from '../formats/parquet.js';
import { cifarBinary, cifarPython, type DataSet, parquetMirror } from './layout.js';

export const CIFAR_PAGE = 'https://www.cs.toronto.edu/~kriz/cifar.html';
export const CIFAR_TERMS =
  'no licence given; the page asks to cite Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009';
export const CIFAR_SOURCE = 'MD5: the page of the publisher; size and SHA-256: TensorFlow Datasets';

export const CIFAR_SIZE = { height: 32, width: 32 };

/** Official class names in label order, for files that do not bring them or bring them in another order. */
export const cifar10Classes: readonly string[] = words('airplane automobile bird cat deer dog frog horse ship truck');

export const cifar10Binary: CifarLayout = {
  train: ['data_batch_1.bin', 'data_batch_2.bin', 'data_batch_3.bin', 'data_batch_4.bin', 'data_batch_5.bin'],
  test: ['test_batch.bin'],
  names: 'batches.meta.txt',
  classes: 10,
  labelBytes: 1,
  labelAt: 0,
  recordsPerFile: { train: 10_000, test: 10_000 },
};

export const cifar10Python: CifarPythonLayout = {
  train: ['data_batch_1', 'data_batch_2', 'data_batch_3', 'data_batch_4', 'data_batch_5'],
  test: ['test_batch'],
  meta: 'batches.meta',
  names: 'label_names',
  labels: 'labels',
  classes: 10,
  recordsPerFile: { train: 10_000, test: 10_000 },
};

export const cifar10Parquet: ParquetLayout = {
  image: 'img',
  label: 'label',
  train: 'train',
  test: 'test',
  classes: cifar10Classes,
  order: cifar10Classes,
  size: CIFAR_SIZE,
};

export const cifar10: DataSet = {
  layouts: [
    cifarBinary(
      ['', 'cifar10', 'cifar-10-batches-bin', 'cifar10/cifar-10-batches-bin'],
      cifar10Binary,
      cifar10Binary,
      'Unpack the official "CIFAR-10 binary version" (cifar-10-binary.tar.gz) there. For CIFAR-10 as image files use data.name: image-folder.',
    ),
    cifarPython(['', 'cifar10', 'cifar-10-batches-py', 'cifar10/cifar-10-batches-py'], cifar10Python, cifar10Python),
    parquetMirror('cifar10', 'uoft-cs/cifar10', cifar10Parquet),
  ],
  fetch: {
    title: 'CIFAR-10, binary version',
    page: CIFAR_PAGE,
    terms: CIFAR_TERMS,
    source: CIFAR_SOURCE,
    downloads: [
      {
        url: 'https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz',
        file: 'cifar-10-binary.tar.gz',
        bytes: 170_052_171,
        sha256: 'c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd',
        md5: 'c32a1d4ab5d03f1284b67883e8d87530',
        unpack: 'tar.gz',
      },
    ],
    folder: 'cifar-10-batches-bin',
    wrapped: true,
    holds: [...cifar10Binary.train, ...cifar10Binary.test, cifar10Binary.names],
    unpacked: { bytes: 184_400_000, files: 8 },
    classes: 10,
    images: { train: 50_000, test: 10_000 },
    perClass: { train: 5000, test: 1000 },
  },
};
