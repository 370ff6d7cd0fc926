import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import type { Dataset, Split } from '../../src/data/dataset.js';
import { openDataset } from '../../src/data/open.js';
import { failure, openBoth, place, placeSmallIdx, testFolder } from './files.js';

const DEBIAN = '/usr/share/datasets/fashion-mnist';
const SUBSET = 'datasets/fashion-mnist-subset';

function classCounts({ labels }: Split): number[] {
  const counts = new Array<number>(10).fill(0);
  for (const label of labels) counts[label]!++;
  return counts;
}

/** For every image a hash of label and pixels. */
function hashes({ labels, source }: Split): string[] {
  assert.ok(source.kind === 'raw');
  const { height, width, pixels } = source;
  const size = height * width;
  return Array.from(labels, (label, i) =>
    createHash('sha1')
      .update(`${label} `)
      .update(pixels.subarray(i * size, (i + 1) * size))
      .digest('hex'),
  );
}

test('reads the subset of the repository: 2,000 and 1,000 images, equally many of each class, none twice', async () => {
  const { from, classes, train, test: other } = await openBoth({ name: 'fashion-mnist', root: SUBSET });
  assert.equal(from, resolve(SUBSET));
  assert.equal(classes[9], 'Ankle boot');
  assert.deepEqual(classCounts(train), new Array(10).fill(200));
  assert.deepEqual(classCounts(other), new Array(10).fill(100));
  assert.equal(new Set([...hashes(train), ...hashes(other)]).size, 3000);
});

test("the subset's images are the originals with their labels", {
  skip: existsSync(DEBIAN) ? false : `${DEBIAN} is not there`,
}, async () => {
  const subset = await openBoth({ name: 'fashion-mnist', root: SUBSET });
  const full = await openBoth({ name: 'fashion-mnist', root: DEBIAN });
  for (const split of ['train', 'test'] as const) {
    const originals = hashes(full[split]);
    assert.equal(originals.length, split === 'train' ? 60_000 : 10_000);
    const known = new Set(originals);
    assert.deepEqual(
      hashes(subset[split]).filter((hash) => !known.has(hash)),
      [],
    );
  }
});

test('prefers root itself, then its folders, and tells which one it took', async (t) => {
  const root = testFolder(t);
  const from = async (): Promise<Dataset['from']> => (await openDataset({ name: 'fashion-mnist', root })).from;
  // a root that was chosen is meant, though the package may be installed
  await assert.rejects(from(), failure('data', root));
  placeSmallIdx(join(root, 'FashionMNIST/raw'));
  assert.equal(await from(), join(root, 'FashionMNIST/raw'));
  placeSmallIdx(join(root, 'fashion-mnist'));
  assert.equal(await from(), join(root, 'fashion-mnist'));
  placeSmallIdx(root);
  assert.equal(await from(), root);
});

test('takes the installed package when no root was chosen', {
  skip: !existsSync(DEBIAN) && `${DEBIAN} is not installed`,
}, async () => {
  assert.equal((await openDataset({ name: 'fashion-mnist', root: 'datasets' })).from, DEBIAN);
});

test('a folder that has some of the files is not passed over for the next one', async (t) => {
  const root = testFolder(t);
  place(root, 'fashion-mnist/train-images-idx3-ubyte', 'x');
  await assert.rejects(openDataset({ name: 'fashion-mnist', root }), failure('data', join(root, 'fashion-mnist')));
});

test('says which files were expected and where it looked', async (t) => {
  const root = testFolder(t);
  await assert.rejects(
    openDataset({ name: 'mnist', root }),
    failure('data', 'train-images-idx3-ubyte', join(root, 'mnist')),
  );
  await assert.rejects(
    openDataset({ name: 'cifar10', root }),
    failure('data', 'data_batch_5.bin', 'test_batch.bin', join(root, 'cifar-10-batches-bin')),
  );
  await assert.rejects(
    openDataset({ name: 'cifar100', root }),
    failure('data', 'fine_label_names.txt', join(root, 'cifar-100-binary')),
  );
  await assert.rejects(openDataset({ name: 'image-folder', root }), failure('data', join(root, 'train'), '<class>'));
});
