/**
 * Tiny ImageNet as published: classes are the lines of `wnids.txt`, in that order; images of 64 × 64 in
 * `train/<wnid>/images` and, for all classes together, in `val/images`, with `val/val_annotations.txt` saying the class
 * of each (name, wnid and a box, between tabs). The labels of its `test` folder were never published: `val` is the test
 * split here.
 */
import { join } from 'node:path';
import { counted } from '../../counted.js';
import { GqaError } from '../../errors.js';
import { filesSplit, type Published } from '../dataset.js';
import { inOrder, words } from '../formats/class-order.js';
import { listImages } from '../formats/list-images.js';
import { checkListed, type ListedImage, readClassList, readLines } from '../formats/lists.js';
import type { ParquetLayout } from '../formats/parquet.js';
import { food101Parquet } from './food101.js';
import { type DataSet, holdsAny, parquetMirror } from './layout.js';

/**
 * `wnids.txt` of the official archive (cs231n.stanford.edu/tiny-imagenet-200.zip), its lines in their order. The
 * parquet mirror sorts them.
 */
export const tinyImagenetWnids: readonly string[] = words(`
  n02124075 n04067472 n04540053 n04099969 n07749582 n01641577 n02802426 n09246464 n07920052 n03970156 n03891332 n02106662 n03201208 n02279972
  n02132136 n04146614 n07873807 n02364673 n04507155 n03854065 n03838899 n03733131 n01443537 n07875152 n03544143 n09428293 n03085013 n02437312
  n07614500 n03804744 n04265275 n02963159 n02486410 n01944390 n09256479 n02058221 n04275548 n02321529 n02769748 n02099712 n07695742 n02056570
  n02281406 n01774750 n02509815 n03983396 n07753592 n04254777 n02233338 n04008634 n02823428 n02236044 n03393912 n07583066 n04074963 n01629819
  n09332890 n02481823 n03902125 n03404251 n09193705 n03637318 n04456115 n02666196 n03796401 n02795169 n02123045 n01855672 n01882714 n02917067
  n02988304 n04398044 n02843684 n02423022 n02669723 n04465501 n02165456 n03770439 n02099601 n04486054 n02950826 n03814639 n04259630 n03424325
  n02948072 n03179701 n03400231 n02206856 n03160309 n01984695 n03977966 n03584254 n04023962 n02814860 n01910747 n04596742 n03992509 n04133789
  n03937543 n02927161 n01945685 n02395406 n02125311 n03126707 n04532106 n02268443 n02977058 n07734744 n03599486 n04562935 n03014705 n04251144
  n04356056 n02190166 n03670208 n02002724 n02074367 n04285008 n04560804 n04366367 n02403003 n07615774 n04501370 n03026506 n02906734 n01770393
  n04597913 n03930313 n04118538 n04179913 n04311004 n02123394 n04070727 n02793495 n02730930 n02094433 n04371430 n04328186 n03649909 n04417672
  n03388043 n01774384 n02837789 n07579787 n04399382 n02791270 n03089624 n02814533 n04149813 n07747607 n03355925 n01983481 n04487081 n03250847
  n03255030 n02892201 n02883205 n03100240 n02415577 n02480495 n01698640 n01784675 n04376876 n03444034 n01917289 n01950731 n03042490 n07711569
  n04532670 n03763968 n07768694 n02999410 n03617480 n06596364 n01768244 n02410509 n03976657 n01742172 n03980874 n02808440 n02226429 n02231487
  n02085620 n01644900 n02129165 n02699494 n03837869 n02815834 n07720875 n02788148 n02909870 n03706229 n07871810 n03447447 n02113799 n12267677
  n03662601 n02841315 n07715103 n02504458`);

export const tinyImagenetFiles: readonly string[] = ['wnids.txt', 'val/val_annotations.txt'];

const SIZE = { height: 64, width: 64 };

/** Lists the images of both splits. Errors: exit 3, with file and line, or with the folder that is missing or empty. */
export function readTinyImagenet(name: string, folder: string): Published {
  const wnids = join(folder, 'wnids.txt');
  const classes = readClassList(wnids);
  const train = classes.flatMap((wnid, label) =>
    listImages(join(folder, 'train', wnid, 'images')).map((path) => ({ path, label })),
  );
  const labels = new Map(classes.map((wnid, label) => [wnid, label]));
  const annotations = join(folder, 'val/val_annotations.txt');
  const val = readLines(annotations).map(({ text, at }): ListedImage => {
    const [image = '', wnid = '', ...box] = text.split('\t');
    if (!/^[\w.-]+\.jpe?g$/i.test(image) || box.length !== 4) {
      throw new GqaError(
        'data',
        `${at}: found "${text}"; expected <image>.JPEG, its wnid and four numbers, between tabs`,
      );
    }
    const label = labels.get(wnid);
    if (label === undefined) throw new GqaError('data', `${at}: class "${wnid}" is not in ${wnids}`);
    return { path: join(folder, 'val/images', image), label, at };
  });
  checkListed(val);
  const listed = new Set(val.map(({ path }) => path));
  const unlisted = listImages(join(folder, 'val/images')).filter((path) => !listed.has(path));
  if (unlisted.length > 0) {
    throw new GqaError(
      'data',
      `${counted(unlisted.length, 'image')} ${unlisted.length === 1 ? 'has' : 'have'} no line in ${annotations}, the first ${unlisted[0]}`,
      {
        hint: 'The list is cut short or of another copy: unpack the whole official archive.',
      },
    );
  }
  const official = inOrder(classes, new Int32Array(), tinyImagenetWnids).classes;
  const notices =
    official.join() === classes.join()
      ? []
      : [`${wnids} is in another order than the official archive's: labels are positions in this file`];
  return {
    name,
    from: folder,
    classes,
    train: filesSplit('train', train, SIZE),
    val: null,
    test: filesSplit('test', val, SIZE),
    notices,
  };
}

const tinyImagenetParquet: ParquetLayout = {
  ...food101Parquet,
  test: 'valid',
  order: tinyImagenetWnids,
  size: { height: 64, width: 64 },
};

export const tinyImagenet: DataSet = {
  layouts: [
    {
      folders: ['', 'tiny-imagenet', 'tiny-imagenet-200', 'tiny-imagenet/tiny-imagenet-200'],
      isIn: holdsAny(tinyImagenetFiles),
      expected: `${tinyImagenetFiles.join(', ')}, train/<wnid>/images/*.JPEG, val/images/*.JPEG`,
      read: (folder, { name }) => readTinyImagenet(name, folder),
      hint: 'Unpack the official archive (tiny-imagenet-200.zip) there.',
    },
    parquetMirror('tiny-imagenet', 'zh-plus/tiny-imagenet', tinyImagenetParquet),
  ],
  fetch: {
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
};
