import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readImageFolder } from '../../../src/data/formats/image-folder.js';
import { failure, place, testFolder, withTest } from '../files.js';

/** Empty files: the reader lists names, it decodes nothing. */
function placeAll(root: string, ...names: string[]): void {
  for (const name of names) place(root, name, '');
}

test('sorts classes and files by code unit, as torchvision does', (t) => {
  const root = testFolder(t);
  placeAll(root, 'train/b/10.jpg', 'train/b/9.png', 'train/B/x.JPEG', 'train/ä/y.webp', 'test/b/1.jpg', 'test/B/1.jpg', 'test/ä/1.jpg');
  const { classes, train, test: other } = withTest(readImageFolder('image-folder', root));
  assert.deepEqual(classes, ['B', 'b', 'ä']);
  assert.deepEqual([...train.labels], [0, 1, 1, 2]);
  assert.deepEqual([...other.labels], [0, 1, 2]);
  assert.ok(train.source.kind === 'files');
  assert.deepEqual(
    train.source.paths,
    ['train/B/x.JPEG', 'train/b/10.jpg', 'train/b/9.png', 'train/ä/y.webp'].map((name) => join(root, name)),
  );
});

test('ignores hidden files and folders, and files that are no pictures', (t) => {
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
  const { classes, train, test: other } = withTest(readImageFolder('image-folder', root));
  assert.deepEqual(classes, ['a']);
  assert.deepEqual([train.labels.length, other.labels.length], [1, 1]);
});

test('follows links to class folders', (t) => {
  const root = testFolder(t);
  placeAll(root, 'elsewhere/1.jpg', 'test/a/1.jpg');
  mkdirSync(join(root, 'train'));
  symlinkSync(join(root, 'elsewhere'), join(root, 'train/a'));
  assert.deepEqual(readImageFolder('image-folder', root).classes, ['a']);
});

test('shows the expected layout when a split is missing; val does not stand for test', (t) => {
  const root = testFolder(t);
  placeAll(root, 'train/a/1.jpg', 'val/a/1.jpg');
  assert.throws(() => readImageFolder('image-folder', root), failure('data', `${join(root, 'test')} is not there`, '├── train', '<class>'));
});

test('lists the classes that only one split has', (t) => {
  const root = testFolder(t);
  placeAll(root, 'train/a/1.jpg', 'train/b/1.jpg', 'test/a/1.jpg', 'test/c/1.jpg', 'test/d/1.jpg');
  assert.throws(
    () => readImageFolder('image-folder', root),
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
    assert.throws(() => readImageFolder('image-folder', root), failure('data', join(root, 'train/a'), said));
  }
  const root = testFolder(t);
  placeAll(root, 'train/a/1.jpg', 'test/a/1.txt');
  assert.throws(() => readImageFolder('image-folder', root), failure('data', join(root, 'test/a'), 'no pictures'));
});
