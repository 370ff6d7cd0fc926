/** The teacher of distillation: an MHA model of the student's sizes, whose logits the student learns from; it is never changed. */
import type * as tf from '@tensorflow/tfjs-core';
import type { ModelShape } from '../model/sizes.js';
import type { Pass } from '../model/vit.js';

/** The student's sizes, with as many KV heads as heads. */
export const teacherShape = (shape: ModelShape): ModelShape => ({ ...shape, kvHeads: shape.heads });

/** @param shape the student's. @param weights [B] */
export const teacherPass = (shape: ModelShape, weights: tf.Tensor): Pass => ({
  shape: teacherShape(shape),
  variant: 'mha',
  state: [],
  allocation: { by: 'state' },
  noise: null,
  weights,
});
