/**
 * Pillow's bilinear resize of bytes, for images that become larger: rows first, columns next, each pass rounded to whole
 * bytes, with weights of 22 bits (src/libImaging/Resample.c, 8 bits per channel). One pass that rounds once gives
 * another byte for one pixel in ten where sizes have small ratios, as 32 and 224 have. Traceable.
 */
import * as tf from '@tensorflow/tfjs-core';

/** Pillow's weights are whole numbers of 2⁻²². */
const WEIGHT_BITS = 22;
/** They are multiplied in halves, so that every product of float32 is exact. */
const HALF_BITS = 11;

/**
 * @param bytes whole numbers of 0 to 255, float32, [B, h, w, C]
 * @param size  pixels, at least h and w
 * @returns     [B, size, size, C], whole numbers of 0 to 255
 */
export const enlarged = (bytes: tf.Tensor4D, size: number): tf.Tensor4D =>
  alongAxis(alongAxis(bytes, 2, size), 1, size);

/** Each new pixel lies between two: first + ⌊(second − first) · weight + ½⌋. */
function alongAxis(x: tf.Tensor4D, axis: 1 | 2, size: number): tf.Tensor4D {
  const from = x.shape[axis];
  if (from === size) return x;
  const { first, second, high, low } = between(from, size);
  const ofPixel = (values: number[]) => tf.tensor(values, axis === 1 ? [1, size, 1, 1] : [1, 1, size, 1]);
  const start = tf.gather(x, tf.tensor1d(first, 'int32'), axis);
  const way = tf.sub(tf.gather(x, tf.tensor1d(second, 'int32'), axis), start);
  const half = 2 ** (HALF_BITS - 1);
  const fraction = tf.floor(tf.add(tf.mul(way, ofPixel(low)), half)); // the high half's ½ is added here: one operation less
  const steps = tf.floor(tf.mul(tf.add(tf.mul(way, ofPixel(high)), fraction), 2 ** -HALF_BITS));
  return tf.add(start, steps) as tf.Tensor4D;
}

/** For each new pixel the two old ones, and the weight of the second as high + low, in units of 2⁻¹¹. */
function between(from: number, to: number) {
  const pixels = Array.from({ length: to }, (_, i) => {
    const place = (i + 0.5) * (from / to) - 0.5;
    const below = Math.floor(place);
    const weight = Math.floor((place - below) * 2 ** WEIGHT_BITS + 0.5);
    const high = Math.floor(weight / 2 ** HALF_BITS);
    const low = weight / 2 ** HALF_BITS - high;
    return { first: Math.max(0, below), second: Math.min(from - 1, below + 1), high, low };
  });
  return {
    first: pixels.map(({ first }) => first),
    second: pixels.map(({ second }) => second),
    high: pixels.map(({ high }) => high),
    low: pixels.map(({ low }) => low),
  };
}
