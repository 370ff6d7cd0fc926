/** Bytes to the model's input, on the device. Traceable. */
import * as tf from '@tensorflow/tfjs-core';

/**
 * Enlarges pictures that are smaller than the model's input (half-pixel bilinear, rounded to whole bytes: what Pillow's and torchvision's bilinear resize gives when enlarging)
 * and normalises with mean and standard deviation 0.5, as the paper's code does.
 * @param pixels    [B, h, w, 3] int32, 0–255
 * @param imageSize the model's input, in pixels
 * @returns         [B, imageSize, imageSize, 3] float32, −1 to 1
 */
export function normalise(pixels: tf.Tensor, imageSize: number): tf.Tensor {
  const [, height, width] = pixels.shape as [number, number, number, number];
  const bytes = tf.cast(pixels, 'float32') as tf.Tensor4D;
  const sized =
    height === imageSize && width === imageSize ? bytes : tf.round(tf.image.resizeBilinear(bytes, [imageSize, imageSize], false, true));
  return tf.sub(tf.mul(sized, 2 / 255), 1);
}
