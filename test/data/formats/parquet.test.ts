import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import sharp from 'sharp';
import { sampled } from '../../../src/data/common-size.js';
import type { EncodedSource, Split } from '../../../src/data/dataset.js';
import { inOrder } from '../../../src/data/formats/class-order.js';
import { readParquet } from '../../../src/data/formats/parquet.js';
import { encodedImage } from '../../../src/data/images/decode.js';
import { openDataset } from '../../../src/data/open.js';
import { openPipeline } from '../../../src/data/pipeline/pipeline.js';
import { cifar10Classes } from '../../../src/data/sets/cifar10.js';
import { food101Classes } from '../../../src/data/sets/food101.js';
import { tinyImagenetWnids } from '../../../src/data/sets/tiny-imagenet.js';
import { takeStratified } from '../../../src/data/subset.js';
import { takeLimited } from '../../../src/data/take.js';
import { failure, indicesOf, openBoth, place, testFolder, withTest } from '../files.js';
import { type Mirror, writeParquet } from './parquets.js';

const TRAIN = 'train-00000-of-00001.parquet';
const TEST = 'test-00000-of-00001.parquet';

/** An image of one colour. */
const plain = (red: number): Promise<Buffer> =>
  sharp({ create: { width: 32, height: 32, channels: 3, background: { r: red, g: 0, b: 0 } } })
    .png()
    .toBuffer();

async function mirror(reds: number[], labels: number[], names: Record<string, string[]> | undefined): Promise<Mirror> {
  const images = await Promise.all(reds.map(plain));
  return { image: 'img', images, labels: { label: labels }, ...(names === undefined ? {} : { names }) };
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

test('images, labels and class names of a mirror, in memory that workers share', async (t) => {
  const root = await placeMirror(t);
  const { classes, from, train, test: other } = await openBoth({ name: 'cifar10', root });
  assert.deepEqual([classes, from], [['cat', 'dog'], root]);
  assert.deepEqual([[...train.labels], [...other.labels]], [[0, 1, 1], [0]]);
  assert.ok(train.source.kind === 'encoded' && train.source.images[2]?.buffer instanceof SharedArrayBuffer);
  assert.deepEqual(await reds(train, 0), [10, 20, 30]);
  assert.deepEqual(await reds(train, 2), [10, 20, 30]);
  assert.deepEqual(await reds(other, 1), [40]);
});

test('shards are read in order, with the hash that some mirrors add to their names', async (t) => {
  const root = testFolder(t);
  const folder = join(root, 'tiny-imagenet/data');
  mkdirSync(folder, { recursive: true });
  const names = { label: ['n01', 'n02'] };
  const of = async (red: number, label: number): Promise<Mirror> => ({
    ...(await mirror([red], [label], names)),
    image: 'image',
  });
  writeParquet(join(folder, 'train-00001-of-00002-1359597a978bc4fa.parquet'), await of(2, 1));
  writeParquet(join(folder, 'train-00000-of-00002-70d52db3c749a935.parquet'), await of(1, 0));
  writeParquet(join(folder, 'valid-00000-of-00001-70d52db3c749a935.parquet'), await of(3, 1));
  const { from, train, test: other } = await openBoth({ name: 'tiny-imagenet', root });
  assert.equal(from, folder);
  assert.deepEqual([[...train.labels], [...other.labels]], [[0, 1], [1]]);
  assert.deepEqual(await reds(train, 0), [1, 2]);
  rmSync(join(folder, 'train-00000-of-00002-70d52db3c749a935.parquet'));
  await assert.rejects(
    openDataset({ name: 'tiny-imagenet', root }),
    failure('data', folder, 'of-00002', 'train-00001'),
  );
});

test('class names that the file does not bring are the official ones, where they are known', async (t) => {
  const root = testFolder(t);
  for (const file of [TRAIN, TEST]) writeParquet(join(root, file), await mirror([1], [9], undefined));
  assert.equal((await openDataset({ name: 'cifar10', root })).classes[9], 'truck');
  for (const labels of ['fine', 'coarse'] as const) {
    const own = { ...(await mirror([1], [0], undefined)), labels: { fine_label: [99], coarse_label: [19] } };
    for (const file of [TRAIN, TEST]) writeParquet(join(root, file), own);
    const { classes, train } = await openDataset({ name: 'cifar100', root, labels });
    assert.deepEqual(
      [classes.length, new Set(classes).size, [...classes].sort()],
      [labels === 'fine' ? 100 : 20, classes.length, classes],
    );
    assert.equal(classes[train.labels[0]!], labels === 'fine' ? 'worm' : 'vehicles_2');
  }
  writeParquet(join(root, 'validation-00000-of-00001.parquet'), {
    ...(await mirror([1], [0], undefined)),
    image: 'image',
  });
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
  await refused(TRAIN, { ...good, images: [good.images[0]!, null as never] }, TRAIN, 'img of row 1 has no bytes');
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
  const images = Array.from({ length: 6 }, (_, i) => Buffer.from(`image-0${i}`));
  const content: Mirror = { image: 'img', images, labels: { label: [0, 1, 0, 1, 1, 1] }, names: two };
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

test('an image that does not decode is named with file and row', async (t) => {
  const root = await placeMirror(t);
  writeParquet(join(root, TRAIN), {
    ...(await mirror([1, 2], [0, 1], two)),
    images: [await plain(1), Buffer.from('no image at all')],
  });
  const { train } = await openDataset({ name: 'cifar10', root });
  for (const workers of [0, 1])
    await assert.rejects(reds(train, workers), failure('data', `${join(root, TRAIN)}, row 1`, 'unknown kind'));
});

test('says which forms were looked for, each with its folders', async (t) => {
  const root = testFolder(t);
  place(root, 'cifar10/readme.txt', 'x');
  await assert.rejects(
    openDataset({ name: 'cifar10', root }),
    failure(
      'data',
      'data_batch_1.bin',
      'batches.meta',
      'cifar-10-batches-py',
      'train-00000-of',
      join(root, 'cifar10/plain_text'),
    ),
  );
});

test('with a limit only the images that it takes are held, and they are the same ones', async (t) => {
  const root = testFolder(t);
  const rows = (count: number, from: number): Mirror => ({
    image: 'image',
    images: Array.from({ length: count }, (_, i) => Buffer.from(`image ${from + i}`)),
    labels: { label: Array.from({ length: count }, (_, i) => (from + i) % 3) },
    names: { label: ['waffles', 'apple_pie', 'nachos'] },
  });
  writeParquet(join(root, 'train-00000-of-00002.parquet'), rows(250, 0)); // three groups of rows
  writeParquet(join(root, 'train-00001-of-00002.parquet'), rows(130, 250));
  writeParquet(join(root, 'validation-00000-of-00001.parquet'), rows(90, 1000));
  const whole = await openBoth({ name: 'food101', root });
  const limit = { train: 20, val: null, test: null };
  const { classes, train, test: other } = withTest(await openDataset({ name: 'food101', root }, takeLimited(limit, 7)));
  assert.deepEqual([classes, train.labels, other.labels], [whole.classes, whole.train.labels, whole.test.labels]);
  assert.ok(
    train.source.kind === 'encoded' && other.source.kind === 'encoded' && whole.train.source.kind === 'encoded',
  );
  const taken = takeStratified(whole.train.labels, 20, 7, 'limit/train');
  const wanted = new Set([...taken, ...sampled(380)]);
  const { images, names } = train.source;
  const before = whole.train.source;
  for (let i = 0; i < 380; i++) {
    assert.equal(names[i], before.names[i]);
    assert.deepEqual(images[i] ?? null, wanted.has(i) ? before.images[i] : null, `row ${i}`);
  }
  assert.equal(Buffer.from(images[taken[19]!]!).toString(), `image ${taken[19]}`);
  assert.ok(other.source.images.every((image) => image !== null));
  const left = images.indexOf(null);
  assert.throws(() => encodedImage(train.source as EncodedSource, left), /left in its file/);
});

test('a split of the mirror that plays no part is reported', async (t) => {
  const root = await placeMirror(t);
  assert.deepEqual((await openDataset({ name: 'cifar10', root })).notices, []);
  writeParquet(join(root, 'validation-00000-of-00001.parquet'), await mirror([1], [0], two));
  assert.match(
    (await openDataset({ name: 'cifar10', root })).notices.join(),
    /only the files of train and test are read, not those of validation/,
  );
});

test('Tiny ImageNet has one class order in both its forms: that of the archive, whatever order the mirror has', async (t) => {
  // The first lines of the archive's wnids.txt. The mirror sorts them.
  const wnids = ['n02124075', 'n04067472', 'n04540053', 'n04099969'];
  const sorted = [...wnids].sort();
  assert.deepEqual(tinyImagenetWnids.slice(0, 4), wnids);
  assert.equal(new Set(tinyImagenetWnids).size, 200);
  const archive = testFolder(t);
  place(archive, 'wnids.txt', wnids.join('\n'));
  for (const wnid of wnids) place(archive, `train/${wnid}/images/${wnid}_0.JPEG`, '');
  place(archive, 'val/images/val_0.JPEG', '');
  place(archive, 'val/val_annotations.txt', 'val_0.JPEG\tn04540053\t0\t0\t1\t1\n');
  const published = await openBoth({ name: 'tiny-imagenet', root: archive });
  const root = testFolder(t);
  const files = { image: 'image', names: { label: sorted } };
  writeParquet(join(root, TRAIN), {
    ...files,
    images: sorted.map((wnid) => Buffer.from(wnid)),
    labels: { label: [0, 1, 2, 3] },
  });
  writeParquet(join(root, 'valid-00000-of-00001.parquet'), {
    ...files,
    images: [Buffer.from('x')],
    labels: { label: [sorted.indexOf('n04540053')] },
  });
  const { classes, train, test: other, notices } = await openBoth({ name: 'tiny-imagenet', root });
  assert.deepEqual([classes, notices], [published.classes, []]);
  assert.deepEqual([[...other.labels], [...published.test.labels]], [[2], [2]]);
  assert.ok(train.source.kind === 'encoded');
  for (const [i, image] of train.source.images.entries())
    assert.equal(Buffer.from(image!).toString(), classes[train.labels[i]!]);
  // Another order in the archive is followed, and reported; names that are no wnids are kept in their order, and
  // reported.
  place(archive, 'wnids.txt', sorted.join('\n'));
  assert.match(
    (await openDataset({ name: 'tiny-imagenet', root: archive })).notices.join(),
    /another order than the official archive's/,
  );
  for (const file of [TRAIN, 'valid-00000-of-00001.parquet'])
    writeParquet(join(root, file), {
      image: 'image',
      names: { label: ['goldfish', 'bullfrog'] },
      images: [Buffer.from('x')],
      labels: { label: [1] },
    });
  const named = await openDataset({ name: 'tiny-imagenet', root });
  assert.deepEqual([named.classes, [...named.train.labels]], [['goldfish', 'bullfrog'], [1]]);
  assert.match(named.notices.join(), /not the official ones \(goldfish, bullfrog\)/);
});

test('the class orders of other sets are those of their archives: CIFAR as in its files, Food101 as meta/classes.txt has it', () => {
  assert.deepEqual(cifar10Classes, [...cifar10Classes].sort());
  assert.deepEqual([food101Classes.length, new Set(food101Classes).size], [101, 101]);
  // torchvision sorts by code point: only these two change places.
  const moved = [...food101Classes].sort().flatMap((name, i) => (name === food101Classes[i] ? [] : [`${i} ${name}`]));
  assert.deepEqual(moved, ['16 cheese_plate', '17 cheesecake']);
  const shuffled = ['dog', 'airplane', 'cat'];
  const { classes, labels } = inOrder(shuffled, Int32Array.of(0, 1, 2, 0), cifar10Classes);
  assert.deepEqual(
    [classes, [...labels]],
    [
      ['airplane', 'cat', 'dog'],
      [2, 0, 1, 2],
    ],
  );
});
