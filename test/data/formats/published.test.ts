/**
 * Data sets of image files in their published layouts, with lists: good ones, and every way in which a list can be
 * wrong. Files are empty: the readers decode nothing.
 */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { test } from 'node:test';
import type { Config } from '../../../src/config/schema.js';
import type { Dataset, Split } from '../../../src/data/dataset.js';
import { openSplit } from '../../../src/data/open.js';
import { inputSize } from '../../../src/data/pipeline/pipeline.js';
import { failure, openBoth, place, testFolder } from '../files.js';

type Files = Record<string, string>;

const food: Files = {
  'meta/classes.txt': 'apple_pie\nwaffles\n',
  'meta/train.txt': 'apple_pie/12\r\nwaffles/7\r\napple_pie/3\r\n',
  'meta/test.txt': 'waffles/9\n\n',
  'images/apple_pie/12.jpg': '',
  'images/apple_pie/3.jpg': '',
  'images/waffles/7.jpg': '',
  'images/waffles/9.jpg': '',
};

const tiny: Files = {
  'wnids.txt': 'n02\nn01\n',
  'train/n01/images/n01_0.JPEG': '',
  'train/n02/images/n02_10.JPEG': '',
  'train/n02/images/n02_9.JPEG': '',
  'train/n02/n02_boxes.txt': 'n02_9.JPEG\t0\t0\t1\t1\n',
  'val/val_annotations.txt': 'val_1.JPEG\tn01\t0\t0\t1\t1\nval_0.JPEG\tn02\t0\t0\t1\t1\n',
  'val/images/val_0.JPEG': '',
  'val/images/val_1.JPEG': '',
  'test/images/test_0.JPEG': '',
};

const pets: Files = {
  'annotations/trainval.txt': 'Abyssinian_100 1 1 1\nyorkshire_terrier_2 3 2 2\namerican_bulldog_7 2 2 1\n',
  'annotations/test.txt': 'Abyssinian_2 1 1 1\n',
  'images/Abyssinian_100.jpg': '',
  'images/Abyssinian_2.jpg': '',
  'images/Abyssinian_100.mat': '',
  'images/american_bulldog_7.jpg': '',
  'images/yorkshire_terrier_2.jpg': '',
};

function placeAll(root: string, files: Files): string {
  for (const [name, text] of Object.entries(files)) place(root, name, text);
  return root;
}

function listed(root: string, { labels, source }: Split): [string, number | undefined][] {
  assert.ok(source.kind === 'files');
  return source.paths.map((path, i) => [relative(root, path), labels[i]]);
}

const open = (name: Config['data']['name'], root: string): Promise<Dataset & { test: Split }> =>
  openBoth({ name, root });

test('Food101: classes as listed, images in the order of the lists', async (t) => {
  const root = placeAll(testFolder(t), food);
  const { classes, train, test: other } = await open('food101', root);
  assert.deepEqual(classes, ['apple_pie', 'waffles']);
  assert.deepEqual(listed(root, train), [
    ['images/apple_pie/12.jpg', 0],
    ['images/waffles/7.jpg', 1],
    ['images/apple_pie/3.jpg', 0],
  ]);
  assert.deepEqual(listed(root, other), [['images/waffles/9.jpg', 1]]);
  assert.deepEqual(inputSize(train.source, 224), { height: 224, width: 224 });
});

test('Tiny ImageNet: classes in the order of wnids.txt, val as published is the test split, images cross at 64 × 64', async (t) => {
  const root = placeAll(testFolder(t), tiny);
  const { classes, train, test: other } = await open('tiny-imagenet', root);
  assert.deepEqual(classes, ['n02', 'n01']);
  assert.deepEqual(listed(root, train), [
    ['train/n02/images/n02_10.JPEG', 0],
    ['train/n02/images/n02_9.JPEG', 0],
    ['train/n01/images/n01_0.JPEG', 1],
  ]);
  assert.deepEqual(listed(root, other), [
    ['val/images/val_1.JPEG', 1],
    ['val/images/val_0.JPEG', 0],
  ]);
  assert.deepEqual(inputSize(other.source, 224), { height: 64, width: 64 });
  assert.deepEqual(inputSize(other.source, 32), { height: 32, width: 32 });
});

test('Oxford-IIIT Pet: labels of the files counted from 0, classes named as their images', async (t) => {
  const root = placeAll(testFolder(t), pets);
  const { classes, train, test: other } = await open('oxford-pet', root);
  assert.deepEqual(classes, ['Abyssinian', 'american_bulldog', 'yorkshire_terrier']);
  assert.deepEqual(listed(root, train), [
    ['images/Abyssinian_100.jpg', 0],
    ['images/yorkshire_terrier_2.jpg', 2],
    ['images/american_bulldog_7.jpg', 1],
  ]);
  assert.deepEqual(listed(root, other), [['images/Abyssinian_2.jpg', 0]]);
});

test('CINIC-10 and ImageNet: a folder a class; CINIC-10 leaves valid out, ImageNet takes val as test', async (t) => {
  const root = testFolder(t);
  placeAll(root, {
    'train/cat/a.png': '',
    'valid/cat/b.png': '',
    'test/cat/c.png': '',
    'train/ant/d.png': '',
    'test/ant/e.png': '',
  });
  const cinic = await open('cinic10', root);
  assert.deepEqual(cinic.classes, ['ant', 'cat']);
  assert.deepEqual(listed(root, cinic.train), [
    ['train/ant/d.png', 0],
    ['train/cat/a.png', 1],
  ]);
  assert.deepEqual(inputSize(cinic.test.source, 224), { height: 32, width: 32 });
  assert.match(cinic.notices.join(), /valid is not read: the validation part is taken from train/);
  const large = placeAll(testFolder(t), {
    'imagenet/train/n01/n01_1.JPEG': '',
    'imagenet/val/n01/ILSVRC2012_val_00000001.JPEG': '',
  });
  const imagenet = await open('imagenet', large);
  assert.deepEqual(listed(large, imagenet.test), [['imagenet/val/n01/ILSVRC2012_val_00000001.JPEG', 0]]);
  const flat = placeAll(testFolder(t), { 'train/n01/n01_1.JPEG': '', 'val/ILSVRC2012_val_00000001.JPEG': '' });
  await assert.rejects(open('imagenet', flat), failure('data', `${join(flat, 'val')} has no class folders`, '└── val'));
});

test('ImageNet for an evaluation: val alone is enough, where it lies as published', async (t) => {
  const root = placeAll(testFolder(t), { 'imagenet/val/n02/b.JPEG': '', 'imagenet/val/n01/a.JPEG': '' });
  const { train, test: other, classes } = await openSplit({ name: 'imagenet', root }, { split: 'test', classes: null });
  assert.deepEqual([train, classes, [...(other?.labels ?? [])]], [null, ['n01', 'n02'], [0, 1]]);
  await assert.rejects(
    openSplit({ name: 'imagenet', root }, { split: 'train', classes: null }),
    failure('data', 'imagenet was not found'),
  );
});

test("hidden files, macOS' and Windows' own are no images and no classes", async (t) => {
  const junk = ['._1.jpg', '.DS_Store', 'Thumbs.db', '.ipynb_checkpoints/1.jpg'];
  const beside = (folders: string[]): Files =>
    Object.fromEntries(folders.flatMap((folder) => junk.map((name) => [`${folder}/${name}`, ''])));
  const foodRoot = placeAll(testFolder(t), { ...food, ...beside(['', 'images', 'images/waffles']) });
  assert.equal((await open('food101', foodRoot)).train.labels.length, 3);
  const tinyRoot = placeAll(testFolder(t), { ...tiny, ...beside(['train', 'train/n01/images', 'val/images']) });
  const read = await open('tiny-imagenet', tinyRoot);
  assert.deepEqual([read.classes.length, read.train.labels.length, read.test.labels.length], [2, 3, 2]);
  const cinicRoot = placeAll(testFolder(t), {
    'train/cat/a.png': '',
    'test/cat/c.png': '',
    ...beside(['train', 'train/cat', 'test', 'test/cat']),
  });
  assert.equal((await open('cinic10', cinicRoot)).train.labels.length, 1);
});

test('each is found in the folder that its archive or torchvision makes', async (t) => {
  const places: [Config['data']['name'], Files, string][] = [
    ['food101', food, 'food-101'],
    ['food101', food, 'food101/food-101'],
    ['tiny-imagenet', tiny, 'tiny-imagenet-200'],
    ['oxford-pet', pets, 'oxford-iiit-pet'],
  ];
  for (const [name, files, folder] of places) {
    const root = testFolder(t);
    placeAll(join(root, folder), files);
    assert.equal((await open(name, root)).from, join(root, folder));
  }
  const none = testFolder(t);
  await assert.rejects(open('food101', none), failure('data', 'meta/train.txt', join(none, 'food-101')));
  await assert.rejects(open('tiny-imagenet', none), failure('data', 'wnids.txt', join(none, 'tiny-imagenet-200')));
});

const wrong: [what: string, name: Config['data']['name'], files: Files, change: Files | string, said: string[]][] = [
  ['a list that is missing', 'food101', food, 'meta/test.txt', ['meta/test.txt is missing']],
  ['an empty list', 'food101', food, { 'meta/train.txt': '\n' }, ['meta/train.txt is empty']],
  [
    'a class that the class list has not',
    'food101',
    food,
    { 'meta/test.txt': 'waffles/9\nsoup/1\n' },
    ['meta/test.txt:2', '"soup"'],
  ],
  ['a line of another form', 'food101', food, { 'meta/train.txt': 'waffles\n' }, ['meta/train.txt:1', '<class>/<id>']],
  [
    'a line that leads elsewhere',
    'food101',
    food,
    { 'meta/train.txt': 'waffles/../../secret\n' },
    ['meta/train.txt:1'],
  ],
  [
    'an image listed twice',
    'food101',
    food,
    { 'meta/test.txt': 'waffles/7\n' },
    ['meta/test.txt:1', 'meta/train.txt:2'],
  ],
  [
    'a class listed twice',
    'food101',
    food,
    { 'meta/classes.txt': 'waffles\nwaffles\n' },
    ['meta/classes.txt:2', 'waffles'],
  ],
  ['images that are not there', 'food101', food, 'images/apple_pie', ['2 of 4 images', '12.jpg', 'meta/train.txt:3']],
  ['a class folder that is not there', 'tiny-imagenet', tiny, 'train/n01', ['train/n01/images']],
  [
    'an annotation of an unknown class',
    'tiny-imagenet',
    tiny,
    { 'val/val_annotations.txt': 'val_0.JPEG\tn9\t0\t0\t1\t1\n' },
    [':1', '"n9"'],
  ],
  [
    'a cut annotation',
    'tiny-imagenet',
    tiny,
    { 'val/val_annotations.txt': 'val_0.JPEG\tn02\t0\n' },
    ['val_annotations.txt:1', 'wnid'],
  ],
  [
    'val images without a line',
    'tiny-imagenet',
    tiny,
    { 'val/val_annotations.txt': 'val_1.JPEG\tn01\t0\t0\t1\t1\n' },
    ['1 image has no line', 'val_0.JPEG'],
  ],
  [
    'a val image that is not there',
    'tiny-imagenet',
    tiny,
    'val/images/val_0.JPEG',
    ['1 of 2 images', 'val_annotations.txt:2'],
  ],
  [
    'val sorted into folders',
    'tiny-imagenet',
    tiny,
    { 'val/images/n01/val_2.JPEG': '' },
    ['val/images/n01 is a folder'],
  ],
  [
    'a class with two numbers',
    'oxford-pet',
    pets,
    { 'annotations/test.txt': 'Abyssinian_2 2 1 1\n' },
    ['test.txt:1', 'class 2'],
  ],
  [
    'a class number that nothing has',
    'oxford-pet',
    pets,
    { 'annotations/trainval.txt': 'pug_1 4 2 2\n' },
    ['of class 2'],
  ],
  [
    'a pet list of another form',
    'oxford-pet',
    pets,
    { 'annotations/trainval.txt': 'pug_1 4\n' },
    ['trainval.txt:1', 'three numbers'],
  ],
];

for (const [what, name, files, change, said] of wrong) {
  test(`${name} refuses ${what}, with its place`, async (t) => {
    const root = placeAll(testFolder(t), files);
    if (typeof change === 'string') rmSync(join(root, change), { recursive: true });
    else placeAll(root, change);
    await assert.rejects(open(name, root), failure('data', root, ...said));
  });
}
