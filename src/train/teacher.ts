/**
 * The teacher of distillation: an MHA model of the student's sizes, whose logits the student learns from; it is never
 * changed.
 */
import type * as tf from '@tensorflow/tfjs-core';
import { readCheckpoint } from '../checkpoint/read.js';
import { GqaError } from '../errors.js';
import { kvHeadsInWords, neighbours, sharesNothing } from '../model/grouping.js';
import type { Values } from '../model/params.js';
import type { PixelScale } from '../model/pixels.js';
import { LAYER_NORM_EPS, type ModelShape } from '../model/sizes.js';
import type { Pass } from '../model/vit.js';

/** The student's sizes, with as many KV heads as heads. */
export const teacherShape = ({ valueGrouping: _, ...shape }: ModelShape): ModelShape => ({
  ...shape,
  grouping: neighbours(shape.depth, shape.heads, shape.heads),
});

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
  values: Values;
  /** As `BuiltModel` has them. */
  notices: string[];
  warnings: string[];
}

/**
 * @param file  safetensors checkpoint
 * @param shape the student's. @param classes the data set's names, in order
 * @param scales what the teacher's own images were normalised with, and what the student's are: the difference goes
 *   into the teacher's patch projection
 * @throws GqaError `usage` when the file is no MHA model of the student's sizes and classes
 */
export function buildTeacher(
  file: string,
  shape: ModelShape,
  classes: readonly string[],
  scales: { own: PixelScale; students: PixelScale },
): Teacher {
  const {
    values,
    shape: found,
    freshBecause,
    notices,
    warnings,
  } = readCheckpoint(file, teacherShape(shape), 0, classes);
  const eps = (of: ModelShape): number => of.layerNormEps ?? LAYER_NORM_EPS;
  const problem =
    freshBecause ??
    (sharesNothing(found) ? null : `it has ${kvHeadsInWords(found.grouping)}`) ??
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
  return { values: withScaleFolded(values, scales), notices, warnings };
}

/**
 * Patches neither overlap nor have padding, so that W · (pixel − m) / s + b is one linear map of a pixel, whatever m
 * and s are: with the student's s' and m', W' = W · s' / s and b' = b + Σ W · (m' − m) / s; in float64, rounded once.
 * @param values weight [D, 3, P, P] and bias [D] of `patch_embed.proj`, beside others
 */
export function withScaleFolded(
  values: Record<string, Float32Array>,
  { own, students }: { own: PixelScale; students: PixelScale },
): Record<string, Float32Array> {
  if (own.mean.every((mean, i) => mean === students.mean[i] && own.std[i] === students.std[i])) return values;
  const [weight, bias] = [
    values['patch_embed.proj.weight'] as Float32Array,
    values['patch_embed.proj.bias'] as Float32Array,
  ];
  const [rows, area] = [bias.length, weight.length / bias.length / 3];
  const scaled = new Float32Array(weight.length);
  const shifted = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    let shift = bias[row] as number;
    for (let at = row * area * 3; at < (row + 1) * area * 3; at++) {
      const channel = Math.floor(at / area) % 3;
      const std = own.std[channel] as number;
      scaled[at] = ((weight[at] as number) * (students.std[channel] as number)) / std;
      shift += ((weight[at] as number) * ((students.mean[channel] as number) - (own.mean[channel] as number))) / std;
    }
    shifted[row] = shift;
  }
  return { ...values, 'patch_embed.proj.weight': scaled, 'patch_embed.proj.bias': shifted };
}
