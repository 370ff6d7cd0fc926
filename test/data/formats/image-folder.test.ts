import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { test } from 'node:test';
import type { Evaluable, SplitName } from '../../../src/data/dataset.js';
import { readImageFolder, readWantedSplit } from '../../../src/data/formats/image-folder.js';
import { readClassList } from '../../../src/data/formats/lists.js';
import { imageFolder } from '../../../src/data/sets/image-folder.js';
import type { GqaError } from '../../../src/errors.js';
import { failure, place, testFolder, withTest } from '../files.js';

/** Empty files: the reader lists names, it decodes nothing. */
function placeAll(root: string, ...names: string[]): void {
  for (const name of names) place(root, name, '');
}

test('sorts classes and files by code unit, as torchvision does', (t) => {
  const root = testFolder(t);
  placeAll(
    root,
    'train/b/10.jpg',
    'train/b/9.png',
    'train/B/x.JPEG',
    'train/ä/y.webp',
    'test/b/1.jpg',
    'test/B/1.jpg',
    'test/ä/1.jpg',
  );
  const { classes, train, test: other } = withTest(readImageFolder('image-folder', root, imageFolder));
  assert.deepEqual(classes, ['B', 'b', 'ä']);
  assert.deepEqual([...train.labels], [0, 1, 1, 2]);
  assert.deepEqual([...other.labels], [0, 1, 2]);
  assert.ok(train.source.kind === 'files');
  assert.deepEqual(
    train.source.paths,
    ['train/B/x.JPEG', 'train/b/10.jpg', 'train/b/9.png', 'train/ä/y.webp'].map((name) => join(root, name)),
  );
});

test("classes, images and labels are those of torchvision's ImageFolder (torchvision/image-folder.py)", (t) => {
  const { files, classes, samples } = JSON.parse(readFileSync('test/data/torchvision/image-folder.json', 'utf8'));
  const root = testFolder(t);
  placeAll(root, ...files.flatMap((name: string) => [`train/${name}`, `test/${name}`]));
  const read = readImageFolder('image-folder', root, imageFolder);
  assert.deepEqual(read.classes, classes);
  const { labels, source } = read.train;
  assert.ok(source.kind === 'files');
  assert.deepEqual(
    source.paths.map((path, i) => [relative(join(root, 'train'), path), labels[i]]),
    samples,
  );
});

test('ignores hidden files and folders, and files that are no images', (t) => {
  const root = testFolder(t);
  placeAll(
    root,
    'train/a/1.jpg',
    'train/a/.1.jpg',
    'train/a/notes.txt',
    'train/.cache/1.jpg',
    'train/list.csv',
    'test/a/1.jpg',
    '.DS_Store',
  );
  const { classes, train, test: other } = withTest(readImageFolder('image-folder', root, imageFolder));
  assert.deepEqual(classes, ['a']);
  assert.deepEqual([train.labels.length, other.labels.length], [1, 1]);
});

test('follows links to class folders', (t) => {
  const root = testFolder(t);
  placeAll(root, 'elsewhere/1.jpg', 'test/a/1.jpg');
  mkdirSync(join(root, 'train'));
  symlinkSync(join(root, 'elsewhere'), join(root, 'train/a'));
  assert.deepEqual(readImageFolder('image-folder', root, imageFolder).classes, ['a']);
});

test('shows the expected layout when splits are missing', (t) => {
  const root = testFolder(t);
  placeAll(root, 'train/a/1.jpg', 'train/b/1.jpg');
  assert.throws(
    () => readImageFolder('image-folder', root, imageFolder),
    failure('data', `${join(root, 'test')} is not there`, '├── train', '<class>'),
  );
});

const COUNTS = ({ train, val, test: other }: Evaluable): unknown =>
  [train, val, other].map((split) => split?.labels.length ?? null);
const valIsTest = { valIs: 'test' } as const;

test('val, valid and validation are the validation part, with a test split or without one', (t) => {
  for (const val of ['val', 'valid', 'validation']) {
    const root = testFolder(t);
    placeAll(root, 'train/a/1.jpg', 'train/b/1.jpg', 'train/b/2.jpg', `${val}/a/3.jpg`, `${val}/b/3.jpg`);
    const alone = readImageFolder('image-folder', root, imageFolder);
    assert.deepEqual([COUNTS(alone), alone.val?.name, [...(alone.val?.labels ?? [])]], [[3, 2, null], 'val', [0, 1]]);
    const asTest = readImageFolder('image-folder', root, imageFolder, valIsTest);
    assert.deepEqual([COUNTS(asTest), asTest.test?.name], [[3, null, 2], 'test']);
    placeAll(root, 'test/a/4.jpg', 'test/b/4.jpg', 'test/b/5.jpg');
    assert.deepEqual(COUNTS(readImageFolder('image-folder', root, imageFolder)), [3, 2, 3]);
    assert.throws(
      () => readImageFolder('image-folder', root, imageFolder, valIsTest),
      failure('usage', 'data.val_is is test', val),
    );
  }
});

test('data.val_is: test without a folder val, two folders for the validation part: refused', (t) => {
  const root = testFolder(t);
  placeAll(root, 'train/a/1.jpg', 'train/b/1.jpg', 'test/a/1.jpg', 'test/b/1.jpg');
  assert.throws(
    () => readImageFolder('image-folder', root, imageFolder, valIsTest),
    failure('usage', 'has no val or valid or validation'),
  );
  placeAll(root, 'val/a/1.jpg', 'val/b/1.jpg', 'valid/a/1.jpg', 'valid/b/1.jpg');
  assert.throws(
    () => readImageFolder('image-folder', root, imageFolder),
    failure('data', 'val and valid', 'which is the validation part'),
  );
});

test('folders beside the splits are reported; one that is nearly named as a missing split is refused', (t) => {
  const root = testFolder(t);
  placeAll(
    root,
    'train/a/1.jpg',
    'train/b/1.jpg',
    'test/a/1.jpg',
    'test/b/1.jpg',
    'unlabeled/1.jpg',
    'extra/a/1.jpg',
    '__MACOSX/a/1.jpg',
  );
  assert.deepEqual(readImageFolder('image-folder', root, imageFolder).notices, [
    `${root}: only train, test are read, not extra, unlabeled`,
  ]);
  placeAll(root, 'train/loose.jpg', 'train/list.csv');
  assert.ok(
    readImageFolder('image-folder', root, imageFolder).notices.some((line) =>
      line.includes('1 image beside the class folders is not read'),
    ),
  );
  for (const [near, missing] of [
    ['Train', 'train'],
    ['training', 'train'],
    ['TEST', 'test'],
    ['dev', 'val'],
    ['Val', 'val'],
  ] as const) {
    const other = testFolder(t);
    const names = ['train', 'test'].map((split) => (split === missing ? near : split));
    placeAll(
      other,
      ...[...names, ...(missing === 'val' ? [near] : [])].flatMap((split) => [`${split}/a/1.jpg`, `${split}/b/1.jpg`]),
    );
    assert.throws(
      () => readImageFolder('image-folder', other, imageFolder),
      failure('data', join(other, near), `expected ${missing}`),
    );
  }
});

test('a root one folder too high is reported where the splits are', (t) => {
  const root = testFolder(t);
  placeAll(root, 'data/train/a/1.jpg', 'data/test/a/1.jpg');
  assert.throws(
    () => readImageFolder('image-folder', root, imageFolder),
    ({ code, hint }: GqaError) =>
      code === 'data' && hint?.startsWith(`Did you mean data.root: ${join(root, 'data')}?`) === true,
  );
});

test('class folders in root itself are refused for training, with what to do', (t) => {
  const root = testFolder(t);
  placeAll(root, 'cat/1.jpg', 'dog/1.jpg');
  assert.throws(
    () => readImageFolder('image-folder', root, imageFolder),
    failure('data', 'class folders itself (cat, dog)'),
  );
});

const wanted = (split: SplitName, classes: string[] | null = null) => ({ split, classes });
const readOne = (root: string, ...args: Parameters<typeof wanted>): Evaluable =>
  readWantedSplit('image-folder', root, imageFolder, { valIs: 'validation' }, wanted(...args));

test('for an evaluation one split is enough: a folder of it, or root itself; labels by the names of the checkpoint', (t) => {
  const one = testFolder(t);
  placeAll(one, 'val/b/1.jpg', 'val/c/1.jpg', 'val/c/2.jpg');
  assert.deepEqual(COUNTS(readOne(one, 'val')), [null, 3, null]);
  assert.throws(() => readOne(one, 'test'), failure('data', 'has no test split (it has val)'));
  const root = testFolder(t);
  placeAll(root, 'b/1.jpg', 'c/1.jpg', 'c/2.jpg');
  const itself = readOne(root, 'test');
  assert.deepEqual(
    [COUNTS(itself), [...(itself.test?.labels ?? [])], itself.classes],
    [
      [null, null, 3],
      [0, 1, 1],
      ['b', 'c'],
    ],
  );
  assert.match(itself.notices.join(), /its 2 class folders are the test split/);
  const byName = readOne(root, 'test', ['c', 'a', 'b']);
  assert.deepEqual(
    [[...(byName.test?.labels ?? [])], byName.classes],
    [
      [2, 0, 0],
      ['c', 'a', 'b'],
    ],
  );
  assert.match(byName.notices.join(), /no images of 1 of the checkpoint's 3 classes: a/);
  assert.throws(
    () => readOne(root, 'test', ['a', 'b']),
    failure('data', 'classes that the checkpoint does not know: c'),
  );
});

test('a class named as a split is a class where root itself is the split', (t) => {
  const root = testFolder(t);
  placeAll(root, 'bus/1.jpg', 'train/1.jpg', 'train/2.jpg', 'Test/1.jpg');
  assert.deepEqual(
    [readOne(root, 'test').classes, COUNTS(readOne(root, 'test'))],
    [
      ['Test', 'bus', 'train'],
      [null, null, 4],
    ],
  );
});

test('with both splits an evaluation reads them as training does', (t) => {
  const root = testFolder(t);
  placeAll(root, 'train/a/1.jpg', 'train/b/1.jpg', 'test/a/1.jpg', 'test/b/1.jpg');
  assert.deepEqual(readOne(root, 'test', ['b', 'a']).classes, ['a', 'b']);
});

/** A name in Latin-1, as some systems still write it. */
const latin1 = (folder: string, name: string): Buffer =>
  Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(name, 'latin1')]);

test('names that are no UTF-8 are refused by name: class folders, images, lines of a list; what is no image does not matter', (t) => {
  const root = testFolder(t);
  placeAll(root, 'train/a/1.jpg', 'train/b/1.jpg', 'test/a/1.jpg', 'test/b/1.jpg');
  try {
    writeFileSync(latin1(join(root, 'train/a'), 'ré.txt'), '');
  } catch {
    return t.skip('this file system takes no such names');
  }
  assert.deepEqual(COUNTS(readImageFolder('image-folder', root, imageFolder)), [2, null, 2]);
  writeFileSync(latin1(join(root, 'train/a'), 'né.jpg'), '');
  assert.throws(
    () => readImageFolder('image-folder', root, imageFolder),
    failure('data', join(root, 'train/a/n\\xE9.jpg'), 'not valid UTF-8'),
  );
  const other = testFolder(t);
  placeAll(other, 'train/a/1.jpg', 'train/b/1.jpg', 'test/a/1.jpg', 'test/b/1.jpg');
  mkdirSync(latin1(join(other, 'train'), 'café'));
  assert.throws(
    () => readImageFolder('image-folder', other, imageFolder),
    failure('data', join(other, 'train/caf\\xE9'), 'not valid UTF-8'),
  );
  const list = join(other, 'classes.txt');
  writeFileSync(list, Buffer.from('apple\ncafé\n', 'latin1'));
  assert.throws(() => readClassList(list), failure('data', `${list}:2`, 'caf\\xE9'));
});

test('links that lead nowhere or to themselves, sockets and folders named as images are refused by name', (t) => {
  const cases: [string, (root: string) => unknown, string][] = [
    ['train/c', (root) => symlinkSync(join(root, 'nowhere'), join(root, 'train/c')), 'nothing is there'],
    ['train/c', (root) => symlinkSync(join(root, 'train/c'), join(root, 'train/c')), 'leads to itself'],
    ['train/a/2.jpg', (root) => mkdirSync(join(root, 'train/a/2.jpg')), 'a folder inside a class'],
    ['train/a/2.jpg', (root) => execFileSync('mkfifo', [join(root, 'train/a/2.jpg')]), 'no file'],
  ];
  for (const [at, make, said] of cases) {
    const root = testFolder(t);
    placeAll(root, 'train/a/1.jpg', 'train/b/1.jpg', 'test/a/1.jpg', 'test/b/1.jpg');
    make(root);
    assert.throws(() => readImageFolder('image-folder', root, imageFolder), failure('data', join(root, at), said));
  }
});

test('names that differ in how Unicode writes them: two classes, which is reported; between splits it is said why they differ', (t) => {
  const [composed, decomposed] = ['caf\u00e9', 'cafe\u0301'];
  const root = testFolder(t);
  const both = [composed, decomposed];
  placeAll(root, ...['train', 'test'].flatMap((split) => both.map((name) => `${split}/${name}/1.jpg`)));
  const { classes, notices } = readImageFolder('image-folder', root, imageFolder);
  if (classes.length === 1) return t.skip('this file system takes them for one name');
  assert.match(notices.join(), /look the same, but are two classes/);
  const mixed = testFolder(t);
  placeAll(mixed, `train/${composed}/1.jpg`, 'train/b/1.jpg', `test/${decomposed}/1.jpg`, 'test/b/1.jpg');
  assert.throws(
    () => readImageFolder('image-folder', mixed, imageFolder),
    (error: GqaError) => error.code === 'data' && /NFC and NFD/.test(error.hint ?? ''),
  );
});

test('classes are sorted by code point, as in Python: above U+FFFF comes last; a line break in a name is kept', (t) => {
  const root = testFolder(t);
  const names = ['\u{1f600}', '\uff21', 'a\nb', 'a'];
  placeAll(root, ...['train', 'test'].flatMap((split) => names.map((name) => `${split}/${name}/1.jpg`)));
  assert.deepEqual(readImageFolder('image-folder', root, imageFolder).classes, ['a', 'a\nb', '\uff21', '\u{1f600}']);
});

test('lists the classes that only one split has', (t) => {
  const root = testFolder(t);
  placeAll(root, 'train/a/1.jpg', 'train/b/1.jpg', 'test/a/1.jpg', 'test/c/1.jpg', 'test/d/1.jpg');
  assert.throws(
    () => readImageFolder('image-folder', root, imageFolder),
    failure('data', 'train has 2 classes and test has 3', 'only in train: b', 'only in test: c, d'),
  );
});

test('refuses what would otherwise be left out unasked: kinds that are not decoded, folders within a class, empty classes', (t) => {
  const cases: [string, string][] = [
    ['train/a/2.gif', 'not read'],
    ['train/a/more/1.jpg', 'a folder inside a class'],
  ];
  for (const [name, said] of cases) {
    const root = testFolder(t);
    placeAll(root, 'train/a/1.jpg', 'test/a/1.jpg', name);
    assert.throws(
      () => readImageFolder('image-folder', root, imageFolder),
      failure('data', join(root, 'train/a'), said),
    );
  }
  const root = testFolder(t);
  placeAll(root, 'train/a/1.jpg', 'test/a/1.txt');
  assert.throws(
    () => readImageFolder('image-folder', root, imageFolder),
    failure('data', join(root, 'test/a'), 'no images'),
  );
});
