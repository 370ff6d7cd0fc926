import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import sharp from 'sharp';
import type { Batch, FileSource, RawSource, Split } from '../../../src/data/dataset.js';
import { SQUASH } from '../../../src/data/images/fit.js';
import { inputSize, openPipeline } from '../../../src/data/pipeline/pipeline.js';
import type { BatchOptions } from '../../../src/data/pipeline/preprocess.js';
import { draws, shuffle } from '../../../src/random.js';
import { failure, indicesOf, place, testFolder } from '../files.js';

const COUNT = 50;

/** Images of noise, 8 × 8, three planes; label = index % 7. */
const noise: Split = (() => {
  const pixels = new Uint8Array(new SharedArrayBuffer(COUNT * 192));
  const from = draws(3, 'test');
  for (let i = 0; i < pixels.length; i++) pixels[i] = from.below(256);
  const source: RawSource = { kind: 'raw', height: 8, width: 8, channels: 3, layout: 'chw', pixels };
  return { name: 'train', labels: Int32Array.from({ length: COUNT }, (_, i) => i % 7), source };
})();

const options: BatchOptions = { batchSize: 16, height: 8, width: 8, seed: 1, epoch: 0, augment: 'light' };

/** A batch's memory is used again for a later one. */
const kept = (batch: Batch): Batch => ({ ...batch, pixels: batch.pixels.slice() });

async function batchesOf(
  workers: number,
  split: Split,
  wanted: BatchOptions,
  indices: Int32Array = indicesOf(split.labels.length),
): Promise<Batch[]> {
  const pipeline = openPipeline(workers);
  try {
    const batches: Batch[] = [];
    for await (const batch of pipeline.batches(split, indices, wanted)) batches.push(kept(batch));
    return batches;
  } finally {
    await pipeline.close();
  }
}

/** A hash for each real image, in the order of the batches. */
function images(batches: Batch[]): string[] {
  return batches.flatMap(({ pixels, height, width, images }) => {
    const size = height * width * 3;
    return Array.from({ length: images }, (_, i) =>
      createHash('sha1')
        .update(pixels.subarray(i * size, (i + 1) * size))
        .digest('hex'),
    );
  });
}

test('gives the same batches with 0, 1 and 4 workers', async () => {
  const [none, one, four] = [
    await batchesOf(0, noise, options),
    await batchesOf(1, noise, options),
    await batchesOf(4, noise, options),
  ];
  assert.equal(none?.length, 4);
  assert.deepEqual(one, none);
  assert.deepEqual(four, none);
});

test('a pass that starts at any batch gives those of the whole pass from there on, whatever the workers are', async () => {
  const augmented: BatchOptions = { ...options, epoch: 3, randomErasing: 0.5 };
  const whole = await batchesOf(2, noise, augmented);
  assert.equal(whole.length, 4);
  for (const from of [1, 3, 4])
    for (const workers of [0, 2])
      assert.deepEqual(await batchesOf(workers, noise, { ...augmented, from }), whole.slice(from), `from ${from}`);
});

test('visits every index once, in the order that (seed, epoch) gives', async () => {
  const indices = Int32Array.from([3, 1, 4, 15, 9, 26, 5, 35]);
  const expected = shuffle(indices.slice(), draws(1, 'shuffle', 2));
  const [batch] = await batchesOf(0, noise, { ...options, epoch: 2, batchSize: 8 }, indices);
  assert.deepEqual(
    [...(batch?.labels ?? [])],
    Array.from(expected, (index) => index % 7),
  );
  const order = async (seed: number, epoch: number): Promise<string> =>
    (await batchesOf(0, noise, { ...options, seed, epoch })).map(({ labels }) => labels.join()).join();
  assert.equal(new Set([await order(1, 0), await order(1, 1), await order(2, 0)]).size, 3);
  assert.deepEqual([...indices], [3, 1, 4, 15, 9, 26, 5, 35]);
});

test('an image is augmented alike in batches of any size and among any others', async () => {
  const augmented = async (batchSize: number, indices: Int32Array): Promise<Map<number, string>> => {
    const hashes = images(await batchesOf(0, noise, { ...options, batchSize }, indices));
    const order = shuffle(indices.slice(), draws(1, 'shuffle', 0));
    return new Map(Array.from(order, (index, i) => [index, hashes[i] ?? '']));
  };
  const small = await augmented(7, indicesOf(COUNT));
  const large = await augmented(64, indicesOf(COUNT));
  const few = await augmented(3, Int32Array.from([40, 7, 13]));
  for (const [index, hash] of small) assert.equal(large.get(index), hash);
  for (const [index, hash] of few) assert.equal(small.get(index), hash);
});

test('without an epoch images come in order and unaugmented, as they lie in the source', async () => {
  const [first] = await batchesOf(1, noise, { ...options, epoch: null });
  assert.ok(first !== undefined && noise.source.kind === 'raw');
  assert.deepEqual(
    [...first.labels],
    Array.from({ length: 16 }, (_, i) => i % 7),
  );
  const { pixels } = noise.source;
  const second = Array.from({ length: 192 }, (_, i) => pixels[192 + (i % 3) * 64 + Math.floor(i / 3)]);
  assert.deepEqual([...first.pixels.subarray(192, 384)], second);
});

test('pads the short last batch with black images of label 0 and weight 0', async () => {
  const batches = await batchesOf(0, noise, options);
  const last = batches[3];
  assert.ok(last !== undefined);
  assert.deepEqual(
    batches.map(({ images }) => images),
    [16, 16, 16, 2],
  );
  assert.deepEqual([...last.weights], [1, 1, ...new Array(14).fill(0)]);
  assert.deepEqual([...last.labels.subarray(2)], new Array(14).fill(0));
  assert.equal(last.pixels.length, 16 * 192);
  assert.ok(last.pixels.subarray(2 * 192).every((value) => value === 0));
  assert.ok(last.pixels.subarray(0, 2 * 192).some((value) => value > 0));
});

test('no indices give no batch; a batch larger than the data gives one', async () => {
  assert.deepEqual(await batchesOf(1, noise, options, new Int32Array(0)), []);
  const [only, ...more] = await batchesOf(1, noise, { ...options, batchSize: 200 });
  assert.deepEqual([only?.images, only?.weights.length, more.length], [COUNT, 200, 0]);
});

test('the loop may be left early, and the pipeline used again, by two loops at once', async () => {
  const pipeline = openPipeline(2);
  for await (const batch of pipeline.batches(noise, indicesOf(COUNT), { ...options, batchSize: 2 })) {
    assert.equal(batch.images, 2);
    break;
  }
  const collect = async (epoch: number): Promise<Batch[]> => {
    const batches: Batch[] = [];
    for await (const batch of pipeline.batches(noise, indicesOf(COUNT), { ...options, epoch }))
      batches.push(kept(batch));
    return batches;
  };
  const [first, second] = await Promise.all([collect(0), collect(1)]);
  assert.deepEqual(first, await batchesOf(0, noise, options));
  assert.deepEqual(second, await batchesOf(0, noise, { ...options, epoch: 1 }));
  await pipeline.close();
});

test('makes only a few batches ahead of the one that is asked for', async (t) => {
  const folder = testFolder(t);
  const bytes = await sharp({ create: { width: 4, height: 4, channels: 3, background: 'red' } })
    .png()
    .toBuffer();
  const good = place(folder, 'good.png', bytes);
  // The last image comes into being long after a reader without bounds would have looked for it.
  const late = `${folder}/late.png`;
  const source: FileSource = { kind: 'files', paths: [...new Array<string>(30).fill(good), late] };
  const split: Split = { name: 'test', labels: new Int32Array(31), source };
  const pipeline = openPipeline(1);
  const batches = pipeline.batches(split, indicesOf(31), { ...options, batchSize: 1, epoch: null });
  for (let i = 0; i < 20; i++) assert.equal((await batches.next()).value?.images, 1);
  await new Promise((resolve) => setTimeout(resolve, 200));
  place(folder, 'late.png', bytes);
  for (let i = 20; i < 31; i++) assert.equal((await batches.next()).value?.images, 1);
  assert.equal((await batches.next()).done, true);
  await pipeline.close();
});

test('decodes files alike on the main thread and in workers, and names the image that does not decode', async (t) => {
  const folder = testFolder(t);
  const paths = await Promise.all(
    [30, 120, 210].map(async (value, i) =>
      place(
        folder,
        `${i}.png`,
        await sharp({ create: { width: 20, height: 10, channels: 3, background: { r: value, g: 2, b: 3 } } })
          .png()
          .toBuffer(),
      ),
    ),
  );
  const split: Split = { name: 'test', labels: Int32Array.of(0, 1, 2), source: { kind: 'files', paths } };
  const wanted: BatchOptions = { ...options, batchSize: 2, epoch: null };
  const batches = await batchesOf(2, split, wanted);
  assert.deepEqual(batches, await batchesOf(0, split, wanted));
  assert.deepEqual(
    batches.map(({ pixels }) => [...pixels.subarray(0, 3)]),
    [
      [30, 2, 3],
      [210, 2, 3],
    ],
  );
  assert.equal(batches[0]?.pixels[192], 120);
  place(folder, '1.png', 'broken');
  await assert.rejects(batchesOf(2, split, wanted), failure('data', `${folder}/1.png`, 'unknown kind'));
  await assert.rejects(batchesOf(0, split, wanted), failure('data', `${folder}/1.png`, 'unknown kind'));
});

test('close ends every thread, also with batches under way and when nothing was ever asked', async () => {
  const threads = (): number =>
    process.getActiveResourcesInfo().filter((name) => name === 'MessagePort' || name === 'Worker').length;
  const before = threads();
  const pipeline = openPipeline(3);
  const batches = pipeline.batches(noise, indicesOf(COUNT), { ...options, batchSize: 1 });
  await batches.next();
  assert.ok(threads() > before);
  await pipeline.close();
  assert.equal(threads(), before);
  await openPipeline('auto').close();
  await openPipeline(0).close();
});

test("raw images keep their size up to that of the model; larger ones and files take the model's", async () => {
  const raw = (height: number, width: number): RawSource => ({
    kind: 'raw',
    height,
    width,
    channels: 1,
    layout: 'hwc',
    pixels: new Uint8Array(new SharedArrayBuffer(0)),
  });
  assert.deepEqual(inputSize(raw(28, 28), 32), { height: 28, width: 28 });
  assert.deepEqual(inputSize(raw(32, 32), 32), { height: 32, width: 32 });
  assert.deepEqual(inputSize(raw(20, 64), 32), { height: 32, width: 32 });
  for (const fit of [
    { ...SQUASH, interpolation: 'bicubic' } as const,
    { ...SQUASH, resize: 'crop', cropPct: 0.875 } as const,
  ])
    assert.deepEqual(inputSize(raw(28, 28), 32, fit), { height: 32, width: 32 }); // which the device cannot do
  assert.deepEqual(inputSize({ kind: 'files', paths: [] }, 224), { height: 224, width: 224 });
  const [shrunk] = await batchesOf(1, noise, { ...options, height: 4, width: 4, epoch: null });
  assert.deepEqual([shrunk?.pixels.length, shrunk?.height], [16 * 48, 4]);
});
