/**
 * The one attention routine of all variants: heads H of queries, K of keys and values. Traceable: no value is read back
 * to the host.
 */
import * as tf from '@tensorflow/tfjs-core';

/**
 * Grouped attention. Equal neighbouring groups (`assignment` null) reshape the queries, so that K and V are never
 * copied: plain MHA is K = H, MQA is K = 1. Otherwise query head h reads the key-value head that row h of `assignment`
 * selects. Source: Ainslie et al. 2023, arXiv:2305.13245, §2.2.
 *
 * @param q          [B, H, N, E], already scaled by 1/√E
 * @param k          [B, K, N, E]; `v` alike
 * @param assignment [H, K], one-hot rows, or null
 * @returns          [B, H, N, E]
 */
export function attend(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, assignment: tf.Tensor | null): tf.Tensor {
  const [batch, heads, queries, headDim] = q.shape as [number, number, number, number];
  const groups = assignment === null ? (k.shape[1] as number) : heads;
  const keys = assignment === null ? k : selectHeads(k, assignment); // [B, G, N, E]
  const values = assignment === null ? v : selectHeads(v, assignment);
  const grouped = tf.reshape(q, [batch, groups, (heads / groups) * queries, headDim]);
  const weights = tf.softmax(tf.matMul(grouped, keys, false, true)); // [B, G, (H/G)·N, N]
  return tf.reshape(tf.matMul(weights, values), [batch, heads, queries, headDim]);
}

/**
 * The key or value head that each query head reads. The choice has no gradient, so only x is an input of the
 * differentiated operation.
 * @param x          [B, K, N, E]
 * @param assignment [H, K], one-hot rows
 * @returns          [B, H, N, E]
 */
function selectHeads(x: tf.Tensor, assignment: tf.Tensor): tf.Tensor {
  const [batch, kvHeads, tokens, headDim] = x.shape as [number, number, number, number];
  const heads = assignment.shape[0] as number;
  const select = tf.customGrad((input, save) => {
    (save as tf.GradSaveFunc)([assignment]);
    const chosen = tf.reshape(assignment, [1, heads, kvHeads]);
    return {
      value: tf.matMul(chosen, input as tf.Tensor), // [1, H, K] × [B, K, N·E]
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) =>
        tf.matMul(tf.reshape(saved[0] as tf.Tensor, [1, heads, kvHeads]), dy, true, false),
    };
  });
  return tf.reshape(select(tf.reshape(x, [batch, kvHeads, tokens * headDim])), [batch, heads, tokens, headDim]);
}
