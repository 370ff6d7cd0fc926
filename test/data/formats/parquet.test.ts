import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import sharp from 'sharp';
import type { Split } from '../../../src/data/dataset.js';
import { readParquet } from '../../../src/data/formats/parquet.js';
import { openDataset } from '../../../src/data/open.js';
import { openPipeline } from '../../../src/data/pipeline/pipeline.js';
import { failure, indicesOf, openBoth, place, testFolder } from '../files.js';
import { type Mirror, writeParquet } from './parquets.js';

const TRAIN = 'train-00000-of-00001.parquet';
const TEST = 'test-00000-of-00001.parquet';

/** A picture of one colour. */
const plain = (red: number): Promise<Buffer> =>
  sharp({ create: { width: 32, height: 32, channels: 3, background: { r: red, g: 0, b: 0 } } })
    .png()
    .toBuffer();

async function mirror(reds: number[], labels: number[], names: Record<string, string[]> | undefined): Promise<Mirror> {
  const pictures = await Promise.all(reds.map(plain));
  return { image: 'img', pictures, labels: { label: labels }, ...(names === undefined ? {} : { names }) };
}

const two = { label: ['cat', 'dog'] };

async function placeMirror(t: TestContext): Promise<string> {
  const folder = testFolder(t);
  writeParquet(join(folder, TRAIN), await mirror([10, 20, 30], [0, 1, 1], two));
  writeParquet(join(folder, TEST), await mirror([40], [0], two), 'UNCOMPRESSED');
  return folder;
}

async function reds(split: Split, workers: number): Promise<number[]> {
  const pipeline = openPipeline(workers);
  const found: number[] = [];
  const wanted = { batchSize: 2, height: 32, width: 32, seed: 1, epoch: null, augment: 'none' } as const;
  try {
    for await (const { pixels, images } of pipeline.batches(split, indicesOf(split.labels.length), wanted))
      for (let i = 0; i < images; i++) found.push(pixels[i * 3072]!);
  } finally {
    await pipeline.close();
  }
  return found;
}

test('pictures, labels and class names of a mirror, in memory that workers share', async (t) => {
  const root = await placeMirror(t);
  const { classes, from, train, test: other } = await openBoth({ name: 'cifar10', root });
  assert.deepEqual([classes, from], [['cat', 'dog'], root]);
  assert.deepEqual([[...train.labels], [...other.labels]], [[0, 1, 1], [0]]);
  assert.ok(train.source.kind === 'encoded' && train.source.pictures[2]?.buffer instanceof SharedArrayBuffer);
  assert.deepEqual(await reds(train, 0), [10, 20, 30]);
  assert.deepEqual(await reds(train, 2), [10, 20, 30]);
  assert.deepEqual(await reds(other, 1), [40]);
});

test('shards are read in order, with the hash that some mirrors add to their names', async (t) => {
  const root = testFolder(t);
  const folder = join(root, 'tiny-imagenet/data');
  mkdirSync(folder, { recursive: true });
  const names = { label: ['n01', 'n02'] };
  const of = async (red: number, label: number): Promise<Mirror> => ({ ...(await mirror([red], [label], names)), image: 'image' });
  writeParquet(join(folder, 'train-00001-of-00002-1359597a978bc4fa.parquet'), await of(2, 1));
  writeParquet(join(folder, 'train-00000-of-00002-70d52db3c749a935.parquet'), await of(1, 0));
  writeParquet(join(folder, 'valid-00000-of-00001-70d52db3c749a935.parquet'), await of(3, 1));
  const { from, train, test: other } = await openBoth({ name: 'tiny-imagenet', root });
  assert.equal(from, folder);
  assert.deepEqual([[...train.labels], [...other.labels]], [[0, 1], [1]]);
  assert.deepEqual(await reds(train, 0), [1, 2]);
  rmSync(join(folder, 'train-00000-of-00002-70d52db3c749a935.parquet'));
  await assert.rejects(openDataset({ name: 'tiny-imagenet', root }), failure('data', folder, 'of-00002', 'train-00001'));
});

test('class names that the file does not bring are the official ones, where they are known', async (t) => {
  const root = testFolder(t);
  for (const file of [TRAIN, TEST]) writeParquet(join(root, file), await mirror([1], [9], undefined));
  assert.equal((await openDataset({ name: 'cifar10', root })).classes[9], 'truck');
  for (const labels of ['fine', 'coarse'] as const) {
    const own = { ...(await mirror([1], [0], undefined)), labels: { fine_label: [99], coarse_label: [19] } };
    for (const file of [TRAIN, TEST]) writeParquet(join(root, file), own);
    const { classes, train } = await openDataset({ name: 'cifar100', root, labels });
    assert.deepEqual([classes.length, new Set(classes).size, [...classes].sort()], [labels === 'fine' ? 100 : 20, classes.length, classes]);
    assert.equal(classes[train.labels[0]!], labels === 'fine' ? 'worm' : 'vehicles_2');
  }
  writeParquet(join(root, 'validation-00000-of-00001.parquet'), { ...(await mirror([1], [0], undefined)), image: 'image' });
  writeParquet(join(root, TRAIN), { ...(await mirror([1], [0], undefined)), image: 'image' });
  await assert.rejects(openDataset({ name: 'food101', root }), failure('data', TRAIN, 'classes are called'));
});

test('refuses a file of other columns, unlabelled rows, labels beyond the names, rows without bytes, other names in another file', async (t) => {
  const refused = async (file: string, content: Mirror, ...said: string[]): Promise<void> => {
    const root = await placeMirror(t);
    writeParquet(join(root, file), content);
    await assert.rejects(openDataset({ name: 'cifar10', root }), failure('data', root, ...said));
  };
  const good = await mirror([1, 2], [0, 1], two);
  await refused(TRAIN, { ...good, image: 'image' }, TRAIN, 'no column img.bytes', 'image.bytes');
  await refused(TRAIN, { ...good, labels: { fine_label: [0, 1] } }, TRAIN, 'no column label', 'fine_label');
  await refused(TRAIN, { ...good, labels: { label: [0, -1] } }, TRAIN, 'row 1 is -1', '0 to 1');
  await refused(TEST, { ...good, labels: { label: [0, 2] } }, TEST, 'row 1 is 2', '0 to 1');
  await refused(TRAIN, { ...good, pictures: [good.pictures[0]!, null as never] }, TRAIN, 'img of row 1 has no bytes');
  await refused(TEST, { ...good, names: { label: ['dog', 'horse'] } }, 'other class names');
});

test('refuses what is no parquet file, and one that is cut, naming it', async (t) => {
  const root = await placeMirror(t);
  const path = join(root, TRAIN);
  const bytes = readFileSync(path);
  for (const other of [
    Buffer.alloc(0),
    Buffer.from('<!DOCTYPE html><html>404</html>'),
    bytes.subarray(0, bytes.length - 9),
    bytes.subarray(9),
  ]) {
    writeFileSync(path, other);
    await assert.rejects(openDataset({ name: 'cifar10', root }), failure('data', path));
  }
});

test('a damaged file that holds its reader up forever is given up', async (t) => {
  const root = testFolder(t);
  const pictures = Array.from({ length: 6 }, (_, i) => Buffer.from(`picture${i}`));
  const content: Mirror = { image: 'img', pictures, labels: { label: [0, 1, 0, 1, 1, 1] }, names: two };
  for (const file of [TRAIN, TEST]) writeParquet(join(root, file), content);
  const path = join(root, TRAIN);
  const bytes = readFileSync(path);
  const read = () =>
    readParquet(
      'cifar10',
      root,
      { image: 'img', label: 'label', train: 'train', test: 'test', classes: null, order: null },
      undefined,
      1500,
    );
  assert.equal((await read()).train.labels.length, 6);
  bytes[12] = 0; // in the header of the first page
  writeFileSync(path, bytes);
  await assert.rejects(read(), failure('data', path, 'no group of its rows was read in 1.5 s'));
});

test('a picture that does not decode is named with file and row', async (t) => {
  const root = await placeMirror(t);
  writeParquet(join(root, TRAIN), { ...(await mirror([1, 2], [0, 1], two)), pictures: [await plain(1), Buffer.from('no picture at all')] });
  const { train } = await openDataset({ name: 'cifar10', root });
  for (const workers of [0, 1]) await assert.rejects(reds(train, workers), failure('data', `${join(root, TRAIN)}, row 1`, 'unknown kind'));
});

test('says which forms were looked for, each with its folders', async (t) => {
  const root = testFolder(t);
  place(root, 'cifar10/readme.txt', 'x');
  await assert.rejects(
    openDataset({ name: 'cifar10', root }),
    failure('data', 'data_batch_1.bin', 'batches.meta', 'cifar-10-batches-py', 'train-00000-of', join(root, 'cifar10/plain_text')),
  );
});
