/**
 * Tiny ImageNet (20 classes) and Food101 (3 classes) as published, against torchvision's reading of the same files
 * (torchvision/readings.py): classes, lists, labels and decoded pixels. The same of the images that come with the
 * project, so that nothing of it is skipped where the published ones are not there.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { relative, resolve, sep } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Split } from '../../src/data/dataset.js';
import { decodeImage } from '../../src/data/images/decode.js';
import { withZip } from './fetch/zip.js';
import { openBoth, place, testFolder } from './files.js';

interface Reading {
  images: number;
  lines: string;
  pixels: string;
}
type Readings = { classes: string[]; train: Reading; test: Reading };
type AllReadings = Record<'tiny-imagenet' | 'food101', Readings>;
const published = JSON.parse(readFileSync('test/data/torchvision/readings.json', 'utf8')) as AllReadings & {
  carried: AllReadings;
};
/** Images that come with the project, in the same layouts: a few tens, drawn by test/images/make.py. */
const CARRIED = resolve('test/images');

const zips = {
  'tiny-imagenet': resolve('../shared/data/tiny-imagenet-20.zip'),
  food101: resolve('../shared/data/food101-3.zip'),
};
const absent = (path: string): string | false => (existsSync(path) ? false : `${path} is not there`);

async function unpacked(t: TestContext, zip: string): Promise<string> {
  const folder = testFolder(t);
  await withZip(zip, async (files) => {
    for (const { name, bytes } of files) if (!name.endsWith('/')) place(folder, name, bytes());
  });
  return folder;
}

const pathsOf = ({ source }: Split): string[] => (source.kind === 'files' ? source.paths : assert.fail('not of files'));

/** `path in the data set, label` for each image. */
function linesOf(from: string, split: Split, label: (index: number) => string | number): string[] {
  return pathsOf(split).map((path, i) => `${relative(from, path).split(sep).join('/')} ${label(split.labels[i]!)}`);
}

const linesHash = (lines: string[]): string => createHash('sha256').update(lines.join('\n')).digest('hex');

async function pixelsHash(paths: string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const path of paths) {
    const { bytes, height, width, pixelStride, channelStride, start } = await decodeImage(path, null);
    const rgb = Buffer.alloc(height * width * 3);
    for (let i = 0; i < rgb.length; i++)
      rgb[i] = bytes[start + Math.floor(i / 3) * pixelStride + (i % 3) * channelStride]!;
    hash.update(rgb);
  }
  return hash.digest('hex');
}

async function compareTinyImagenet(root: string, expected: Readings): Promise<void> {
  const { from, classes, train, test: other } = await openBoth({ name: 'tiny-imagenet', root });
  assert.deepEqual(classes, expected.classes);
  assert.deepEqual([train.labels.length, other.labels.length], [expected.train.images, expected.test.images]);
  // torchvision's ImageFolder sorts the classes, so that the wnid is compared, not its number.
  assert.equal(linesHash(linesOf(from, train, (label) => classes[label] ?? '').sort()), expected.train.lines);
  assert.equal(linesHash(linesOf(from, other, (label) => classes[label] ?? '')), expected.test.lines);
  const every = (paths: string[], nth: number): string[] => paths.filter((_, i) => i % nth === 0);
  assert.equal(await pixelsHash(every([...pathsOf(train)].sort(), 20)), expected.train.pixels);
  assert.equal(await pixelsHash(every(pathsOf(other), 10)), expected.test.pixels);
}

async function compareFood101(root: string, expected: Readings): Promise<void> {
  const { from, classes, ...splits } = await openBoth({ name: 'food101', root });
  assert.deepEqual(classes, expected.classes);
  for (const split of ['train', 'test'] as const) {
    assert.equal(splits[split].labels.length, expected[split].images);
    assert.equal(linesHash(linesOf(from, splits[split], (label) => label)), expected[split].lines);
    assert.equal(await pixelsHash(pathsOf(splits[split]).filter((_, i) => i % 20 === 0)), expected[split].pixels);
  }
}

const kinds = {
  'tiny-imagenet': compareTinyImagenet,
  food101: compareFood101,
};

for (const [name, compare] of Object.entries(kinds) as [keyof typeof kinds, (typeof kinds)['food101']][]) {
  test(`${name} as published`, { skip: absent(zips[name]) }, async (t) =>
    compare(await unpacked(t, zips[name]), published[name]),
  );
  test(`${name} in the images that come with the project`, () => compare(CARRIED, published.carried[name]));
}
