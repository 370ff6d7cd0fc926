/** Enlarged images have Pillow's bytes: enlarged.json holds what Pillow 13 made of random ones (`resize((size, size), BILINEAR)`). */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { enlarged } from '../../src/model/enlarge.js';
import { startBackend } from '../../src/native/backend.js';

interface Case {
  height: number;
  width: number;
  size: number;
  bytes: number[];
  enlarged: number[];
}

before(async () => {
  await startBackend('auto');
});

const cases = JSON.parse(fs.readFileSync('test/model/enlarged.json', 'utf8')) as Case[];

for (const { height, width, size, bytes, enlarged: expected } of cases) {
  test(`${height} × ${width} enlarged to ${size} is Pillow’s to the byte`, () => {
    const found = tf.tidy(() => enlarged(tf.tensor4d(bytes, [1, height, width, 1]), size).dataSync());
    assert.deepEqual([...found], expected);
  });
}
