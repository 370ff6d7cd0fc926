/**
 * What can be fetched, and what the official sets hold: addresses, checksums, counts. One table; everything else reads
 * it. Addresses and MD5: the publisher's page, or torchvision
 * (torchvision/datasets/{cifar,food101,mnist,oxford_iiit_pet}.py). Sizes and SHA-256: TensorFlow Datasets, which
 * recorded them from the same addresses (tensorflow_datasets/url_checksums/<name>.txt). Where there is a SHA-256 it
 * decides; MD5 alone tells damage, but not a forger.
 */
import { cifar10, cifar100 } from '../formats/cifar.js';
import { idxFiles } from '../formats/idx.js';

export interface Download {
  url: string;
  /** The file's name: below a mirror, and when placed by hand. */
  file: string;
  bytes: number;
  /** In hexadecimal; null where nobody published one. */
  sha256: string | null;
  md5: string;
  /** null: stays as it is, a file of the folder. */
  unpack: 'tar.gz' | 'zip' | null;
}

/** Images of each class: one number where all classes have as many, else one a class. */
export type PerClass = number | readonly number[];

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

const CIFAR_PAGE = 'https://www.cs.toronto.edu/~kriz/cifar.html';
const CIFAR_TERMS =
  'no licence given; the page asks to cite Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009';
const CIFAR_SOURCE = 'MD5: the page of the publisher; size and SHA-256: TensorFlow Datasets';

/** The four files of MNIST's form, kept packed: the reader takes them so. */
function idxDownloads(base: string, sums: readonly { bytes: number; md5: string; sha256: string }[]): Download[] {
  return idxFiles.map((name, i) => ({ url: `${base}${name}.gz`, file: `${name}.gz`, unpack: null, ...sums[i]! }));
}

/** By `data.name`. */
export const catalogue: Readonly<Record<string, CatalogueEntry>> = {
  cifar10: {
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
    holds: [...cifar10.train, ...cifar10.test, cifar10.names],
    unpacked: { bytes: 184_400_000, files: 8 },
    classes: 10,
    images: { train: 50_000, test: 10_000 },
    perClass: { train: 5000, test: 1000 },
  },
  cifar100: {
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
    holds: [...cifar100.train, ...cifar100.test, cifar100.names],
    unpacked: { bytes: 184_500_000, files: 5 },
    classes: 100,
    images: { train: 50_000, test: 10_000 },
    perClass: { train: 500, test: 100 },
  },
  food101: {
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
  'tiny-imagenet': {
    title: 'Tiny ImageNet (200 classes)',
    page: 'http://cs231n.stanford.edu/',
    terms: "a part of ImageNet: for research and education, under ImageNet's terms of access",
    source:
      'address and size: the course page and TensorFlow Datasets, which also has the SHA-256; MD5 as commonly used (no publisher gives one)',
    downloads: [
      {
        url: 'http://cs231n.stanford.edu/tiny-imagenet-200.zip',
        file: 'tiny-imagenet-200.zip',
        bytes: 248_100_043,
        sha256: '6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821',
        md5: '90528d7ca1a48142e341f4ef8d21d0de',
        unpack: 'zip',
      },
    ],
    folder: 'tiny-imagenet-200',
    wrapped: true,
    holds: ['wnids.txt', 'words.txt', 'train', 'val/images', 'val/val_annotations.txt'],
    unpacked: { bytes: 250_000_000, files: 120_210 },
    classes: 200,
    images: { train: 100_000, test: 10_000 },
    perClass: { train: 500, test: 50 },
  },
  mnist: {
    title: 'MNIST',
    page: 'http://yann.lecun.com/exdb/mnist/',
    terms: 'no licence on the page of the publisher',
    source:
      "address (PyTorch's mirror: the publisher's own refuses downloads) and MD5: torchvision/datasets/mnist.py; sizes and SHA-256: TensorFlow Datasets",
    downloads: idxDownloads('https://ossci-datasets.s3.amazonaws.com/mnist/', [
      {
        bytes: 9_912_422,
        md5: 'f68b3c2dcbeaaa9fbdd348bbdeb94873',
        sha256: '440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609',
      },
      {
        bytes: 28_881,
        md5: 'd53e105ee54ea40749a09fcbcd1e9432',
        sha256: '3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c',
      },
      {
        bytes: 1_648_877,
        md5: '9fb629c4189551a2d022fa330f9573f3',
        sha256: '8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6',
      },
      {
        bytes: 4542,
        md5: 'ec29112dd5afa0611ce80d1b7f02629c',
        sha256: 'f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6',
      },
    ]),
    folder: 'mnist',
    wrapped: true,
    holds: idxFiles.map((name) => `${name}.gz`),
    unpacked: { bytes: 11_594_722, files: 4 },
    classes: 10,
    images: { train: 60_000, test: 10_000 },
    perClass: {
      train: [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
      test: [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    },
  },
  'fashion-mnist': {
    title: 'Fashion-MNIST',
    page: 'https://github.com/zalandoresearch/fashion-mnist',
    terms: 'MIT, Zalando SE',
    source:
      'address and MD5: the page of the publisher and torchvision/datasets/mnist.py; sizes and SHA-256: TensorFlow Datasets',
    downloads: idxDownloads('http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/', [
      {
        bytes: 26_421_880,
        md5: '8d4fb7e6c68d591d4c3dfef9ec88bf0d',
        sha256: '3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84',
      },
      {
        bytes: 29_515,
        md5: '25c81989df183df01b3e8a0aad5dffbe',
        sha256: 'a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845',
      },
      {
        bytes: 4_422_102,
        md5: 'bef4ecab320f06d8554ea6380940ec79',
        sha256: '346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073',
      },
      {
        bytes: 5148,
        md5: 'bb300cfdad3c16e7a12a480ee83cd310',
        sha256: '67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5',
      },
    ]),
    folder: 'fashion-mnist',
    wrapped: true,
    holds: idxFiles.map((name) => `${name}.gz`),
    unpacked: { bytes: 30_878_645, files: 4 },
    classes: 10,
    images: { train: 60_000, test: 10_000 },
    perClass: { train: 6000, test: 1000 },
  },
  'oxford-pet': {
    title: 'Oxford-IIIT Pet',
    page: 'https://www.robots.ox.ac.uk/~vgg/data/pets/',
    terms: 'CC BY-SA 4.0; the images belong to their owners',
    source: 'addresses and MD5: torchvision/datasets/oxford_iiit_pet.py; sizes and SHA-256: TensorFlow Datasets',
    downloads: [
      {
        url: 'https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz',
        file: 'images.tar.gz',
        bytes: 791_918_971,
        sha256: '67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d',
        md5: '5c4f3ee8e5d25df40f4fd59a7f44e54c',
        unpack: 'tar.gz',
      },
      {
        url: 'https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz',
        file: 'annotations.tar.gz',
        bytes: 19_173_078,
        sha256: '52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91',
        md5: '95a8c909bbe2e81eed6a22bccdf3f68f',
        unpack: 'tar.gz',
      },
    ],
    folder: 'oxford-iiit-pet',
    wrapped: false,
    holds: ['images', 'annotations/trainval.txt', 'annotations/test.txt'],
    unpacked: { bytes: 850_000_000, files: 26_000 },
    classes: 37,
    images: { train: 3680, test: 3669 },
    perClass: null,
  },
  cinic10: {
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

/** Images of every class, as a list. */
export function perClassList(perClass: PerClass, classes: number): number[] {
  return typeof perClass === 'number' ? Array.from({ length: classes }, () => perClass) : [...perClass];
}
