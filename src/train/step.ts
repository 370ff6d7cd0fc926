/** One optimizer step: forward, backward, update. Pure: state in, state out; runs eagerly as it stands, and has nothing that could not be traced. */
import * as tf from '@tensorflow/tfjs-core';
import type { VariantName } from '../config/names.js';
import type { Params } from '../model/params.js';
import type { ModelShape } from '../model/sizes.js';
import type { BlockState } from '../model/variants/key-driven.js';
import { forward } from '../model/vit.js';
import { type AdamWOptions, adamw, type Moments, type StepSizes } from './adamw.js';
import { correctSums, crossEntropySum } from './loss.js';

/** Everything that training changes. */
export type TrainState = {
  params: Params;
  moments: Moments;
  /** One for each block; empty objects for variants without state. */
  attention: BlockState[];
};

/** What a step is fed; all tensors, so that nothing is frozen into a traced graph. */
export interface StepInputs {
  /** [B, imageSize, imageSize, 3] float32, normalised. */
  images: tf.Tensor;
  /** [B] int32 */
  labels: tf.Tensor;
  /** [B], 1 for a real picture, 0 for padding. */
  weights: tf.Tensor;
  sizes: StepSizes;
  /** Scalar, 1 when this step begins a DGQA window. */
  refresh: tf.Tensor;
  /** PGQA's uniform draws, one [K, S, N·E] for each block; null for the other variants. */
  noise: tf.Tensor[] | null;
}

/** What a step is built from; fixed for a run. */
export interface StepOptions {
  shape: ModelShape;
  variant: VariantName;
  windowSize: number;
  labelSmoothing: number;
  adamw: AdamWOptions;
}

/** Sums over the batch's real pictures, as scalars on the device, before the update. */
export type StepSums = {
  loss: tf.Tensor;
  top1: tf.Tensor;
  images: tf.Tensor;
};

export interface Differentiated {
  /** Mean loss over the real pictures; a scalar. */
  loss: tf.Tensor;
  gradients: Params;
  sums: StepSums;
  /** [B, C] */
  logits: tf.Tensor;
  /** The blocks' states after the pass. */
  attention: BlockState[];
  /** Key-driven variants: query heads for each key head [K] of every block. */
  counts: tf.Tensor[];
}

/** Forward and backward. The caller owns every tensor of the result, the state's included. */
export function differentiate(
  state: Pick<TrainState, 'params' | 'attention'>,
  inputs: Omit<StepInputs, 'sizes'>,
  options: Omit<StepOptions, 'adamw'>,
): Differentiated {
  const names = Object.keys(state.params);
  let aside: Omit<Differentiated, 'loss' | 'gradients'> | undefined;
  const lossOf = (...values: tf.Tensor[]): tf.Tensor => {
    const params = Object.fromEntries(names.map((name, i) => [name, values[i] as tf.Tensor]));
    const { labels, weights, images } = inputs;
    const result = forward(params, images, {
      shape: options.shape,
      variant: options.variant,
      state: state.attention,
      allocation: { by: 'training', clock: { refresh: inputs.refresh, windowSize: options.windowSize } },
      noise: inputs.noise,
      weights,
    });
    const loss = crossEntropySum(result.logits, labels, weights, options.labelSmoothing);
    const count = tf.sum(weights);
    aside = {
      sums: { loss: loss.clone(), top1: correctSums(result.logits, labels, weights).top1, images: count.clone() },
      logits: result.logits,
      attention: result.state,
      counts: result.counts.map((counts) => counts.clone()),
    };
    keepAll(aside);
    return tf.div(loss, count);
  };
  const { value, grads } = tf.valueAndGrads(lossOf)(names.map((name) => state.params[name] as tf.Tensor));
  return {
    loss: value,
    gradients: Object.fromEntries(names.map((name, i) => [name, grads[i] as tf.Tensor])),
    ...(aside as NonNullable<typeof aside>),
  };
}

/** One step; the caller owns the old state and everything returned. */
export function trainStep(
  state: TrainState,
  inputs: StepInputs,
  options: StepOptions,
): { state: TrainState; sums: StepSums; counts: tf.Tensor[] } {
  return tf.tidy(() => {
    const { gradients, sums, attention, counts, logits } = differentiate(state, inputs, options);
    logits.dispose();
    const { params, moments } = adamw(state.params, gradients, state.moments, inputs.sizes, options.adamw);
    return { state: { params, moments, attention }, sums, counts };
  });
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

/** Takes every tensor in `value` out of the care of tidies and of the gradient tape, which disposes what a differentiated function does not return. */
export function keepAll(value: unknown): void {
  if (value instanceof tf.Tensor) tf.keep(value);
  else if (typeof value === 'object' && value !== null) for (const part of Object.values(value)) keepAll(part);
}
