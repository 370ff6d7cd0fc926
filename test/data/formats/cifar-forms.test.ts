/**
 * CIFAR-10 and CIFAR-100 in all their forms, made of real images, against torchvision's reading of the same
 * (torchvision/readings.py): the binary version, the python version, and parquet. A part by default; with
 * GQA_FULL_SIZE=1 all 50,000 + 10,000 images, through `openDataset`, as a user has them.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import sharp from 'sharp';
import type { Dataset, Split } from '../../../src/data/dataset.js';
import { readCifar } from '../../../src/data/formats/cifar.js';
import { readCifarPython } from '../../../src/data/formats/cifar-python.js';
import { openPipeline } from '../../../src/data/pipeline/pipeline.js';
import { cifar10Binary as cifar10, cifar10Python } from '../../../src/data/sets/cifar10.js';
import {
  cifar100Binary as cifar100,
  cifar100CoarseBinary as cifar100Coarse,
  cifar100Python,
  cifar100PythonCoarse,
} from '../../../src/data/sets/cifar100.js';
import type { Wanted } from '../../../src/data/sets/layout.js';
import { withZip } from '../fetch/zip.js';
import { indicesOf, openBoth, place, temporaryFolder, withTest } from '../files.js';
import { writeParquet } from './parquets.js';
import { pickled } from './pickles.js';

const ZIP = resolve('../shared/data/cifar10-jpeg.zip');
/** Where the real images are not there, or for GQA_CARRIED_IMAGES=1: those that come with the project. */
const CARRIED = !existsSync(ZIP) || process.env.GQA_CARRIED_IMAGES === '1';
const FULL = process.env.GQA_FULL_SIZE === '1' && !CARRIED;
/** Images of each class. */
const SIZES = CARRIED ? { train: 5, test: 1 } : FULL ? { train: 5000, test: 1000 } : { train: 20, test: 4 };

interface Reading {
  images: number;
  pixels: string;
  labels: string;
  fine: string;
  coarse: string;
}
type SplitName = 'train' | 'test';
type Readings = { cifar: { classes: string[] } & Record<'part' | 'full', Record<SplitName, Reading>> };
const found = JSON.parse(readFileSync('test/data/torchvision/readings.json', 'utf8')) as Readings & {
  carried: Readings;
};
const readings = (CARRIED ? found.carried : found).cifar;
const expected = readings[FULL ? 'full' : 'part'];

interface Image {
  label: number;
  number: number;
  /** Planes R, G, B. */
  planes: Buffer;
}

const { folder, remove } = temporaryFolder();
after(remove);
const splits = ['train', 'test'] as const;
const fineNames = Array.from({ length: 100 }, (_, i) => `fine_${i}`);
const coarseNames = Array.from({ length: 20 }, (_, i) => `coarse_${i}`);
const fineOf = ({ label, number }: Image): number => 10 * label + (number % 10);
const coarseOf = ({ label, number }: Image): number => 2 * label + (number % 2);

before(async () => {
  const images = { train: [] as Image[], test: [] as Image[] };
  await withImages(async (files) => {
    for (const { name, bytes } of files) {
      const [, split, label = '', file = ''] = name.split('/');
      const number = Number.parseInt(file, 10);
      if ((split !== 'train' && split !== 'test') || !(number < SIZES[split])) continue;
      const jpeg = bytes();
      place(folder, `images/${split}/${label}/${file}`, jpeg);
      const rgb = await sharp(jpeg).raw().toBuffer();
      const planes = Buffer.alloc(3072);
      for (let i = 0; i < 3072; i++) planes[(i % 3) * 1024 + Math.floor(i / 3)] = rgb[i]!;
      images[split].push({ label: readings.classes.indexOf(label), number, planes });
    }
  });
  for (const split of splits) images[split].sort((a, b) => a.number - b.number || a.label - b.label);
  writeBinary(images);
  writePython(images);
  await writeMirrors(images);
});

/** `cifar10/<split>/<class>/<number>.jpg` */
async function withImages(use: (files: { name: string; bytes(): Buffer }[]) => Promise<void>): Promise<void> {
  if (!CARRIED) return withZip(ZIP, use);
  const root = resolve('test/images');
  const names = readdirSync(join(root, 'cifar10'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.jpg'),
  );
  await use(names.map((name) => ({ name: `cifar10/${name}`, bytes: () => readFileSync(join(root, 'cifar10', name)) })));
}

const fifths = (images: Image[]): Image[][] =>
  [0, 1, 2, 3, 4].map((f) => images.slice((f * images.length) / 5, ((f + 1) * images.length) / 5));

function writeBinary({ train, test: other }: Record<SplitName, Image[]>): void {
  const records = (images: Image[], labels: (image: Image) => number[]): Buffer =>
    Buffer.concat(images.flatMap((image) => [Buffer.from(labels(image)), image.planes]));
  const ten = (image: Image): number[] => [image.label];
  for (const [f, part] of fifths(train).entries())
    place(folder, `cifar-10-batches-bin/data_batch_${f + 1}.bin`, records(part, ten));
  place(folder, 'cifar-10-batches-bin/test_batch.bin', records(other, ten));
  place(folder, 'cifar-10-batches-bin/batches.meta.txt', `${readings.classes.join('\n')}\n\n`);
  const hundred = (image: Image): number[] => [coarseOf(image), fineOf(image)];
  place(folder, 'cifar-100-binary/train.bin', records(train, hundred));
  place(folder, 'cifar-100-binary/test.bin', records(other, hundred));
  place(folder, 'cifar-100-binary/fine_label_names.txt', `${fineNames.join('\n')}\n`);
  place(folder, 'cifar-100-binary/coarse_label_names.txt', `${coarseNames.join('\n')}\n`);
}

function writePython({ train, test: other }: Record<SplitName, Image[]>): void {
  const array = (images: Image[]) => ({
    rows: images.length,
    columns: 3072,
    bytes: Buffer.concat(images.map(({ planes }) => planes)),
  });
  const filenames = (images: Image[]): string[] => images.map(({ number }) => `automobile_s_${number}.png`);
  const ten = (images: Image[], label: string): Buffer =>
    pickled({
      batch_label: label,
      labels: images.map((image) => image.label),
      data: array(images),
      filenames: filenames(images),
    });
  for (const [f, part] of fifths(train).entries())
    place(folder, `cifar-10-batches-py/data_batch_${f + 1}`, ten(part, `training batch ${f + 1} of 5`));
  place(folder, 'cifar-10-batches-py/test_batch', ten(other, 'testing batch 1 of 1'));
  place(folder, 'cifar-10-batches-py/batches.meta', pickled({ label_names: readings.classes }));
  for (const [split, images] of [
    ['train', train],
    ['test', other],
  ] as const) {
    const bytes = pickled({
      filenames: filenames(images),
      batch_label: `${split}ing batch 1 of 1`,
      fine_labels: images.map(fineOf),
      coarse_labels: images.map(coarseOf),
      data: array(images),
    });
    place(folder, `cifar-100-python/${split}`, bytes);
  }
  place(folder, 'cifar-100-python/meta', pickled({ fine_label_names: fineNames, coarse_label_names: coarseNames }));
}

async function writeMirrors(images: Record<SplitName, Image[]>): Promise<void> {
  mkdirSync(join(folder, 'cifar10/plain_text'), { recursive: true });
  mkdirSync(join(folder, 'cifar100/cifar100'), { recursive: true });
  for (const split of splits) {
    const pngs: Buffer[] = [];
    for (const { planes } of images[split]) {
      const rgb = Buffer.alloc(3072);
      for (let i = 0; i < 3072; i++) rgb[i] = planes[(i % 3) * 1024 + Math.floor(i / 3)]!;
      const image = sharp(rgb, { raw: { width: 32, height: 32, channels: 3 } });
      pngs.push(await image.png({ compressionLevel: 1 }).toBuffer());
    }
    const ten = { img: pngs, label: images[split].map(({ label }) => label) };
    // The training split in two shards, as larger mirrors have it.
    const shards = split === 'train' ? [0, Math.floor(pngs.length / 3), pngs.length] : [0, pngs.length];
    for (let s = 0; s + 1 < shards.length; s++) {
      const name = `${split}-0000${s}-of-0000${shards.length - 1}.parquet`;
      const rows = <T>(items: T[]): T[] => items.slice(shards[s], shards[s + 1]);
      writeParquet(join(folder, 'cifar10/plain_text', name), {
        image: 'img',
        images: rows(ten.img),
        labels: { label: rows(ten.label) },
        names: { label: readings.classes },
      });
      writeParquet(join(folder, 'cifar100/cifar100', name), {
        image: 'img',
        images: rows(ten.img),
        labels: { fine_label: rows(images[split].map(fineOf)), coarse_label: rows(images[split].map(coarseOf)) },
        names: { fine_label: fineNames, coarse_label: coarseNames },
      });
    }
  }
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** SHA-256 of [image, row, column, channel] as the workers hand it over. */
async function pixelsOf(split: Split, indices = indicesOf(split.labels.length)): Promise<string> {
  const pipeline = openPipeline(2);
  const hash = createHash('sha256');
  const wanted = { batchSize: 100, height: 32, width: 32, seed: 1, epoch: null, augment: 'none' } as const;
  for await (const { pixels, images } of pipeline.batches(split, indices, wanted))
    hash.update(pixels.subarray(0, images * 3072));
  await pipeline.close();
  return hash.digest('hex');
}

async function check(
  dataset: Dataset & { test: Split },
  classes: string[],
  labels: 'labels' | 'fine' | 'coarse',
): Promise<void> {
  assert.deepEqual(dataset.classes, classes);
  for (const split of splits) {
    assert.equal(dataset[split].labels.length, expected[split].images);
    assert.equal(sha256(Uint8Array.from(dataset[split].labels)), expected[split][labels]);
    assert.equal(await pixelsOf(dataset[split]), expected[split].pixels);
  }
}

const per10 = { train: 2 * SIZES.train, test: 10 * SIZES.test };
const per100 = { train: 10 * SIZES.train, test: 10 * SIZES.test };
const part = <Layout extends object>(layout: Layout, recordsPerFile: typeof per10): Layout => ({
  ...layout,
  recordsPerFile,
});

/** At full size as a user opens it; a part has files of other than the official sizes. */
const forms: [string, string, readonly ('labels' | 'fine' | 'coarse')[], (labels: string) => Dataset][] = [
  [
    'cifar10',
    'cifar-10-batches-bin',
    ['labels'],
    () => readCifar('cifar10', join(folder, 'cifar-10-batches-bin'), part(cifar10, per10)),
  ],
  [
    'cifar100',
    'cifar-100-binary',
    ['fine', 'coarse'],
    (labels) =>
      readCifar(
        'cifar100',
        join(folder, 'cifar-100-binary'),
        part(labels === 'coarse' ? cifar100Coarse : cifar100, per100),
      ),
  ],
  [
    'cifar10',
    'cifar-10-batches-py',
    ['labels'],
    () => readCifarPython('cifar10', join(folder, 'cifar-10-batches-py'), part(cifar10Python, per10)),
  ],
  [
    'cifar100',
    'cifar-100-python',
    ['fine', 'coarse'],
    (labels) =>
      readCifarPython(
        'cifar100',
        join(folder, 'cifar-100-python'),
        part(labels === 'coarse' ? cifar100PythonCoarse : cifar100Python, per100),
      ),
  ],
];

for (const [name, form, kinds, readPart] of forms) {
  for (const labels of kinds) {
    test(`${form} (${labels}) has torchvision's labels and pixels`, async () => {
      const wanted = { name, root: join(folder, form), ...(labels === 'coarse' ? { labels } : {}) } as Wanted;
      const dataset = FULL ? await openBoth(wanted) : withTest(readPart(labels));
      await check(
        dataset,
        labels === 'labels' ? readings.classes : labels === 'fine' ? fineNames : coarseNames,
        labels,
      );
    });
  }
}

for (const [name, labels, classes] of [
  ['cifar10', 'labels', readings.classes],
  ['cifar100', 'fine', fineNames],
  ['cifar100', 'coarse', coarseNames],
] as const) {
  test(`${name} as parquet (${labels}) has torchvision's labels and pixels`, async () => {
    const dataset = await openBoth({
      name,
      root: join(folder, name === 'cifar10' ? 'cifar10/plain_text' : 'cifar100/cifar100'),
      ...(labels === 'coarse' ? { labels } : {}),
    });
    await check(dataset, classes, labels);
  });
}

test("the same as an image folder has torchvision's classes, labels and pixels", async () => {
  const dataset = await openBoth({ name: 'image-folder', root: join(folder, 'images') });
  assert.deepEqual(dataset.classes, readings.classes);
  for (const split of splits) {
    const { labels, source } = dataset[split];
    assert.ok(source.kind === 'files');
    const number = (index: number): number => Number.parseInt(basename(source.paths[index] ?? ''), 10);
    const order = indicesOf(labels.length).sort((a, b) => number(a) - number(b) || labels[a]! - labels[b]!);
    assert.equal(sha256(Uint8Array.from(order, (index) => labels[index]!)), expected[split].labels);
    assert.equal(await pixelsOf(dataset[split], order), expected[split].pixels);
  }
});
