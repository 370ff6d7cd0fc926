/** The first half of an optimizer step on the variables of a trainer: a batch, forward and backward, sums. */
import * as tf from '@tensorflow/tfjs-core';
import type { BlockState } from '../model/variants/key-driven.js';
import { forward } from '../model/vit.js';
import { layersInUse } from './fused-layers.js';
import { uniformNoise } from './noise.js';
import {
  addedSums,
  type Differentiated,
  differentiate,
  learnsFeatures,
  meanOf,
  type PassInputs,
  type StepOptions,
} from './step.js';
import { teacherPass } from './teacher.js';
import { scaleOf } from './update.js';
import { assignNamed, type TrainingVariables, valuesOf } from './variables.js';

/**
 * Forward and backward; attention state and sums take part in it. The caller disposes what is returned.
 * @param step     scalar int32, optimizer steps before this one
 * @param factorOf (real images) → what makes gradients of the sum of losses those that are wanted
 */
export function trainingPass(
  options: StepOptions & { seed: number },
  variables: TrainingVariables,
  inputs: Omit<PassInputs, 'noise' | 'teacher'> & { step: tf.Tensor },
  factorOf: (images: tf.Tensor) => tf.Tensor,
): Differentiated {
  const { shape, variant, seed } = options;
  const before = {
    trained: variables.trained.read(),
    frozen: variables.frozen.read(),
    attention: variables.attention.map(valuesOf),
  };
  const teacher =
    variables.teacher === null
      ? null
      : forward(variables.teacher.read(), inputs.images, {
          ...teacherPass(shape, inputs.weights),
          layers: layersInUse(),
          features: learnsFeatures(options.distill),
        });
  const noise = uniformNoise(shape, variant, seed, 'train', inputs.step);
  const { lossScale } = variables;
  const scaled = (images: tf.Tensor): tf.Tensor =>
    lossScale === null ? factorOf(images) : tf.mul(factorOf(images), scaleOf(lossScale));
  const found = differentiate(before, { ...inputs, noise, teacher }, options, scaled);
  variables.attention.forEach((block, i) => {
    assignNamed(block, found.attention[i] as BlockState);
  });
  variables.counts.forEach((each, i) => {
    each.assign(found.counts[i] as tf.Tensor);
  });
  variables.sums.assign(addedSums(variables.sums.read(), found.sums, inputs.step));
  return found;
}

/** Batches of an optimizer step whose gradients are added up. */
interface Accumulation {
  /** (real images of a batch) → what makes its gradients those that are added. */
  ofBatch(images: tf.Tensor): tf.Tensor;
  /** (real images of the step) → what makes their sum that of the mean loss. */
  ofSum(images: tf.Tensor): tf.Tensor;
}

/**
 * Sums over images are added, and divided once. With float16 a full step's mean is added instead, as torch's `loss /
 * accum_steps` does: a gradient of the sum, multiplied by the loss scale, does not fit into that type.
 */
export function accumulation(options: {
  batchSize: number;
  gradAccumSteps: number;
  precision: 'float32' | 'bfloat16' | 'float16';
}): Accumulation {
  if (options.precision !== 'float16') return { ofBatch: () => tf.scalar(1), ofSum: meanOf };
  const full = options.batchSize * options.gradAccumSteps;
  return { ofBatch: () => tf.scalar(1 / full), ofSum: (images) => tf.div(full, images) };
}
