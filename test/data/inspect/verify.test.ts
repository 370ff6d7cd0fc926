/** Counts, broken images and images that are there twice; the overview. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { dataNames } from '../../../src/config/names.js';
import type { Dataset, Split } from '../../../src/data/dataset.js';
import { fetchDataset } from '../../../src/data/fetch/fetch.js';
import { readImageFolder } from '../../../src/data/formats/image-folder.js';
import { overviewPng } from '../../../src/data/inspect/overview.js';
import { type Official, verifyDataset } from '../../../src/data/inspect/verify.js';
import { openDataset, whereIs } from '../../../src/data/open.js';
import { imageFolder } from '../../../src/data/sets/image-folder.js';
import { catalogue } from '../../../src/data/sets.js';
import { sha256 } from '../fetch/archives.js';
import { serveFolder } from '../fetch/serve.js';
import { withZip } from '../fetch/zip.js';
import { place, testFolder } from '../files.js';

const quiet = { progress() {} };

/** One grey pixel an image. */
function rawSplit(name: Split['name'], labels: number[], pixels: number[]): Split {
  const shared = new Uint8Array(new SharedArrayBuffer(pixels.length));
  shared.set(pixels);
  return {
    name,
    labels: Int32Array.from(labels),
    source: { kind: 'raw', height: 1, width: 1, channels: 1, layout: 'hwc', pixels: shared },
  };
}

const dataset = (train: Split, test: Split, classes = ['a', 'b']): Dataset => ({
  name: 'set',
  from: '/set',
  classes,
  train,
  val: null,
  test,
  notices: [],
});

const png = (side: number, colour: string, channels: 3 | 4 = 3): Promise<Buffer> =>
  sharp({ create: { width: side, height: side, channels, background: colour } })
    .png()
    .toBuffer();

test('counts of classes and splits are compared with the official ones', async () => {
  const set = dataset(rawSplit('train', [0, 1, 1], [1, 2, 3]), rawSplit('test', [0, 1], [4, 5]));
  const right: Official = { classes: 2, images: { train: 3, test: 2 }, perClass: { train: [1, 2], test: 1 } };
  const done: number[] = [];
  const report = await verifyDataset(set, right, { progress: (count) => done.push(count) });
  assert.deepEqual(report.problems, []);
  assert.deepEqual(done, [1, 2, 3, 4, 5]);
  assert.deepEqual(report.splits.train, {
    images: 3,
    per_class: [1, 2],
    height: [1, 1],
    width: [1, 1],
    broken: [],
    damaged: [],
  });
  const wrong: Official = { classes: 2, images: { train: 4, test: 2 }, perClass: { train: 2, test: 1 } };
  assert.deepEqual((await verifyDataset(set, wrong, quiet)).problems, [
    'train: 3 images; 4 are official',
    'train: 1 class with another number of images: a 1 instead of 2',
  ]);
  assert.deepEqual((await verifyDataset(set, { ...right, classes: 3 }, quiet)).problems, ['2 classes; 3 are official']);
  assert.deepEqual((await verifyDataset(set, { ...right, perClass: null }, quiet)).problems, []);
  const unknown = await verifyDataset(set, null, quiet);
  assert.deepEqual([unknown.problems, unknown.official], [[], false]);
});

test('a validation part is looked at too, and what it shares with other splits', async () => {
  const [train, val] = [rawSplit('train', [0, 1], [1, 2]), rawSplit('val', [0, 1], [1, 4])];
  const report = await verifyDataset({ ...dataset(train, val), val, test: null }, null, quiet);
  assert.deepEqual(Object.keys(report.splits), ['train', 'val']);
  assert.deepEqual(report.duplicates.across, { groups: 1, test_images: 0, val_images: 1 });
});

test('the same pixels are found within splits, across them, and under other labels', async () => {
  const set = dataset(
    rawSplit('train', [0, 0, 1, 1, 0], [1, 1, 2, 3, 9]),
    rawSplit('test', [1, 0, 0, 1], [2, 1, 7, 7]),
  );
  const { duplicates, problems } = await verifyDataset(set, null, quiet);
  assert.deepEqual(problems, []);
  assert.deepEqual(duplicates.within, { train: { groups: 1, images: 2 }, test: { groups: 1, images: 2 } });
  assert.deepEqual(duplicates.across, { groups: 2, test_images: 2 });
  assert.equal(duplicates.labels_differ, 1);
  const reported = duplicates.examples.map((group) => group.map((seen) => `${seen.image} ${seen.class}`));
  assert.deepEqual(reported, [
    ['train image 0 a', 'train image 1 a', 'test image 1 a'],
    ['train image 2 b', 'test image 0 b'],
    ['test image 2 a', 'test image 3 b'],
  ]);
});

test('files: what does not decode is named, the others are still looked at; grey equals RGB of equal channels, sizes count', async (t) => {
  const root = testFolder(t);
  place(root, 'train/a/1.png', await png(4, 'red'));
  place(root, 'train/a/2.png', await png(8, 'red'));
  place(
    root,
    'train/b/grey.png',
    await sharp(await png(4, '#777777'))
      .toColourspace('b-w')
      .png()
      .toBuffer(),
  );
  place(root, 'train/b/cut.png', (await png(400, 'blue')).subarray(0, 60));
  place(root, 'train/b/page.jpg', '<html>not found</html>');
  const noise = Uint8Array.from({ length: 40 * 40 * 3 }, (_, i) => (i * i * 7) % 251);
  const jpeg = await sharp(noise, { raw: { width: 40, height: 40, channels: 3 } })
    .jpeg()
    .toBuffer();
  place(root, 'train/b/short.jpg', Buffer.concat([jpeg.subarray(0, -300), jpeg.subarray(-2)]));
  place(root, 'test/a/1.png', await png(4, '#777777'));
  place(root, 'test/b/1.png', await png(4, 'green'));
  const report = await verifyDataset(readImageFolder('image-folder', root, imageFolder), null, quiet);
  assert.deepEqual(
    report.splits.train.broken.map(({ image }) => image),
    [join('train/b/cut.png'), join('train/b/page.jpg')],
  );
  assert.match(report.splits.train.broken[1]?.reason ?? '', /HTML/);
  assert.deepEqual(
    report.splits.train.damaged.map(({ image }) => image),
    [join('train/b/short.jpg')],
  );
  assert.match(
    report.problems.join('\n'),
    /train: 1 image is damaged and decodes as far as it goes:\n.*short\.jpg .*premature end/,
  );
  assert.deepEqual(
    [report.splits.train.height, report.splits.test?.height],
    [
      [4, 40],
      [4, 4],
    ],
  );
  assert.equal(report.problems.length, 2);
  assert.match(report.problems[0] ?? '', /^train: 2 images do not decode:\n.*cut\.png.*\n.*page\.jpg/);
  assert.deepEqual(
    report.duplicates.examples.map((group) => group.map(({ image }) => image)),
    [[join('train/b/grey.png'), join('test/a/1.png')]],
  );
});

test('the report does not depend on who decodes first', async (t) => {
  const root = testFolder(t);
  for (let i = 0; i < 40; i++) {
    place(root, `train/a/${i}.png`, await png(i % 3 === 0 ? 200 : 2, i % 4 === 0 ? 'red' : `rgb(${i},0,0)`));
    if (i < 8) place(root, `test/a/${i}.png`, await png(2, `rgb(${i},0,0)`));
  }
  const set = readImageFolder('image-folder', root, imageFolder);
  const first = await verifyDataset(set, null, quiet);
  assert.ok(first.duplicates.examples.length > 3);
  for (let again = 0; again < 3; again++) assert.deepEqual(await verifyDataset(set, null, quiet), first);
});

test('the signal stops it', async () => {
  const set = dataset(rawSplit('train', Array(2000).fill(0), Array(2000).fill(1)), rawSplit('test', [0], [1]));
  const controller = new AbortController();
  const progress = (done: number): void => {
    if (done === 300) controller.abort('enough');
  };
  await assert.rejects(
    verifyDataset(set, null, { progress, signal: controller.signal }),
    (error) => error === 'enough',
  );
});

test('the overview: a row a class with its number and eight images, wrapped when there are many', async () => {
  const labels = Array.from({ length: 24 }, (_, i) => i % 3);
  const split = (name: Split['name']) =>
    rawSplit(
      name,
      labels,
      labels.map((label) => 100 + 50 * label),
    );
  const { data, info } = await sharp(await overviewPng(dataset(split('train'), split('test'), ['a', 'b', 'c'])))
    .raw()
    .toBuffer({ resolveWithObject: true });
  const row = (y: number) => [...data.subarray(y * info.width * 3, (y + 1) * info.width * 3)];
  for (const label of [0, 1, 2]) {
    const value = 100 + 50 * label;
    // Images of one pixel, a row each: eight of them with three channels.
    assert.equal(row(label * 3 + 2).filter((byte) => byte === value).length, 8 * 3);
  }
  const many = Array.from({ length: 200 }, (_, i) => i);
  const wrapped = await sharp(
    await overviewPng(dataset(rawSplit('train', many, many), rawSplit('test', many, many), many.map(String))),
  ).metadata();
  assert.ok(
    wrapped.width! / wrapped.height! > 0.5 && wrapped.width! / wrapped.height! < 2,
    `${wrapped.width} × ${wrapped.height}`,
  );
});

test('what is fetched lies where its reader looks', () => {
  for (const name of dataNames) {
    const { tried } = whereIs({ name, root: '/root' });
    const entry = catalogue[name];
    if (entry !== undefined && tried.length > 0) assert.ok(tried.includes(resolve('/root', entry.folder)), name);
  }
  assert.ok(whereIs({ name: 'cifar10', root: '/root' }).tried.length > 0);
});

const TINY = resolve('../shared/data/tiny-imagenet-20.zip');
test('real images of Tiny ImageNet: fetched in pieces, unpacked, verified', {
  skip: existsSync(TINY) ? false : `${TINY} is not there`,
}, async (t) => {
  const bytes = readFileSync(TINY);
  const folder = testFolder(t);
  const served = await serveFolder(t, join(TINY, '..'), { cutAfter: 10_000_000 });
  const official = catalogue['tiny-imagenet']!;
  const part = {
    url: `${served.url}/tiny-imagenet-20.zip`,
    file: 'tiny-imagenet-20.zip',
    bytes: bytes.length,
    sha256: sha256(bytes),
    md5: '',
    unpack: 'zip' as const,
  };
  const entry = { ...official, downloads: [part], unpacked: { bytes: 25_000_000, files: 11_100 } };
  const watch = { progress: () => ({ update() {}, stop() {} }), notice() {} };
  const patient = { stallMs: 5000, delaysMs: [1, 1] };
  assert.equal(
    (await fetchDataset('tiny-imagenet', entry, { root: folder, offline: false, patient }, watch)).state,
    'installed',
  );
  assert.equal(served.requests.length, 3);

  const root = join(folder, official.folder);
  const wnids = readFileSync(join(root, 'wnids.txt'), 'utf8')
    .trim()
    .split(/\s+/)
    .filter((wnid) => existsSync(join(root, 'train', wnid)));
  const few = wnids.slice(0, 4);
  const paths = few.flatMap((wnid) =>
    Array.from({ length: 500 }, (_, i) => join(root, `train/${wnid}/images/${wnid}_${i}.JPEG`)),
  );
  const split = (name: Split['name'], pick: (i: number) => boolean): Split => ({
    name,
    labels: Int32Array.from(paths.flatMap((_, i) => (pick(i) ? [Math.floor(i / 500)] : []))),
    source: { kind: 'files', paths: paths.filter((_, i) => pick(i)) },
  });
  const set = {
    name: 'tiny-imagenet',
    from: root,
    classes: few,
    train: split('train', (i) => i % 5 > 0),
    val: null,
    test: split('test', (i) => i % 5 === 0),
    notices: [],
  };
  const counts: Official = { classes: 4, images: { train: 1600, test: 400 }, perClass: { train: 400, test: 100 } };
  const report = await verifyDataset(set, counts, quiet);
  assert.deepEqual(report.problems, []);
  assert.deepEqual(
    [report.splits.train.height, report.splits.train.width],
    [
      [64, 64],
      [64, 64],
    ],
  );
});

const CIFAR = resolve('../shared/data/cifar10-jpeg.zip');
test('real images of CIFAR-10 as an image folder: a copy in both splits is found', {
  skip: existsSync(CIFAR) ? false : `${CIFAR} is not there`,
}, async (t) => {
  const folder = testFolder(t);
  await withZip(CIFAR, async (files) => {
    for (const { name, bytes } of files) {
      const [, split, label, image = ''] = name.split('/');
      if (Number.parseInt(image, 10) >= (split === 'train' ? 30 : 5)) continue;
      place(folder, name, bytes());
      if (split === 'train' && image.startsWith('0007')) place(folder, `cifar10/test/${label}/copy.jpg`, bytes());
    }
  });
  const set = await openDataset({ name: 'image-folder', root: join(folder, 'cifar10') });
  const report = await verifyDataset(set, null, quiet);
  assert.deepEqual(report.problems, []);
  assert.deepEqual(
    [report.splits.train.per_class, report.splits.test?.per_class],
    [Array(10).fill(30), Array(10).fill(6)],
  );
  assert.deepEqual(report.duplicates.across, { groups: 10, test_images: 10 });
  assert.equal(report.duplicates.labels_differ, 0);
});
