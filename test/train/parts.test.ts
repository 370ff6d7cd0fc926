/** Which images train, choose the best epoch and test, for every combination of splits and protocol. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../../src/config/load.js';
import type { Config } from '../../src/config/schema.js';
import { type Dataset, type Evaluable, filesSplit, type Split } from '../../src/data/dataset.js';
import { evaluatedPart, type Part, splitParts } from '../../src/train/parts.js';
import { failure } from '../data/files.js';

const config = (...sets: string[]): Config =>
  parseConfig('data: { name: image-folder, val_fraction: 0.25 }\nmodel: { size: micro }\n', 'x.yaml', sets).config;
const PAPER = 'train.protocol=paper';

/** Two classes, taking turns. */
const split = (name: Split['name'], count: number): Split =>
  filesSplit(
    name,
    Array.from({ length: count }, (_, i) => ({ path: `/d/${name}/${i}.jpg`, label: i % 2 })),
  );
const set = (val: number, other: number): Dataset => ({
  name: 'image-folder',
  from: '/d',
  classes: ['a', 'b'],
  train: split('train', 20),
  val: val === 0 ? null : split('val', val),
  test: other === 0 ? null : split('test', other),
  notices: [],
});
const reported = (part: Part | null): unknown =>
  part === null ? null : `${part.indices.length} of ${part.split.name}`;
const parts = (dataset: Dataset, ...sets: string[]): unknown[] => {
  const { train, selection, test } = splitParts(config(...sets), dataset);
  return [train, selection, test].map(reported);
};

test('without a validation part one is held out; with one, nothing is; paper chooses on the test split', () => {
  assert.deepEqual(parts(set(0, 8)), ['15 of train', '5 of train', '8 of test']);
  assert.deepEqual(parts(set(6, 8)), ['20 of train', '6 of val', '8 of test']);
  assert.deepEqual(parts(set(6, 0)), ['20 of train', '6 of val', null]);
  assert.deepEqual(parts(set(6, 8), PAPER), ['20 of train', '8 of test', '8 of test']);
  assert.throws(() => parts(set(6, 0), PAPER), failure('usage', '/d has none'));
  assert.deepEqual(parts(set(6, 8), 'data.limit=4'), ['4 of train', '4 of val', '4 of test']);
  assert.deepEqual(parts(set(6, 8), 'data.limit.val=2'), ['20 of train', '2 of val', '8 of test']);
});

test('every role that changes is reported, and a limit that leaves a class without an image', () => {
  const notices = (dataset: Dataset, ...sets: string[]): string =>
    splitParts(config(...sets), dataset).notices.join('\n');
  assert.equal(notices(set(0, 8)), '');
  assert.match(notices(set(6, 8)), /brings its validation part/);
  assert.match(notices(set(6, 0)), /no test split: test figures stay empty/);
  assert.match(notices(set(6, 8), PAPER), /takes no part under train\.protocol: paper/);
  assert.match(notices(set(0, 8), 'data.limit.val=4'), /data\.limit\.val does nothing: \/d brings no validation part/);
  assert.doesNotMatch(notices(set(0, 8), 'data.limit=4') + notices(set(6, 8), 'data.limit.val=4'), /limit\.val/);
  assert.match(notices(set(6, 8), 'data.limit.train=1', PAPER), /no training image is left of 1 of 2 classes/);
});

test('an evaluation measures the same parts, or says which there are', () => {
  const part = (dataset: Evaluable, wanted: Split['name'], ...sets: string[]): unknown[] => {
    const { part, train } = evaluatedPart(config(...sets), dataset, wanted);
    return [reported(part), reported(train)];
  };
  const whole = set(0, 8);
  for (const wanted of ['train', 'val', 'test'] as const) {
    const { train, selection, test } = splitParts(config(), whole);
    assert.deepEqual(evaluatedPart(config(), whole, wanted).part, { train, val: selection, test }[wanted]);
  }
  assert.deepEqual(part(set(6, 8), 'val'), ['6 of val', '20 of train']);
  assert.deepEqual(part({ ...set(6, 0), train: null }, 'val'), ['6 of val', null]);
  assert.throws(() => part({ ...set(6, 0), train: null }, 'test'), failure('usage', '/d has no test split'));
  assert.throws(() => part(whole, 'val', PAPER), failure('usage', 'no validation part under train.protocol: paper'));
});
