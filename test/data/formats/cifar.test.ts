import assert from 'node:assert/strict';
import { appendFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type CifarLayout, readCifar } from '../../../src/data/formats/cifar.js';
import { openDataset } from '../../../src/data/open.js';
import { cifar10Binary as cifar10 } from '../../../src/data/sets/cifar10.js';
import { cifar100Binary as cifar100, cifar100CoarseBinary as cifar100Coarse } from '../../../src/data/sets/cifar100.js';
import { failure, place, testFolder } from '../files.js';

/** The official layouts with files of 3 and 2 records. */
const small10: CifarLayout = { ...cifar10, recordsPerFile: { train: 3, test: 2 } };
const small100: CifarLayout = { ...cifar100, recordsPerFile: { train: 3, test: 2 } };

/** A record: label bytes, then planes R, G, B that are each of one value. */
function record(labels: number[], r: number, g: number, b: number): Buffer {
  return Buffer.concat([Buffer.from(labels), Buffer.alloc(1024, r), Buffer.alloc(1024, g), Buffer.alloc(1024, b)]);
}

function placeSmallCifar10(folder: string): void {
  for (const [f, file] of cifar10.train.entries()) {
    place(folder, file, Buffer.concat([0, 1, 2].map((r) => record([(f + r) % 10], 10 * f + r, 100 + f, 200 + r))));
  }
  place(folder, 'test_batch.bin', Buffer.concat([record([9], 1, 2, 3), record([8], 4, 5, 6)]));
  place(folder, 'batches.meta.txt', 'airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n');
}

test('reads the five training files in order, labels and planes', (t) => {
  const folder = testFolder(t);
  placeSmallCifar10(folder);
  const { classes, train, test: other } = readCifar('cifar10', folder, small10);
  assert.deepEqual([classes[0], classes[9], classes.length], ['airplane', 'truck', 10]);
  assert.deepEqual([...train.labels], [0, 1, 2, 1, 2, 3, 2, 3, 4, 3, 4, 5, 4, 5, 6]);
  assert.deepEqual([...other.labels], [9, 8]);
  assert.ok(train.source.kind === 'raw' && train.source.layout === 'chw');
  const { pixels } = train.source;
  const firstOfPlanes = (image: number): (number | undefined)[] =>
    [0, 1024, 2048].map((at) => pixels[image * 3072 + at]);
  assert.deepEqual(firstOfPlanes(4), [11, 101, 201]);
  assert.deepEqual(firstOfPlanes(14), [42, 104, 202]);
});

test('takes the fine labels of CIFAR-100', (t) => {
  const folder = testFolder(t);
  place(
    folder,
    'train.bin',
    Buffer.concat([record([19, 99], 1, 1, 1), record([0, 20], 1, 1, 1), record([1, 2], 1, 1, 1)]),
  );
  place(folder, 'test.bin', Buffer.concat([record([3, 50], 1, 1, 1), record([4, 51], 7, 8, 9)]));
  place(folder, 'fine_label_names.txt', Array.from({ length: 100 }, (_, i) => `fine ${i}`).join('\r\n'));
  const { train, test: other } = readCifar('cifar100', folder, small100);
  assert.deepEqual([...train.labels, ...other.labels], [99, 20, 2, 50, 51]);
  assert.ok(other.source.kind === 'raw');
  assert.deepEqual(
    [3072, 4096, 5120].map((at) => other.source.kind === 'raw' && other.source.pixels[at]),
    [7, 8, 9],
  );
});

test('takes the 20 coarse labels of CIFAR-100 when they are asked for', async (t) => {
  const folder = testFolder(t);
  const coarse: CifarLayout = { ...cifar100Coarse, recordsPerFile: { train: 2, test: 1 } };
  place(folder, 'train.bin', Buffer.concat([record([19, 99], 1, 1, 1), record([0, 20], 1, 1, 1)]));
  place(folder, 'test.bin', record([3, 50], 7, 8, 9));
  place(folder, 'coarse_label_names.txt', Array.from({ length: 20 }, (_, i) => `coarse ${i}`).join('\n'));
  const { classes, train, test: other } = readCifar('cifar100', folder, coarse);
  assert.deepEqual([classes.length, classes[19]], [20, 'coarse 19']);
  assert.deepEqual([...train.labels, ...other.labels], [19, 0, 3]);
  // By the config's key: the official sizes are then asked for, of the file that the coarse names lie beside.
  place(folder, 'fine_label_names.txt', 'x');
  await assert.rejects(
    openDataset({ name: 'cifar100', root: folder, labels: 'coarse' }),
    failure('data', 'train.bin', 'expected 153700000'),
  );
  await assert.rejects(
    openDataset({ name: 'cifar100', root: folder, labels: 'fine' }),
    failure('data', 'fine_label_names.txt'),
  );
});

test('refuses a file cut within a record, cut between two, or too long, with bytes found and expected', (t) => {
  const folder = testFolder(t);
  placeSmallCifar10(folder);
  const path = join(folder, 'data_batch_4.bin');
  truncateSync(path, 5000);
  assert.throws(
    () => readCifar('cifar10', folder, small10),
    failure('data', path, 'has 5000 bytes', 'expected 9219', 'in record 1'),
  );
  truncateSync(path, 2 * 3073);
  assert.throws(
    () => readCifar('cifar10', folder, small10),
    failure('data', path, 'has 6146 bytes', 'in record 2 of 3'),
  );
  placeSmallCifar10(folder);
  appendFileSync(path, 'x');
  assert.throws(
    () => readCifar('cifar10', folder, small10),
    failure('data', path, 'has 9220 bytes', 'after its end at 9219'),
  );
});

test('expects 30,730,000 bytes in an official file', (t) => {
  const folder = testFolder(t);
  placeSmallCifar10(folder);
  assert.throws(() => readCifar('cifar10', folder, cifar10), failure('data', 'data_batch_1.bin', 'expected 30730000'));
});

test('refuses a label above 9, naming file, byte and record', (t) => {
  const folder = testFolder(t);
  placeSmallCifar10(folder);
  writeFileSync(
    join(folder, 'data_batch_2.bin'),
    Buffer.concat([record([1], 0, 0, 0), record([1], 0, 0, 0), record([10], 0, 0, 0)]),
  );
  assert.throws(
    () => readCifar('cifar10', folder, small10),
    failure('data', 'data_batch_2.bin', 'label 10 at byte 6146', 'record 2', '0 to 9'),
  );
});

test('names the one file that is missing, and a wrong list of classes', (t) => {
  const folder = testFolder(t);
  placeSmallCifar10(folder);
  rmSync(join(folder, 'data_batch_3.bin'));
  assert.throws(
    () => readCifar('cifar10', folder, small10),
    failure('data', join(folder, 'data_batch_3.bin'), 'missing'),
  );
  place(folder, 'batches.meta.txt', 'cat\ndog\ncat\n');
  assert.throws(
    () => readCifar('cifar10', folder, small10),
    failure('data', 'batches.meta.txt:3', 'class cat stands in line 1'),
  );
  place(folder, 'batches.meta.txt', 'cat\ndog\n');
  assert.throws(
    () => readCifar('cifar10', folder, small10),
    failure('data', 'batches.meta.txt', '2 class names', 'expected 10'),
  );
});
