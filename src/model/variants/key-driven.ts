/**
 * What a key-driven variant is: a rule from key norms to query heads per key head, with a state that training carries
 * along.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { Groups } from '../grouping.js';

/** State of one block: named vectors of length K. */
export type BlockState = Record<string, tf.Tensor>;

export interface Allocation {
  /** [K] query heads for each key head. */
  counts: tf.Tensor;
  state: BlockState;
}

export interface TrainingClock {
  /** Scalar, 1 when this optimizer step (counted within the epoch, from 0) begins a window, else 0. */
  refresh: tf.Tensor;
  /** Optimizer steps. */
  windowSize: number;
}

/**
 * `norms` is always [K]: the mean over the batch's real images of ‖K_g‖ (over tokens and head_dim); `batch` is the
 * batch size B.
 */
export interface KeyDrivenRule {
  /** Whether it allocates at the beginning of a window only, whose length is the config's `window_size`. */
  windowed: boolean;
  /** The state of a block before any training: vectors of length K. */
  initialState(groups: Groups): Record<string, number[]>;
  /** One training step. */
  train(norms: tf.Tensor, batch: number, heads: number, state: BlockState, clock: TrainingClock): Allocation;
  /** The frozen rule: from the state alone, so that an image's prediction depends on nothing but the image. */
  frozen(heads: number, state: BlockState): tf.Tensor;
  /** The paper's evaluation, batch by batch; the state it returns is for the next batch of the same evaluation only. */
  perBatch(norms: tf.Tensor, batch: number, heads: number, state: BlockState): Allocation;
  /** The state that evaluation before any training uses, from key norms averaged over calibration images. */
  calibrated(norms: tf.Tensor, heads: number, state: BlockState): BlockState;
}
