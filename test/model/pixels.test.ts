/** Bytes to the model's input: (byte / 255 − mean) / std by channel, enlarged first where they come smaller. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { normalise, type PixelScale } from '../../src/model/pixels.js';
import { startBackend } from '../../src/native/backend.js';

before(async () => {
  await startBackend('auto');
});

const IMAGENET: PixelScale = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
const HALF: PixelScale = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };

/** Every byte in every channel. */
const bytes = Int32Array.from({ length: 16 * 16 * 3 }, (_, i) => Math.floor(i / 3));

const normalised = (scale: PixelScale, imageSize = 16): Float32Array =>
  tf.tidy(() => normalise(tf.tensor(bytes, [1, 16, 16, 3], 'int32'), imageSize, scale).dataSync() as Float32Array);

test('each channel has its own mean and deviation, as torchvision’s Normalize has it', () => {
  for (const scale of [
    IMAGENET,
    { mean: [0, 0, 0], std: [1, 1, 1] } as const,
    { mean: [0.5, 0.5, 0.5], std: [0.25, 0.5, 0.5] } as const,
  ]) {
    normalised(scale).forEach((value, i) => {
      const expected = ((bytes[i] as number) / 255 - (scale.mean[i % 3] as number)) / (scale.std[i % 3] as number);
      assert.ok(Math.abs(value - expected) < 1e-6, `${value}, not ${expected}`);
    });
  }
});

test('0.5 is what it was before there was a choice, to the bit', () => {
  const before = tf.tidy(() =>
    tf.sub(tf.mul(tf.cast(tf.tensor(bytes, [1, 16, 16, 3], 'int32'), 'float32'), 2 / 255), 1).dataSync(),
  );
  assert.deepEqual(normalised(HALF), before);
});

test('images are enlarged as bytes, whatever the scale', () => {
  const [half, other] = [normalised(HALF, 32), normalised(IMAGENET, 32)];
  other.forEach((value, i) => {
    const byte = value * 255 * (IMAGENET.std[i % 3] as number) + 255 * (IMAGENET.mean[i % 3] as number);
    assert.ok(Math.abs(byte - Math.round(((half[i] as number) + 1) * 127.5)) < 1e-3);
  });
});
