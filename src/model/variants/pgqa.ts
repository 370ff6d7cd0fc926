/**
 * PGQA: noise with the row statistics of the attention output is subtracted from it.
 * Source: arXiv:2408.08454; key-driven-gqa modules/attention/pgqa.py. The uniform draw is an argument: one for each KV
 * group, shared by the batch.
 */
import * as tf from '@tensorflow/tfjs-core';
import { isNeighbours } from '../grouping.js';
import type { Perturbation } from './hooks.js';

/** A variance below this has a standard deviation whose gradient is not finite; it counts as constant. */
const SMALLEST_VARIANCE = 1e-30;

/** The draw of a layer, for S = H/K query heads a group and rows of N·E values, has the shape [K, S, N·E]. */
export const pgqa: Perturbation = {
  problem: ({ groups }) =>
    isNeighbours(groups) ? null : 'its noise has a row for each head of a group, so that groups must be of one size',
  drawShape: ({ heads, kvHeads, tokens, headDim }) => [kvHeads, heads / kvHeads, tokens * headDim],
  apply: subtractNoise,
};

/**
 * @param output  [B, H, N, E], softmax · V
 * @param uniform [K, S, N·E] in [0, 1)
 * @returns       [B, H, N, E]; gradients flow through the rows' mean and standard deviation, as in the paper's code
 */
export function subtractNoise(output: tf.Tensor, uniform: tf.Tensor): tf.Tensor {
  const [kvHeads, groupSize, row] = uniform.shape as [number, number, number];
  const rows = tf.reshape(output, [-1, kvHeads, groupSize, row]);
  const holes = tf.sub(1, tf.eye(groupSize, row)); // zero diagonal of each [S, N·E] matrix
  const masked = tf.mul(uniform, holes);
  const standardised = tf.div(tf.sub(masked, tf.mean(masked, -1, true)), rowStd(masked, 1)); // [K, S, N·E]
  const noise = tf.add(tf.mul(standardised, rowStd(rows, 0)), tf.mean(rows, -1, true));
  return tf.reshape(tf.sub(rows, noise), output.shape);
}

/**
 * Standard deviation over the last axis, unbiased (n − 1), kept as an axis of 1; `ofConstant` for a row without
 * variance, where the gradient would not be finite.
 */
function rowStd(x: tf.Tensor, ofConstant: 0 | 1): tf.Tensor {
  const size = x.shape.at(-1) as number;
  const variance = tf.div(tf.sum(tf.square(tf.sub(x, tf.mean(x, -1, true))), -1, true), size - 1);
  const varies = tf.greater(variance, SMALLEST_VARIANCE);
  return tf.where(
    varies,
    tf.sqrt(tf.where(varies, variance, tf.onesLike(variance))),
    tf.fill(variance.shape, ofConstant),
  );
}
