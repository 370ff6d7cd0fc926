/**
 * DGQA: every `windowSize` optimizer steps the query heads are allocated anew, by the difference of the key norms from
 * a cached value (diff) or by a moving average of both (ema). Source: arXiv:2408.08454; key-driven-gqa
 * modules/attention/dgqa.py. As there, the cache starts at 0 and is (cache + m) / windowSize at the start of a window,
 * and m is summed over the batch.
 */
import * as tf from '@tensorflow/tfjs-core';
import { allocate } from '../allocate.js';
import { groupSizes, kvHeadsOf } from '../grouping.js';
import type { BlockState, KeyDrivenRule } from './key-driven.js';

const EMA_WEIGHT = 0.9;

type Scores = (summedNorms: tf.Tensor, cache: tf.Tensor) => tf.Tensor;

const diffScores: Scores = (summed, cache) => tf.abs(tf.sub(cache, summed));
const emaScores: Scores = (summed, cache) => tf.add(tf.mul(summed, EMA_WEIGHT), tf.mul(cache, 1 - EMA_WEIGHT));

function dgqa(scores: Scores): KeyDrivenRule {
  return {
    windowed: true,
    initialState: (groups) => ({ cache: Array(kvHeadsOf(groups)).fill(0), allocation: groupSizes(groups) }),
    train(norms, batch, heads, state, { refresh, windowSize }) {
      const { cache, allocation } = tensors(state);
      const summed = tf.mul(norms, batch);
      const begin = (fresh: tf.Tensor, old: tf.Tensor): tf.Tensor => tf.where(tf.greater(refresh, 0), fresh, old);
      const counts = begin(allocate(scores(summed, cache), heads), allocation);
      return { counts, state: { cache: begin(tf.div(tf.add(cache, summed), windowSize), cache), allocation: counts } };
    },
    frozen: (_heads, state) => tensors(state).allocation,
    perBatch(norms, batch, heads, state) {
      const summed = tf.mul(norms, batch);
      const counts = allocate(scores(summed, tensors(state).cache), heads);
      return { counts, state: { cache: summed, allocation: counts } };
    },
    // The cache stays as it is: training begins with 0, as in the paper's code.
    calibrated: (norms, heads, state) => ({ cache: tensors(state).cache, allocation: allocate(norms, heads) }),
  };
}

const tensors = (state: BlockState): { cache: tf.Tensor; allocation: tf.Tensor } =>
  state as { cache: tf.Tensor; allocation: tf.Tensor };

export const dgqaDiff = dgqa(diffScores);
export const dgqaEma = dgqa(emaScores);
