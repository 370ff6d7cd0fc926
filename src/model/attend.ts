/**
 * The one attention routine of all variants: heads H of queries, K of keys and values. Traceable: no value is read back
 * to the host.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type Groups, groupSizes, isNeighbours, isSorted, oneHot } from './grouping.js';

/**
 * Which key and which value head a query head reads: by groups, any of keys and of values; `selected`: what a step
 * computes, row h of a one-hot matrix [H, K].
 */
export type Reading = { groups: { keys: Groups; values: Groups } } | { selected: tf.Tensor };

/** Rows of tokens as the projections leave them, without their biases. */
export interface AttentionRows {
  /** [B·M, H·E]: M tokens of each image. */
  q: tf.Tensor;
  /** [B·N, K·E] */
  k: tf.Tensor;
  /** [B·N, V·E] */
  v: tf.Tensor;
  /** [H·E] */
  qBias: tf.Tensor;
  /** [K·E] */
  kBias: tf.Tensor;
  /** [V·E] */
  vBias: tf.Tensor;
  /** B */
  batch: number;
  /** E, head_dim. */
  width: number;
}

/** `count` KV heads for `size` query heads each. */
interface Run {
  count: number;
  size: number;
}

/** Of groups in order; equal neighbouring groups are one run. Conversion puts heads in an order that makes few of them. */
function runsOf(groups: Groups): Run[] {
  const runs: Run[] = [];
  for (const size of groupSizes(groups)) {
    const last = runs.at(-1);
    if (last?.size === size) last.count++;
    else runs.push({ count: 1, size });
  }
  return runs;
}

/** The key and the value head that each query head reads, int32 [H] each. */
export function headsRead(reading: Reading): { keyHeadOf: tf.Tensor; valueHeadOf: tf.Tensor } {
  if ('selected' in reading) {
    const chosen = tf.cast(tf.argMax(reading.selected, 1), 'int32');
    return { keyHeadOf: chosen, valueHeadOf: chosen };
  }
  const of = (groups: Groups): tf.Tensor => tf.tensor1d([...groups], 'int32');
  return { keyHeadOf: of(reading.groups.keys), valueHeadOf: of(reading.groups.values) };
}

/** Rows → heads: [B·N, H·E] → [B, H, N, E]. */
export function headsOf(rows: tf.Tensor, batch: number, width: number): tf.Tensor {
  const heads = (rows.shape[1] as number) / width;
  return tf.transpose(tf.reshape(rows, [batch, -1, heads, width]), [0, 2, 1, 3]);
}

/** Heads → rows: [B, H, N, E] → [B·N, H·E]. */
export function rowsOfHeads(x: tf.Tensor): tf.Tensor {
  const [, heads, , width] = x.shape as [number, number, number, number];
  return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [-1, heads * width]);
}

/** Grouped attention on rows. @returns [B·M, H·E] */
export function attentionRows(rows: AttentionRows, reading: Reading): tf.Tensor {
  const { batch, width } = rows;
  const heads = (of: tf.Tensor, bias: tf.Tensor): tf.Tensor => headsOf(tf.add(of, bias), batch, width);
  const q = tf.mul(heads(rows.q, rows.qBias), width ** -0.5);
  return rowsOfHeads(attend(q, heads(rows.k, rows.kBias), heads(rows.v, rows.vBias), reading));
}

/**
 * Grouped attention. Groups of heads that lie side by side reshape the queries, so that K and V are never copied: plain
 * MHA is K = H, MQA is K = 1. Source: Ainslie et al. 2023, arXiv:2305.13245, §2.2.
 *
 * @param q [B, H, N, E], already scaled by 1/√E
 * @param k [B, K, N, E]; `v` alike
 * @returns [B, H, N, E]
 */
function attend(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, reading: Reading): tf.Tensor {
  if ('selected' in reading) {
    const { selected } = reading;
    return grouped(q, selectHeads(k, selected), selectHeads(v, selected));
  }
  const { keys: keyGroups, values: valueGroups } = reading.groups;
  if (keyGroups !== valueGroups || !isSorted(keyGroups))
    return timesGrouped(tf.softmax(timesGrouped(q, k, keyGroups, true)), v, valueGroups, false);
  const runs = runsOf(keyGroups);
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
 * Each head's own product with the KV head that it reads: equal neighbours without a copy, others with a copy for each
 * head.
 * @param x [B, H, n, …]
 * @param y [B, K, N, E], transposed or not
 */
function timesGrouped(x: tf.Tensor, y: tf.Tensor, groups: Groups, transposed: boolean): tf.Tensor {
  const [batch, heads, rows, width] = x.shape as [number, number, number, number];
  if (!isNeighbours(groups)) return tf.matMul(x, gatherHeads(y, groups), false, transposed);
  const kvHeads = y.shape[1] as number;
  const product = tf.matMul(tf.reshape(x, [batch, kvHeads, (heads / kvHeads) * rows, width]), y, false, transposed);
  return tf.reshape(product, [batch, heads, rows, product.shape[3] as number]);
}

/** [B, K, N, E] → [B, H, N, E] */
function gatherHeads(x: tf.Tensor, groups: Groups): tf.Tensor {
  const [batch, kvHeads, tokens, headDim] = x.shape as [number, number, number, number];
  const gather = tf.customGrad((input) => ({
    value: tf.gather(input as tf.Tensor, tf.tensor1d([...groups], 'int32'), 1),
    gradFunc: (dy: tf.Tensor) => {
      const readers = tf.reshape(tf.tensor2d(oneHot(groups)), [1, groups.length, kvHeads]);
      const rows = tf.reshape(dy, [batch, groups.length, tokens * headDim]);
      return tf.reshape(tf.matMul(readers, rows, true, false), [batch, kvHeads, tokens, headDim]);
    },
  }));
  return gather(x);
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
