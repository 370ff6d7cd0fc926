/**
 * What a pipeline does beside making batches: bad images, the cache of decoded ones, the size they have in common,
 * memory that is used again.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { withCommonSize } from '../../../src/data/common-size.js';
import type { Batch, Dataset, Split } from '../../../src/data/dataset.js';
import { bytesOfMean, erase } from '../../../src/data/images/erase.js';
import { fitImage, SQUASH } from '../../../src/data/images/fit.js';
import { interleaved, rawImage } from '../../../src/data/images/image.js';
import { openCache } from '../../../src/data/pipeline/cache.js';
import { inputSize, openPipeline, type Pipeline } from '../../../src/data/pipeline/pipeline.js';
import type { BatchOptions } from '../../../src/data/pipeline/preprocess.js';
import { DEFAULT_READING, type Reading } from '../../../src/data/reading.js';
import { draws } from '../../../src/random.js';
import { failure, indicesOf, place, testFolder } from '../files.js';

const options: BatchOptions = {
  batchSize: 4,
  height: 8,
  width: 8,
  seed: 1,
  epoch: 1,
  augment: 'paper',
  randomErasing: 0.5,
};

/** Images of noise, one larger than the other. */
async function images(folder: string, count: number, side = (i: number) => 8 + i): Promise<Split> {
  const from = draws(5, 'test');
  const paths: string[] = [];
  for (let i = 0; i < count; i++) {
    const [width, height] = [side(i), side(i) + 2];
    const noise = Uint8Array.from({ length: width * height * 3 }, () => from.below(256));
    paths.push(
      place(
        folder,
        `${i}.png`,
        await sharp(noise, { raw: { width, height, channels: 3 } })
          .png()
          .toBuffer(),
      ),
    );
  }
  return { name: 'train', labels: indicesOf(count), source: { kind: 'files', paths } };
}

const pathOf = ({ source }: Split, index: number): string =>
  source.kind === 'files' ? (source.paths[index] as string) : '';

async function collect(pipeline: Pipeline, split: Split, wanted: BatchOptions): Promise<Batch[]> {
  const batches: Batch[] = [];
  for await (const batch of pipeline.batches(split, indicesOf(split.labels.length), wanted)) {
    batches.push({ ...batch, pixels: batch.pixels.slice() });
  }
  return batches;
}

async function batchesOf(
  split: Split,
  wanted: BatchOptions,
  workers: number,
  reading: Partial<Reading> = {},
): Promise<Batch[]> {
  const pipeline = openPipeline(workers, { ...DEFAULT_READING, ...reading });
  try {
    return await collect(pipeline, split, wanted);
  } finally {
    await pipeline.close();
  }
}

test('RandAugment and random erasing give the same batches with 0, 1 and 4 workers, other ones in another epoch', async (t) => {
  const split = await images(testFolder(t), 11);
  const none = await batchesOf(split, options, 0);
  assert.deepEqual(await batchesOf(split, options, 1), none);
  assert.deepEqual(await batchesOf(split, options, 4), none);
  assert.notDeepEqual(await batchesOf(split, { ...options, epoch: 2 }, 0), none);
  const plain = await batchesOf(split, { ...options, epoch: null }, 2);
  assert.deepEqual(await batchesOf(split, { ...options, epoch: null, augment: 'none', randomErasing: 0 }, 0), plain);
});

test('a bad image is an error, or left out: weight 0, black, listed once', async (t) => {
  const split = await images(testFolder(t), 6);
  writeFileSync(pathOf(split, 1), 'no image');
  truncateSync(pathOf(split, 4), 60);
  await assert.rejects(batchesOf(split, options, 2), failure('data', '1.png is of an unknown kind'));
  for (const workers of [0, 2]) {
    const pipeline = openPipeline(workers, { ...DEFAULT_READING, onBadImage: 'skip' });
    const [first, last] = await collect(pipeline, split, { ...options, epoch: null });
    await collect(pipeline, split, options);
    assert.ok(first !== undefined && last !== undefined);
    assert.deepEqual(
      [[...first.weights], first.images, [...last.weights], last.images],
      [[1, 0, 1, 1], 3, [0, 1, 0, 0], 1],
    );
    assert.deepEqual([...first.labels], [0, 0, 2, 3]);
    assert.ok(
      first.pixels.subarray(192, 384).every((value) => value === 0) &&
        first.pixels.subarray(384).some((value) => value > 0),
    );
    assert.deepEqual(
      [...pipeline.skipped].sort((a, b) => a.index - b.index).map(({ split: of, index }) => [of, index]),
      [
        ['train', 1],
        ['train', 4],
      ],
    );
    assert.match(pipeline.skipped.find(({ index }) => index === 1)?.reason ?? '', /1\.png is of an unknown kind/);
    await pipeline.close();
  }
});

test('a damaged JPEG is an error, is left out, or is used as far as it goes and listed, in every pass and with a cache', async (t) => {
  const folder = testFolder(t);
  const split = await images(folder, 6);
  const noise = Uint8Array.from({ length: 40 * 40 * 3 }, (_, i) => (i * i * 7) % 251);
  const jpeg = await sharp(noise, { raw: { width: 40, height: 40, channels: 3 } })
    .jpeg()
    .toBuffer();
  writeFileSync(pathOf(split, 2), Buffer.concat([jpeg.subarray(0, -300), jpeg.subarray(-2)]));
  await assert.rejects(
    batchesOf(split, options, 2, { onBadImage: 'error' }),
    failure('data', '2.png', 'does not decode', 'premature end'),
  );
  const skipping = openPipeline(1, { ...DEFAULT_READING, onBadImage: 'skip' });
  const [first] = await collect(skipping, split, { ...options, epoch: null });
  assert.deepEqual([first?.images, skipping.skipped.length, skipping.damaged.length], [3, 1, 0]);
  await skipping.close();

  const expected = await batchesOf(split, options, 0, { onBadImage: 'warn' });
  assert.deepEqual(
    expected.map(({ images, weights }) => [images, ...weights]),
    [
      [4, 1, 1, 1, 1],
      [2, 1, 1, 0, 0],
    ],
  );
  for (const [workers, cache] of [
    [0, null],
    [2, null],
    [2, join(folder, 'cache')],
    [0, join(folder, 'cache')],
  ] as const) {
    const pipeline = openPipeline(workers, { ...DEFAULT_READING, cache });
    assert.deepEqual(await collect(pipeline, split, options), expected);
    assert.deepEqual(
      [pipeline.skipped, pipeline.damaged.map(({ split: of, index }) => [of, index])],
      [[], [['train', 2]]],
    );
    assert.match(
      pipeline.damaged[0]?.reason ?? '',
      /2\.png \(\d+ bytes\) is damaged: Corrupt JPEG data: premature end/,
    );
    await collect(pipeline, split, options);
    assert.equal(pipeline.damaged.length, 1);
    await pipeline.close();
  }
});

test('a batch of nothing but bad images is an error also when they are to be skipped', async (t) => {
  const split = await images(testFolder(t), 4);
  for (let i = 0; i < 4; i++) rmSync(pathOf(split, i));
  await assert.rejects(
    batchesOf(split, options, 1, { onBadImage: 'skip' }),
    failure('data', 'none of the 4 images', 'ENOENT'),
  );
});

test('an image of more pixels than allowed is bad', async (t) => {
  const split = await images(testFolder(t), 4);
  await assert.rejects(batchesOf(split, options, 0, { maxPixels: 100 }), failure('data', 'exceeds pixel limit'));
  const pipeline = openPipeline(0, { ...DEFAULT_READING, maxPixels: 100, onBadImage: 'skip' });
  const [batch] = await collect(pipeline, split, options);
  assert.deepEqual([batch?.images, pipeline.skipped.length], [2, 2]); // 8 × 10 and 9 × 11
  await pipeline.close();
});

/** Files of the cache that hold an image. */
const entries = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.rgb'))
    .map((name) => join(folder, name));

test('the cache changes no byte, for any preset, and saves the decoding', async (t) => {
  const folder = testFolder(t);
  const split = await images(folder, 6);
  const cache = join(folder, 'cache');
  utimesSync(pathOf(split, 0), 1e9, 1e9);
  for (const wanted of [options, { ...options, augment: 'light' as const }, { ...options, epoch: null }]) {
    const plain = await batchesOf(split, wanted, 0);
    for (const workers of [2, 0]) assert.deepEqual(await batchesOf(split, wanted, workers, { cache }), plain);
  }
  assert.equal(entries(cache).length, 12); // at their own size, and at that of the batch
  const plain = await batchesOf(split, options, 0);
  const path = pathOf(split, 0);
  writeFileSync(path, Buffer.alloc(statSync(path).size));
  utimesSync(path, 1e9, 1e9);
  assert.deepEqual(await batchesOf(split, options, 1, { cache }), plain);
});

test('images that are fitted otherwise are other entries of the cache', async (t) => {
  const folder = testFolder(t);
  const split = await images(folder, 4);
  const cache = join(folder, 'cache');
  const fits: BatchOptions['fit'][] = [
    undefined,
    SQUASH,
    { ...SQUASH, interpolation: 'bicubic' },
    { resize: 'crop', cropPct: 0.9, interpolation: 'bilinear' },
    { resize: 'crop', cropPct: 0.6, interpolation: 'bilinear' },
  ];
  const wanted = fits.map(
    (fit): BatchOptions => ({ ...options, augment: 'none', epoch: null, ...(fit === undefined ? {} : { fit }) }),
  );
  for (const each of [...wanted, ...wanted])
    assert.deepEqual(await batchesOf(split, each, 0, { cache }), await batchesOf(split, each, 0));
  assert.equal(entries(cache).length, 4 * 4); // squash is what it is without a word
});

test('training images of every preset are cropped as those of evaluation are: RandAugment at their own size, then the crop', async (t) => {
  const split = await images(testFolder(t), 4);
  const fit = { resize: 'crop', cropPct: 0.5, interpolation: 'bicubic' } as const;
  const [evaluated] = await batchesOf(split, { ...options, epoch: null, fit }, 0);
  for (const augment of ['none', 'light', 'paper'] as const) {
    const [batch] = await batchesOf(split, { ...options, augment, randomErasing: 0, fit }, 0);
    assert.equal(batch?.pixels.length, evaluated?.pixels.length);
    assert.deepEqual(
      await batchesOf(split, { ...options, augment, fit }, 2),
      await batchesOf(split, { ...options, augment, fit }, 0),
    );
  }
  const raw = {
    kind: 'raw',
    height: 6,
    width: 6,
    channels: 3,
    layout: 'hwc',
    pixels: new Uint8Array(new SharedArrayBuffer(6 * 6 * 3)),
  } as const;
  raw.pixels.forEach((_, i) => {
    raw.pixels[i] = (i * 37) % 256;
  });
  const [one] = await batchesOf(
    { name: 'train', labels: indicesOf(1), source: raw },
    { ...options, batchSize: 1, augment: 'none', epoch: null, fit },
    0,
  );
  assert.deepEqual(one?.pixels, interleaved(fitImage(rawImage(raw, 0), { height: 8, width: 8 }, fit)));
});

test('a cached image that is cut short, altered or of another source is made anew', async (t) => {
  const folder = testFolder(t);
  const split = await images(folder, 4);
  const cache = join(folder, 'cache');
  const plain = await batchesOf(split, options, 0, { cache });
  const [cut, altered, empty] = entries(cache) as [string, string, string];
  truncateSync(cut, 50);
  const bytes = readFileSync(altered);
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] as number) ^ 1;
  writeFileSync(altered, bytes);
  truncateSync(empty, 0);
  assert.deepEqual(await batchesOf(split, options, 0, { cache }), plain);
  assert.ok(statSync(cut).size > 50 && statSync(empty).size > 0);
  const other = await images(folder, 4, (i) => 12 - i);
  assert.notDeepEqual(await batchesOf(other, options, 0, { cache }), plain);
});

test('a process that is killed while it fills the cache leaves nothing that another one would take', async (t) => {
  const folder = testFolder(t);
  const split = await images(folder, 40, (i) => 150 + i);
  const cache = join(folder, 'cache');
  const plain = await batchesOf(split, options, 0);
  const modules = ['pipeline/pipeline', 'reading'].map(
    (name) => new URL(`../../../src/data/${name}.js`, import.meta.url).href,
  );
  const script = `import { openPipeline } from ${JSON.stringify(modules[0])};
    import { DEFAULT_READING } from ${JSON.stringify(modules[1])};
    const split = ${JSON.stringify({ ...split, labels: [] })};
    const pipeline = openPipeline(2, { ...DEFAULT_READING, cache: ${JSON.stringify(cache)} });
    split.labels = new Int32Array(40);
    for await (const batch of pipeline.batches(split, Int32Array.from({ length: 40 }, (_, i) => i), ${JSON.stringify(options)}));`;
  const child = spawn(process.execPath, [place(folder, 'fill.mjs', script)], { stdio: 'inherit' });
  const ended = new Promise((resolve) => child.once('exit', (_, signal) => resolve(signal)));
  while (child.exitCode === null && (!existsSync(cache) || entries(cache).length < 5))
    await new Promise((resolve) => setTimeout(resolve, 1));
  child.kill('SIGKILL');
  assert.equal(await ended, 'SIGKILL');
  assert.deepEqual(await batchesOf(split, options, 2, { cache }), plain);
  assert.equal(entries(cache).length, 40);
  assert.deepEqual(
    readdirSync(cache, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.tmp')),
    [],
  );
});

test('the cache keeps to its bound, and removes what a killed process left half-written', async (t) => {
  const folder = testFolder(t);
  const split = await images(folder, 6, () => 20);
  const cache = join(folder, 'cache');
  const dead = 2 ** 22 + 1; // above Linux's highest process id
  const left = place(cache, `ab/${'0'.repeat(40)}.rgb.${dead}-1.tmp`, 'half');
  const mine = place(cache, `ab/${'1'.repeat(40)}.rgb.${process.pid}-1.tmp`, 'being written');
  await batchesOf(split, options, 2, { cache, cacheGb: 4096e-9 }); // two images of 20 · 22 · 3 bytes and a header
  assert.equal(entries(cache).length, 2);
  assert.deepEqual([existsSync(left), existsSync(mine)], [false, true]);
  const { blocks } = openCache(cache, 1);
  assert.equal(blocks[0], 4);
  assert.throws(() => openCache(join(pathOf(split, 0), 'below'), 1), failure('io', 'data.cache'));
});

test('images of one size not larger than the model cross at it; others, and those of several sizes, at the model’s', async (t) => {
  const same = await images(testFolder(t), 5, () => 20);
  const mixed = await images(testFolder(t), 5);
  const dataset = (train: Split, test: Split): Dataset => ({
    name: 'image-folder',
    from: '/',
    classes: [],
    train,
    val: null,
    test,
    notices: [],
  });
  const crossing = async (train: Split, test: Split, model: number): Promise<unknown> =>
    inputSize((await withCommonSize(dataset(train, test), DEFAULT_READING)).train.source, model);
  assert.deepEqual(await crossing(same, same, 32), { height: 22, width: 20 });
  assert.deepEqual(await crossing(same, same, 21), { height: 21, width: 21 });
  assert.deepEqual(await crossing(same, mixed, 32), { height: 32, width: 32 });
  assert.deepEqual(await crossing(mixed, mixed, 32), { height: 32, width: 32 });
  writeFileSync(pathOf(same, 2), 'no image');
  await assert.rejects(crossing(same, same, 32), failure('data', '2.png'));
  const skipping = await withCommonSize(dataset(same, same), { ...DEFAULT_READING, onBadImage: 'skip' });
  assert.deepEqual(inputSize(skipping.train.source, 32), { height: 22, width: 20 });
});

test('erasing: so often as asked, 2 to 33 % of the area, a box of one value', () => {
  const areas: number[] = [];
  for (let index = 0; index < 2000; index++) {
    const pixels = new Uint8Array(32 * 24 * 3).fill(7);
    erase(pixels, { height: 32, width: 24 }, 0.4, draws(1, 'erase', 0, index));
    const erased = Array.from({ length: 32 * 24 }, (_, at) => at).filter(
      (at) => pixels[at * 3] === 128 && pixels[at * 3 + 2] === 128,
    );
    if (erased.length === 0) continue;
    const [rows, columns] = [new Set(erased.map((at) => Math.floor(at / 24))), new Set(erased.map((at) => at % 24))];
    assert.equal(erased.length, rows.size * columns.size);
    areas.push(erased.length / (32 * 24));
  }
  assert.ok(areas.length > 720 && areas.length < 880, `${areas.length} of 2000`);
  assert.ok(Math.min(...areas) > 0.01 && Math.max(...areas) < 0.36, `${Math.min(...areas)} to ${Math.max(...areas)}`);
});

test('a box is filled with the bytes nearest to the means that are subtracted', () => {
  assert.deepEqual(bytesOfMean([0.5, 0.5, 0.5]), [128, 128, 128]);
  assert.deepEqual(bytesOfMean([0.485, 0.456, 0.406]), [124, 116, 104]);
  const pixels = new Uint8Array(32 * 24 * 3).fill(7);
  erase(pixels, { height: 32, width: 24 }, 1, draws(1, 'erase', 0, 0), [124, 116, 104]);
  const colours = new Set(Array.from({ length: 32 * 24 }, (_, at) => [...pixels.subarray(at * 3, at * 3 + 3)].join()));
  assert.deepEqual([...colours].sort(), ['124,116,104', '7,7,7']);
});

test('batches lie in memory that is used again: thousands of them need no more of it', async () => {
  const pixels = new Uint8Array(new SharedArrayBuffer(64 * 64 * 64 * 3));
  const split: Split = {
    name: 'train',
    labels: new Int32Array(64),
    source: { kind: 'raw', height: 64, width: 64, channels: 3, layout: 'hwc', pixels },
  };
  const pipeline = openPipeline(2);
  const buffers = new Set<ArrayBufferLike>();
  let batches = 0;
  let before = 0;
  for (let epoch = 0; epoch < 300; epoch++) {
    const wanted: BatchOptions = { ...options, batchSize: 8, height: 64, width: 64, epoch, augment: 'none' };
    for await (const batch of pipeline.batches(split, indicesOf(64), wanted)) {
      buffers.add(batch.pixels.buffer);
      batches++;
    }
    if (epoch === 50) before = process.memoryUsage.rss();
  }
  await pipeline.close();
  assert.deepEqual([batches, buffers.size <= 3], [2400, true], `${buffers.size} buffers`);
  const grown = (process.memoryUsage.rss() - before) / 1e6;
  assert.ok(grown < 60, `${grown} MB more after 2,000 batches of 0.1 MB`);
});
