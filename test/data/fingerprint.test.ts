import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Dataset, filesSplit, type Split } from '../../src/data/dataset.js';
import { asFingerprint, changesSince, fingerprint } from '../../src/data/fingerprint.js';
import { requireUsable } from '../../src/data/usable.js';
import { failure } from './files.js';

const files = (name: Split['name'], from: string, count: number, last = 'x'): Split =>
  filesSplit(
    name,
    Array.from({ length: count }, (_, i) => ({
      path: `${from}/${name}/a/${i === count - 1 ? last : i}.jpg`,
      label: i % 2,
    })),
  );

const set = (from: string, count: number, change: Partial<Dataset> = {}): Dataset => ({
  name: 'image-folder',
  from,
  classes: ['a', 'b'],
  train: files('train', from, count),
  val: null,
  test: files('test', from, 2),
  notices: [],
  ...change,
});

/** Images of so many grey pixels. */
function raw(name: Split['name'], pixels: number[], size: { height: number; width: number }): Split {
  const shared = new Uint8Array(new SharedArrayBuffer(pixels.length));
  shared.set(pixels);
  const labels = new Int32Array(pixels.length / (size.height * size.width));
  return { name, labels, source: { kind: 'raw', ...size, channels: 1, layout: 'hwc', pixels: shared } };
}

test('the same data set elsewhere has the same fingerprint; what was added, renamed, relabelled or put in another order is reported', () => {
  const before = fingerprint(set('/data/one', 3));
  const changes = (now: Dataset, whole = true): string[] => changesSince(before, fingerprint(now), whole);
  assert.deepEqual(changes(set('/mnt/two', 3)), []);
  assert.deepEqual(changes(set('/data/one', 4)), ['train: 3 images then, 4 now']);
  const renamed = set('/data/one', 3, { train: files('train', '/data/one', 3, 'y') });
  assert.deepEqual(changes(renamed), ['train: 3 images as then, but not the same ones']);
  const relabelled = set('/data/one', 3);
  relabelled.train.labels[0] = 1;
  assert.deepEqual(changes(relabelled), ['train: 3 images as then, but not the same ones']);
  assert.deepEqual(changes(set('/data/one', 3, { classes: ['b', 'a'] })), ['other class names, or in another order']);
  assert.deepEqual(changes(set('/data/one', 3, { classes: ['a', 'b', 'c'] })), ['2 classes then, 3 now']);
  assert.deepEqual(changes(set('/data/one', 3, { test: null })), ['test: 2 images then, none now']);
  assert.deepEqual(changes(set('/data/one', 3, { test: null }), false), []);
});

test('it is read back from a meta.json, and what is none is none', () => {
  const print = fingerprint(set('/data', 2));
  assert.deepEqual(asFingerprint(JSON.parse(JSON.stringify(print))), print);
  for (const none of [undefined, null, 3, {}, { ...print, splits: {} }]) assert.equal(asFingerprint(none), null);
});

test('of raw images labels and pixels count', () => {
  const of = (...pixels: number[]) =>
    fingerprint(set('/d', 2, { train: raw('train', pixels, { height: 1, width: 2 }) })).splits.train;
  assert.deepEqual(of(1, 2, 3, 4), of(1, 2, 3, 4));
  assert.notDeepEqual(of(1, 2, 3, 4), of(1, 2, 3, 5));
});

test('one class, and raw splits of two sizes, are refused; classes without a training image are reported', () => {
  assert.throws(
    () => requireUsable(set('/data', 2, { classes: ['a'] })),
    failure('data', '/data has one class only (a)'),
  );
  const [train, other] = [
    raw('train', [1, 2, 3, 4], { height: 2, width: 2 }),
    raw('test', [1, 2, 3, 4], { height: 1, width: 4 }),
  ];
  assert.throws(
    () => requireUsable(set('/data', 2, { train, test: other })),
    failure('data', 'train are 2 × 2, those of test 1 × 4'),
  );
  assert.deepEqual(requireUsable(set('/data', 2)), []);
  assert.match(
    requireUsable(set('/data', 2, { classes: ['a', 'b', 'c'] })).join(),
    /no training image of 1 of 3 classes \(c\)/,
  );
});
