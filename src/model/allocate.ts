/**
 * How the key-driven variants hand query heads to key heads: shares of the heads, rounded so that they add up.
 * Traceable: no branch on a value.
 */
import * as tf from '@tensorflow/tfjs-core';

/**
 * ‖K_g‖ of every image, summed with its weight over the batch.
 * @param k       [B·N, K·E]
 * @param kvHeads K
 * @param weights [B], 0 for padding
 * @returns       [K], the weighted mean over real images
 */
export function meanKeyNorms(k: tf.Tensor, kvHeads: number, weights: tf.Tensor): tf.Tensor {
  const batch = weights.size;
  const squares = tf.reshape(tf.square(k), [batch, -1, kvHeads, (k.shape[1] as number) / kvHeads]);
  const norms = tf.sqrt(tf.sum(squares, [1, 3])); // [B, K]
  const column = tf.reshape(weights, [-1, 1]);
  return tf.div(tf.sum(tf.mul(norms, column), 0), tf.sum(weights));
}

/**
 * Query heads for each key head, in proportion to `scores`: round half to even, then take one from the largest or give
 * one to the smallest until they add up to `heads` (rounding K shares is off by at most K/2, so ⌈K/2⌉ corrections are
 * enough). Where the paper's code corrects at a random head (DGQA), this is deterministic. Scores that are all zero
 * (equal norms, or one key head) give the even split, where the paper's code divides 0 by 0. Source: key-driven-gqa
 * modules/attention/kdgqa.py, dgqa.py.
 *
 * @param scores [K], not negative
 * @returns      [K] whole numbers that add up to `heads`
 */
export function allocate(scores: tf.Tensor, heads: number): tf.Tensor {
  const kvHeads = scores.size;
  const total = tf.sum(scores);
  const nothing = tf.lessEqual(total, 0);
  const shares = tf.div(tf.mul(scores, heads), tf.where(nothing, tf.onesLike(total), total));
  let counts = tf.where(nothing, tf.fill([kvHeads], Math.round(heads / kvHeads)), tf.round(shares));
  for (let i = 0; i < Math.ceil(kvHeads / 2); i++) {
    const missing = tf.sign(tf.sub(heads, tf.sum(counts))); // 1: give one, −1: take one, 0: done
    const index = tf.where(tf.less(missing, 0), tf.argMax(counts), tf.argMin(counts));
    // one-hot; tf.oneHot refuses K = 1
    const chosen = tf.cast(tf.equal(tf.range(0, kvHeads, 1, 'int32'), tf.cast(index, 'int32')), 'float32');
    counts = tf.add(counts, tf.mul(chosen, missing));
  }
  return counts;
}

/**
 * Query heads are handed out in index order: the first counts[0] to key head 0, and so on.
 * @param counts [K], adding up to `heads`
 * @returns      [H, K], one-hot rows
 */
export function assignmentOf(counts: tf.Tensor, heads: number): tf.Tensor {
  const ends = tf.reshape(tf.cumsum(counts), [1, -1]);
  const starts = tf.sub(ends, tf.reshape(counts, [1, -1]));
  const head = tf.reshape(tf.range(0, heads, 1, 'float32'), [heads, 1]);
  return tf.cast(tf.logicalAnd(tf.greaterEqual(head, starts), tf.less(head, ends)), 'float32');
}
