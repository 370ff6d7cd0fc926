/** The teacher of distillation: an MHA model of the student's sizes, whose logits the student learns from; it is never changed. */
import type * as tf from '@tensorflow/tfjs-core';
import { convertCheckpoint } from '../checkpoint/convert.js';
import { GqaError } from '../errors.js';
import { type Params, paramsFrom } from '../model/params.js';
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

/**
 * @param file  safetensors checkpoint
 * @param shape the student's
 * @throws GqaError `usage` when the file is no MHA model of the student's sizes and classes
 */
export function buildTeacher(file: string, shape: ModelShape): Params {
  const { values, fromKvHeads, fresh } = convertCheckpoint(file, teacherShape(shape), 0);
  if (fresh.length > 0 || fromKvHeads !== shape.heads) {
    const found = fresh.length > 0 ? 'another number of classes, or none' : `${fromKvHeads} KV heads`;
    throw new GqaError('usage', `train.distill_from: ${file} has ${found}; expected an MHA model with ${shape.numClasses} classes`, {
      hint: 'Uptrain the checkpoint with model.variant: mha first, and distil from its checkpoints/best/model.safetensors.',
    });
  }
  return paramsFrom(teacherShape(shape), (name) => values[name] as Float32Array);
}
