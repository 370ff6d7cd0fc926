import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { readIdx } from '../../../src/data/formats/idx.js';
import { failure, idxBytes, place, placeSmallIdx, testFolder } from '../files.js';

const classes = Array.from({ length: 10 }, (_, i) => `class ${i}`);

test('reads images, labels and classes of both splits', (t) => {
  const folder = testFolder(t);
  placeSmallIdx(folder);
  const { name, from, train, test: other, classes: read } = readIdx('mnist', folder, classes);
  assert.deepEqual([name, from, read], ['mnist', folder, classes]);
  assert.deepEqual([...train.labels], [9, 0, 3, 3, 1]);
  assert.deepEqual([...other.labels], [4, 5]);
  assert.ok(train.source.kind === 'raw' && train.source.pixels.buffer instanceof SharedArrayBuffer);
  const { height, width, channels } = train.source;
  assert.deepEqual({ height, width, channels }, { height: 2, width: 3, channels: 1 });
  assert.deepEqual(
    [...train.source.pixels],
    Array.from({ length: 30 }, (_, i) => i),
  );
});

test('reads gzipped files to the same bytes', (t) => {
  const [plain, packed] = [testFolder(t), testFolder(t)];
  placeSmallIdx(plain);
  placeSmallIdx(packed);
  rmSync(join(packed, 'train-images-idx3-ubyte'));
  place(
    packed,
    'train-images-idx3-ubyte.gz',
    gzipSync(
      idxBytes(
        [5, 2, 3],
        Array.from({ length: 30 }, (_, i) => i),
      ),
    ),
  );
  assert.deepEqual(readIdx('mnist', packed, classes).train, readIdx('mnist', plain, classes).train);
});

/** Each: what replaces a file, and what the message then says besides the file's name. */
const faults: [sentence: string, file: string, bytes: Uint8Array, ...said: string[]][] = [
  [
    'a magic number of another kind',
    'train-images-idx3-ubyte',
    idxBytes([5], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    'byte 0',
    '0x00000801',
    '0x00000803',
  ],
  ['a cut header', 'train-images-idx3-ubyte', Buffer.from([0, 0, 8, 3, 0, 0]), 'byte 6', 'header of 16 bytes'],
  ['an empty file', 't10k-labels-idx1-ubyte', Buffer.alloc(0), 'byte 0', 'header of 8 bytes'],
  [
    'cut pixels',
    'train-images-idx3-ubyte',
    idxBytes([5, 2, 3], new Uint8Array(29)),
    '45 bytes',
    'expected 46',
    '5 × 2 × 3',
  ],
  ['bytes after the end', 't10k-labels-idx1-ubyte', idxBytes([2], [4, 5, 6]), '11 bytes', 'expected 10'],
  ['a size of 0', 't10k-images-idx3-ubyte', idxBytes([0, 2, 3], []), '0 × 2 × 3'],
  [
    'sizes whose product is huge',
    't10k-images-idx3-ubyte',
    idxBytes([0xffffffff, 0xffffffff, 0xffffffff], []),
    'has 16 bytes',
  ],
  ['a label out of range', 'train-labels-idx1-ubyte', idxBytes([5], [9, 0, 10, 3, 1]), 'label 10', 'byte 10', '0 to 9'],
  [
    'another number of labels than of images',
    'train-labels-idx1-ubyte',
    idxBytes([4], [9, 0, 3, 1]),
    '4 labels',
    '5 images',
  ],
];
for (const [sentence, file, bytes, ...said] of faults) {
  test(`refuses ${sentence}, naming the file`, (t) => {
    const folder = testFolder(t);
    placeSmallIdx(folder);
    const path = place(folder, file, bytes);
    assert.throws(() => readIdx('mnist', folder, classes), failure('data', path, ...said));
  });
}

test('refuses a gzip file that was cut short, and one that is none', (t) => {
  const folder = testFolder(t);
  placeSmallIdx(folder);
  rmSync(join(folder, 'train-labels-idx1-ubyte'));
  const packed = gzipSync(idxBytes([5], [9, 0, 3, 3, 1]));
  const path = place(folder, 'train-labels-idx1-ubyte.gz', packed.subarray(0, packed.length - 9));
  assert.throws(
    () => readIdx('mnist', folder, classes),
    failure('data', path, 'does not unpack', 'unexpected end of file'),
  );
  place(folder, 'train-labels-idx1-ubyte.gz', '<html>not found</html>');
  assert.throws(() => readIdx('mnist', folder, classes), failure('data', path, 'does not unpack', 'header'));
});

test('names the one file that is missing', (t) => {
  const folder = testFolder(t);
  placeSmallIdx(folder);
  rmSync(join(folder, 't10k-labels-idx1-ubyte'));
  assert.throws(
    () => readIdx('mnist', folder, classes),
    failure('data', join(folder, 't10k-labels-idx1-ubyte'), 'missing'),
  );
});
