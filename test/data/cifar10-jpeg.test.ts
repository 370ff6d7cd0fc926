/** The readers on real pictures: a part of CIFAR-10 as an image folder, and the same re-encoded as official binary files. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { cifar10, readCifar } from '../../src/data/cifar.js';
import type { Batch, Dataset } from '../../src/data/dataset.js';
import { openDataset } from '../../src/data/open.js';
import { openPipeline } from '../../src/data/pipeline.js';
import { indicesOf, place, testFolder } from './files.js';
import { withZip } from './zip.js';

const ZIP = resolve('../shared/data/cifar10-jpeg.zip');
/** Of each class. */
const TRAIN = 10;
const TEST = 2;

async function testBatches({ test: split }: Dataset): Promise<Batch[]> {
  const pipeline = openPipeline(2);
  const batches: Batch[] = [];
  const wanted = { batchSize: 8, height: 32, width: 32, seed: 1, epoch: null, augment: 'none' } as const;
  for await (const batch of pipeline.batches(split, indicesOf(split.labels.length), wanted))
    batches.push({ ...batch, pixels: batch.pixels.slice() });
  await pipeline.close();
  return batches;
}

test('CIFAR-10 as JPEG files and as binary files of the same pixels give the same batches', {
  skip: existsSync(ZIP) ? false : `${ZIP} is not there`,
}, async (t) => {
  const folder = testFolder(t);
  await withZip(ZIP, async (files) => {
    assert.equal(files.length, 60_000);
    for (const { name, bytes } of files) {
      const [, split, , picture = ''] = name.split('/');
      if (Number.parseInt(picture, 10) < (split === 'train' ? TRAIN : TEST)) place(folder, name, bytes());
    }
  });
  const asFiles = await openDataset({ name: 'image-folder', root: join(folder, 'cifar10') });
  assert.deepEqual(asFiles.classes, ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck']);
  assert.deepEqual([asFiles.train.labels.length, asFiles.test.labels.length], [10 * TRAIN, 10 * TEST]);

  const records = async ({ labels, source }: Dataset['test']): Promise<Buffer[]> => {
    assert.ok(source.kind === 'files');
    return Promise.all(
      source.paths.map(async (path, i) => {
        const { data } = await sharp(path).raw().toBuffer({ resolveWithObject: true });
        const plane = (channel: number): Buffer => data.filter((_, at) => at % 3 === channel) as Buffer;
        return Buffer.concat([Buffer.of(labels[i]!), plane(0), plane(1), plane(2)]);
      }),
    );
  };
  const perFile = (10 * TRAIN) / cifar10.train.length;
  const trainRecords = await records(asFiles.train);
  for (const [f, file] of cifar10.train.entries())
    place(folder, `binary/${file}`, Buffer.concat(trainRecords.slice(f * perFile, (f + 1) * perFile)));
  place(folder, 'binary/test_batch.bin', Buffer.concat(await records(asFiles.test)));
  place(folder, 'binary/batches.meta.txt', `${asFiles.classes.join('\n')}\n\n`);
  const asBinary = readCifar('cifar10', join(folder, 'binary'), { ...cifar10, recordsPerFile: { train: perFile, test: 10 * TEST } });

  assert.deepEqual(asBinary.train.labels, asFiles.train.labels);
  assert.deepEqual(await testBatches(asBinary), await testBatches(asFiles));
});
