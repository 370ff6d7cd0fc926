/** The teacher of distillation: an MHA model of the student's sizes, whose logits the student learns from; it is never changed. */
import type * as tf from '@tensorflow/tfjs-core';
import { convertCheckpoint } from '../checkpoint/convert.js';
import { counted } from '../counted.js';
import { GqaError } from '../errors.js';
import { type Params, paramsFrom } from '../model/params.js';
import { LAYER_NORM_EPS, type ModelShape } from '../model/sizes.js';
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

export interface Teacher {
  params: Params;
  /** As `BuiltModel` has them. */
  notices: string[];
  warnings: string[];
}

/**
 * @param file  safetensors checkpoint
 * @param shape the student's. @param classes the data set's names, in order
 * @throws GqaError `usage` when the file is no MHA model of the student's sizes and classes
 */
export function buildTeacher(file: string, shape: ModelShape, classes: readonly string[]): Teacher {
  const { values, shape: found, fromKvHeads, freshBecause, notices, warnings } = convertCheckpoint(file, teacherShape(shape), 0, classes);
  const eps = (of: ModelShape): number => of.layerNormEps ?? LAYER_NORM_EPS;
  const problem =
    freshBecause ??
    (fromKvHeads !== shape.heads ? `it has ${counted(fromKvHeads, 'KV head')}` : null) ??
    (eps(found) !== eps(shape) ? `its layer norm’s eps is ${eps(found)}, the student’s ${eps(shape)}` : null);
  if (problem !== null) {
    throw new GqaError(
      'usage',
      `train.distill_from: ${file} cannot teach this model: expected an MHA model with the data’s ${shape.numClasses} classes, but ${problem}`,
      {
        hint: 'Uptrain the checkpoint with model.variant: mha first, and distil from its checkpoints/best/model.safetensors.',
      },
    );
  }
  return { params: paramsFrom(teacherShape(shape), (name) => values[name] as Float32Array), notices, warnings };
}
