/** MNIST: four files of its own form. */
import { idxFiles } from '../formats/idx.js';
import { type DataSet, idxDownloads, idxLayout } from './layout.js';

const DIGITS = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];

export const mnist: DataSet = {
  layouts: [idxLayout(['', 'mnist', 'MNIST/raw'], DIGITS, 'Place the four official files in one of these folders.')],
  fetch: {
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
};
