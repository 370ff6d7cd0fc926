/**
 * KDGQA: each batch allocates query heads by its own key norms, scaled from min to max.
 * Source: arXiv:2408.08454; key-driven-gqa modules/attention/kdgqa.py. The running mean that evaluation uses is ours:
 * the paper's code allocates from each test batch.
 */
import * as tf from '@tensorflow/tfjs-core';
import { allocate } from '../allocate.js';
import { kvHeadsOf } from '../grouping.js';
import type { KeyDrivenRule } from './key-driven.js';

const MOMENTUM = 0.9;

/**
 * (m − min) / (max − min) up to a factor that the shares cancel: the weakest key head gets no share before rounding is
 * corrected.
 */
const minMaxScores = (norms: tf.Tensor): tf.Tensor => tf.sub(norms, tf.min(norms));

export const kdgqa: KeyDrivenRule = {
  windowed: false,
  initialState: (groups) => ({ norms: Array(kvHeadsOf(groups)).fill(0) }),
  train: (norms, _batch, heads, state) => ({
    counts: allocate(minMaxScores(norms), heads),
    state: { norms: tf.add(tf.mul(state.norms as tf.Tensor, MOMENTUM), tf.mul(norms, 1 - MOMENTUM)) },
  }),
  frozen: (heads, state) => allocate(minMaxScores(state.norms as tf.Tensor), heads),
  perBatch: (norms, _batch, heads, state) => ({ counts: allocate(minMaxScores(norms), heads), state }),
  calibrated: (norms) => ({ norms }),
};
