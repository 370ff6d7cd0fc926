import assert from 'node:assert/strict';
import { test } from 'node:test';
import { holdOut, takeStratified } from '../../src/data/subset.js';
import { failure, indicesOf, labelsOf } from './files.js';

function classCounts(labels: Int32Array, indices: Int32Array): number[] {
  const counts = new Array<number>(Math.max(...labels) + 1).fill(0);
  for (const index of indices) counts[labels[index]!]!++;
  return counts;
}

test('takes everything for null, for a count that is too large, and for the exact count', () => {
  const labels = labelsOf([3, 2]);
  for (const count of [null, 5, 6]) assert.deepEqual([...takeStratified(labels, count, 1, 'limit')], [0, 1, 2, 3, 4]);
});

test('keeps proportions to less than one image, sorted and without repeats, for every count', () => {
  const sizes = [50, 30, 17, 3];
  const labels = labelsOf(sizes);
  for (let count = 1; count <= 100; count++) {
    const indices = takeStratified(labels, count, 7, 'limit');
    assert.equal(new Set(indices).size, count);
    assert.deepEqual(
      [...indices],
      [...indices].sort((a, b) => a - b),
    );
    for (const [label, found] of classCounts(labels, indices).entries()) {
      const share = (count * sizes[label]!) / 100;
      // The smallest class may be lifted to one image, at the cost of the largest.
      assert.ok(Math.abs(found - share) < 1 || count < 34, `${found} of class ${label} for ${share}`);
      if (count >= 4) assert.ok(found >= 1);
    }
  }
});

test('depends on seed and stream only', () => {
  const labels = labelsOf([40, 40]);
  const take = (seed: number, stream: string): string => takeStratified(labels, 20, seed, stream).join();
  assert.equal(take(1, 'a'), take(1, 'a'));
  assert.notEqual(take(1, 'a'), take(2, 'a'));
  assert.notEqual(take(1, 'a'), take(1, 'b'));
});

test('takes one of every class before any second when there are as many classes as images', () => {
  const labels = labelsOf([90, 5, 4, 1]);
  assert.deepEqual(classCounts(labels, takeStratified(labels, 4, 3, 'limit')), [1, 1, 1, 1]);
});

test('holds out a stratified part, disjoint from the rest and together with it the whole', () => {
  const labels = labelsOf([60, 30, 10]);
  const indices = takeStratified(labels, 50, 1, 'limit');
  const { train, validation } = holdOut(labels, indices, 0.2, 5);
  assert.deepEqual(classCounts(labels, validation), [6, 3, 1]);
  assert.deepEqual(
    [...train, ...validation].sort((a, b) => a - b),
    [...indices],
  );
});

test('never holds out the last training image of a class', () => {
  const labels = labelsOf([5, 1, 1]);
  const { train, validation } = holdOut(labels, indicesOf(7), 0.99, 5);
  assert.deepEqual(classCounts(labels, train), [1, 1, 1]);
  assert.equal(validation.length, 4);
});

test('says so when nothing can be held out', () => {
  assert.throws(
    () => holdOut(labelsOf([1, 1]), indicesOf(2), 0.5, 1),
    failure('usage', '2 training images of 2 classes'),
  );
});
