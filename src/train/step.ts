/**
 * The parts of an optimizer step: forward and backward, then the update. Pure: state in, state out; they run eagerly as
 * they stand, and have nothing that could not be traced.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Params } from '../model/params.js';
import type { ModelShape } from '../model/sizes.js';
import type { BlockState } from '../model/variants/key-driven.js';
import type { VariantName } from '../model/variants.js';
import { type ForwardResult, forward } from '../model/vit.js';
import { after } from '../trace/tensorflow-ops.js';
import type { AdamWOptions } from './adamw.js';
import type { AverageOptions } from './average.js';
import type { FreezeName } from './freeze.js';
import { layersInUse } from './fused-layers.js';
import { correctSums, crossEntropySum, distillationSum, type FeatureLoss, featureSum } from './loss.js';
import { type MixedLabels, mainLabels } from './mix.js';

/** What a pass of training is fed; all tensors, so that nothing is frozen into a traced graph. */
export interface PassInputs {
  /** [B, imageSize, imageSize, 3] float32, normalised, and mixed where they are. */
  images: tf.Tensor;
  /** [B] int32 */
  labels: tf.Tensor;
  /** [B], 1 for a real image, 0 for padding. */
  weights: tf.Tensor;
  /** The labels of the images that were mixed in; null without mixing. */
  mix: MixedLabels | null;
  /** Scalar, 1 when this step begins a DGQA window. */
  refresh: tf.Tensor;
  /** The uniform draws of a variant that perturbs, one for each block; null for the others. */
  noise: tf.Tensor[] | null;
  /** The teacher's logits [B, C] and, where they are learned, features [B·N, D]; null without distillation. */
  teacher: Pick<ForwardResult, 'logits' | 'features'> | null;
}

export interface Distillation {
  weight: number;
  temperature: number;
  /** What is learned from; `both`: half of the weight each. */
  from: 'logits' | 'features' | 'both';
  features: FeatureLoss;
}

export const learnsFeatures = (distill: Distillation | null): boolean => distill !== null && distill.from !== 'logits';

/** What a step is built from; fixed for a run. */
export interface StepOptions {
  shape: ModelShape;
  variant: VariantName;
  /** Optimizer steps between two allocations of DGQA. */
  windowSize: number;
  labelSmoothing: number;
  adamw: AdamWOptions;
  /** Largest Euclidean norm of all gradients together; null: as they come. */
  clipGrad: number | null;
  /** Moving averages of the parameters, which are then what evaluation reads; null: none are kept. */
  ema: AverageOptions | null;
  freeze: FreezeName;
  /** Loss (1 − weight) · cross-entropy + weight · distillation from a teacher; null: the first alone. */
  distill: Distillation | null;
  /** Whether blocks are computed again in the backward pass instead of being kept; see `Pass.recompute`. */
  recompute: boolean;
}

/** The options that a user has to ask for, left out. */
export const plain = {
  clipGrad: null,
  ema: null,
  freeze: 'none',
  distill: null,
  recompute: false,
} as const satisfies Partial<StepOptions>;

/** Sums over the batch's real images, as scalars on the device, before the update. */
export type StepSums = {
  loss: tf.Tensor;
  top1: tf.Tensor;
  images: tf.Tensor;
};

export type Differentiated = {
  /** Of the parameters that are trained. */
  gradients: Params;
  sums: StepSums;
  /** [B, C] */
  logits: tf.Tensor;
  /** The blocks' states after the pass. */
  attention: BlockState[];
  /** Key-driven variants: query heads for each key head [K] of every block. */
  counts: tf.Tensor[];
};

/** The gradients' factor that makes them those of the mean over real images. */
export const meanOf = (images: tf.Tensor): tf.Tensor => tf.reciprocal(images);

/**
 * Forward and backward. The caller owns every tensor of the result, the state's included.
 * @param trained   parameters with respect to which the loss is differentiated; `frozen`: the others
 * @param attention the blocks' states before the pass
 * @param factorOf  (real images) → what the summed loss is multiplied by before it is differentiated; scalars
 */
export function differentiate(
  { trained, frozen, attention }: { trained: Params; frozen: Params; attention: BlockState[] },
  inputs: PassInputs,
  options: Omit<StepOptions, 'adamw'>,
  factorOf: (images: tf.Tensor) => tf.Tensor = meanOf,
): Differentiated {
  const names = Object.keys(trained);
  let aside: Omit<Differentiated, 'gradients'> | undefined;
  const lossOf = (...values: tf.Tensor[]): tf.Tensor => {
    const params = { ...frozen, ...Object.fromEntries(names.map((name, i) => [name, values[i] as tf.Tensor])) };
    const { labels, weights, images, mix } = inputs;
    const result = forward(params, images, {
      shape: options.shape,
      variant: options.variant,
      state: attention,
      allocation: { by: 'training', clock: { refresh: inputs.refresh, windowSize: options.windowSize } },
      noise: inputs.noise,
      weights,
      recompute: options.recompute ? after : null,
      layers: layersInUse(),
      features: learnsFeatures(options.distill),
    });
    const loss = lossSum(result, inputs, options);
    const count = tf.sum(weights);
    aside = {
      sums: {
        loss: loss.clone(),
        top1: correctSums(result.logits, mainLabels(labels, mix), weights).top1,
        images: count.clone(),
      },
      logits: result.logits,
      attention: result.state,
      counts: result.counts,
    };
    keepAll(aside);
    tf.dispose(result.keyNorms);
    return tf.mul(loss, factorOf(count));
  };
  const { value, grads } = tf.valueAndGrads(lossOf)(Object.values(trained));
  value.dispose();
  return {
    gradients: Object.fromEntries(names.map((name, i) => [name, grads[i] as tf.Tensor])),
    ...(aside as NonNullable<typeof aside>),
  };
}

function lossSum(
  { logits, features }: Pick<ForwardResult, 'logits' | 'features'>,
  { labels, weights, teacher, mix }: PassInputs,
  { labelSmoothing, distill }: Pick<StepOptions, 'labelSmoothing' | 'distill'>,
): tf.Tensor {
  const own = crossEntropySum(logits, labels, weights, labelSmoothing, mix);
  if (distill === null || teacher === null) return own;
  const { weight, temperature, from, features: by } = distill;
  const ofLogits = (): tf.Tensor => distillationSum(logits, teacher.logits, weights, temperature);
  const ofFeatures = (): tf.Tensor => featureSum(features as tf.Tensor, teacher.features as tf.Tensor, weights, by);
  const learned = {
    logits: ofLogits,
    features: ofFeatures,
    both: () => tf.mul(tf.add(ofLogits(), ofFeatures()), 0.5),
  }[from]();
  return tf.add(tf.mul(own, 1 - weight), tf.mul(learned, weight));
}

/**
 * Running sums over steps.
 * @param running [4]: loss, top-1, images, and the first step (from 1) whose loss was not finite, 0 for none
 * @param step    scalar int32, optimizer steps before this one
 * @returns       [4]
 */
export function addedSums(running: tf.Tensor, sums: StepSums, step: tf.Tensor): tf.Tensor {
  const [loss, top1, images, badStep] = tf.unstack(running) as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
  const isFirstBad = tf.logicalAnd(tf.logicalNot(tf.isFinite(sums.loss)), tf.equal(badStep, 0));
  const bad = tf.where(isFirstBad, tf.add(tf.cast(step, 'float32'), 1), badStep);
  return tf.stack([tf.add(loss, sums.loss), tf.add(top1, sums.top1), tf.add(images, sums.images), bad]);
}

/**
 * Takes every tensor in `value` out of the care of tidies and of the gradient tape, which disposes what a
 * differentiated function does not return.
 */
function keepAll(value: unknown): void {
  if (value instanceof tf.Tensor) tf.keep(value);
  else if (typeof value === 'object' && value !== null) for (const part of Object.values(value)) keepAll(part);
}
