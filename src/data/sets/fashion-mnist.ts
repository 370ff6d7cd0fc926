/** Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747): the four files of MNIST’s form. */
import { idxFiles } from '../formats/idx.js';
import { type DataSet, idxDownloads, idxLayout } from './layout.js';

const FASHION_CLASSES = [
  'T-shirt/top',
  'Trouser',
  'Pullover',
  'Dress',
  'Coat',
  'Sandal',
  'Shirt',
  'Sneaker',
  'Bag',
  'Ankle boot',
];
export const fashionMnist: DataSet = {
  layouts: [
    {
      ...idxLayout(
        ['', 'fashion-mnist', 'FashionMNIST/raw'],
        FASHION_CLASSES,
        "Debian's package dataset-fashion-mnist brings them all; data.root: datasets/fashion-mnist-subset takes the 3,000 images that come with this repository.",
      ),
      systemFolders: ['/usr/share/datasets/fashion-mnist'],
    },
  ],
  fetch: {
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
};
