import assert from 'node:assert/strict';
import { test } from 'node:test';
import { counted } from '../src/counted.js';

test('one is singular, none and several are plural, whatever the word ends in', () => {
  const words = ['image', 'KV head', 'class', 'box', 'batch', 'query', 'key', 'epoch'];
  assert.deepEqual(
    words.map((word) => [0, 1, 2].map((count) => counted(count, word))),
    [
      ['0 images', '1 image', '2 images'],
      ['0 KV heads', '1 KV head', '2 KV heads'],
      ['0 classes', '1 class', '2 classes'],
      ['0 boxes', '1 box', '2 boxes'],
      ['0 batches', '1 batch', '2 batches'],
      ['0 queries', '1 query', '2 queries'],
      ['0 keys', '1 key', '2 keys'],
      ['0 epochs', '1 epoch', '2 epochs'],
    ],
  );
});
