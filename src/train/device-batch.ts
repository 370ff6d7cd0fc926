/** A batch of bytes as tensors on the device. */
import * as tf from '@tensorflow/tfjs-core';
import type { Batch } from '../data/dataset.js';
import { normalise, type PixelScale } from '../model/pixels.js';

/** The caller owns (or tidies) the tensors. */
export function deviceBatch(
  batch: Batch,
  imageSize: number,
  scale: PixelScale,
): { images: tf.Tensor; labels: tf.Tensor1D; weights: tf.Tensor1D } {
  const pixels = tf.tensor(batch.pixels, [batch.labels.length, batch.height, batch.width, 3], 'int32');
  const images = tf.tidy(() => normalise(pixels, imageSize, scale));
  pixels.dispose();
  return { images, labels: tf.tensor1d(batch.labels, 'int32'), weights: tf.tensor1d(batch.weights) };
}
