/**
 * The one attention routine of all variants: heads H of queries, K of keys and values. Traceable: no value is read back
 * to the host.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type Groups, groupSizes, isSorted, oneHot } from './grouping.js';

/**
 * Which key-value head a query head reads. `runs`: query heads in order, `count` KV heads for `size` query heads each,
 * and so on; equal neighbouring groups are one run. `selected`: row h of a one-hot matrix [H, K] of keys and one of
 * values.
 */
export type Reading = { runs: readonly Run[] } | { selected: { keys: tf.Tensor; values: tf.Tensor } };

interface Run {
  count: number;
  size: number;
}

/** Of a layer's groups; conversion puts heads in an order that makes few runs of them. */
export function readingOf(keys: Groups, values: Groups): Reading {
  if (keys === values && isSorted(keys)) return { runs: runsOf(keys) };
  const [ofKeys, ofValues] = [selectionOf(keys), selectionOf(values)];
  return { selected: { keys: ofKeys, values: ofValues } };
}

const selectionOf = (groups: Groups): tf.Tensor => tf.tensor2d(oneHot(groups));

function runsOf(groups: Groups): Run[] {
  const runs: Run[] = [];
  for (const size of groupSizes(groups)) {
    const last = runs.at(-1);
    if (last?.size === size) last.count++;
    else runs.push({ count: 1, size });
  }
  return runs;
}

/**
 * Grouped attention. Groups of heads that lie side by side reshape the queries, so that K and V are never copied: plain
 * MHA is K = H, MQA is K = 1. Source: Ainslie et al. 2023, arXiv:2305.13245, §2.2.
 *
 * @param q [B, H, N, E], already scaled by 1/√E
 * @param k [B, K, N, E]; `v` alike
 * @returns [B, H, N, E]
 */
export function attend(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, reading: Reading): tf.Tensor {
  if ('selected' in reading) {
    const { keys, values } = reading.selected;
    return grouped(q, selectHeads(k, keys), selectHeads(v, values));
  }
  const { runs } = reading;
  if (runs.length === 1) return grouped(q, k, v);
  const counts = runs.map(({ count }) => count);
  const [queries, keys, values] = [
    tf.split(
      q,
      runs.map(({ count, size }) => count * size),
      1,
    ),
    tf.split(k, counts, 1),
    tf.split(v, counts, 1),
  ];
  return tf.concat(
    queries.map((of, i) => grouped(of, keys[i] as tf.Tensor, values[i] as tf.Tensor)),
    1,
  );
}

/** Equal groups side by side. */
function grouped(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor): tf.Tensor {
  const [batch, heads, queries, headDim] = q.shape as [number, number, number, number];
  const groups = k.shape[1] as number;
  const together = tf.reshape(q, [batch, groups, (heads / groups) * queries, headDim]);
  const weights = tf.softmax(tf.matMul(together, k, false, true)); // [B, G, (H/G)·N, N]
  return tf.reshape(tf.matMul(weights, v), [batch, heads, queries, headDim]);
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
