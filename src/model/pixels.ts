/** Bytes to the model's input, on the device. Traceable. */
import * as tf from '@tensorflow/tfjs-core';
import { enlarged } from './enlarge.js';

/** By channel, of pixels of 0 to 1: what is subtracted, and what the rest is divided by. */
export interface PixelScale {
  mean: readonly [number, number, number];
  std: readonly [number, number, number];
}

/**
 * Enlarges images that are smaller than the model's input (enlarge.ts) and normalises.
 * @param pixels    [B, h, w, 3] int32, 0–255
 * @param imageSize the model's input, in pixels
 * @returns         [B, imageSize, imageSize, 3] float32; −1 to 1 with mean and std 0.5, as in the paper's code
 */
export function normalise(pixels: tf.Tensor, imageSize: number, { mean, std }: PixelScale): tf.Tensor {
  const [, height, width] = pixels.shape as [number, number, number, number];
  const bytes = tf.cast(pixels, 'float32') as tf.Tensor4D;
  const sized = height === imageSize && width === imageSize ? bytes : enlarged(bytes, imageSize);
  if ([...mean, ...std].every((value) => value === 0.5)) return tf.sub(tf.mul(sized, 2 / 255), 1);
  const factors = tf.tensor1d(std.map((value) => 1 / (255 * value)));
  const shifts = tf.tensor1d(mean.map((value, channel) => value / (std[channel] as number)));
  return tf.sub(tf.mul(sized, factors), shifts);
}
