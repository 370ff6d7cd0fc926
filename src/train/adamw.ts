/**
 * AdamW as in torch.optim.AdamW: decay apart from the gradient, bias corrections, `eps` outside the corrected root.
 * Pure; traceable.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Params } from '../model/params.js';

export interface AdamWOptions {
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
}

/** First and second moments, one of each for every parameter. */
export type Moments = {
  first: Params;
  second: Params;
};

/**
 * What changes from step to step, as scalars: computed on the host in float64, as torch does, and passed as tensors so
 * that a compiled step takes them as inputs.
 */
export interface StepSizes {
  /** 1 − lr · weight_decay */
  keep: tf.Tensor;
  /** lr / (1 − β₁ᵗ) */
  stepSize: tf.Tensor;
  /** √(1 − β₂ᵗ) */
  rootCorrection: tf.Tensor;
}

/** The numbers of a step. @param step optimizer steps done when this one is, from 1 */
export function stepSizeValues(
  lr: number,
  step: number,
  { beta1, beta2, weightDecay }: AdamWOptions,
): Record<keyof StepSizes, number> {
  return {
    keep: 1 - lr * weightDecay,
    stepSize: lr / (1 - beta1 ** step),
    rootCorrection: Math.sqrt(1 - beta2 ** step),
  };
}

/** The same as tensors. */
export function stepSizes(lr: number, step: number, options: AdamWOptions): StepSizes {
  const { keep, stepSize, rootCorrection } = stepSizeValues(lr, step, options);
  return { keep: tf.scalar(keep), stepSize: tf.scalar(stepSize), rootCorrection: tf.scalar(rootCorrection) };
}

/**
 * The sizes of a step before which some were left out: the moments have not seen those, so that the bias corrections
 * must not count them.
 * @param done, leftOut scalars: optimizer steps when this one is done, those left out included; and how many these are
 */
export function withoutLeftOut(
  sizes: StepSizes,
  done: tf.Tensor,
  leftOut: tf.Tensor,
  { beta1, beta2 }: AdamWOptions,
): StepSizes {
  // 1 − βᵗ
  const correction = (beta: number, steps: tf.Tensor): tf.Tensor => tf.neg(tf.expm1(tf.mul(steps, Math.log(beta))));
  const taken = tf.sub(done, leftOut);
  return {
    keep: sizes.keep,
    stepSize: tf.mul(sizes.stepSize, tf.div(correction(beta1, done), correction(beta1, taken))),
    rootCorrection: tf.sqrt(correction(beta2, taken)),
  };
}

export function initialMoments(params: Params): Moments {
  const zeros = (): Params =>
    Object.fromEntries(Object.entries(params).map(([name, value]) => [name, tf.zerosLike(value)]));
  return { first: zeros(), second: zeros() };
}

/**
 * One update of every parameter that has a gradient; the others are not returned. Nothing is changed in place: the
 * caller owns old and new tensors.
 */
export function adamw(
  params: Params,
  gradients: Params,
  moments: Moments,
  sizes: StepSizes,
  options: AdamWOptions,
): { params: Params; moments: Moments } {
  const { beta1, beta2, eps } = options;
  const next = { params: {} as Params, moments: { first: {} as Params, second: {} as Params } };
  for (const [name, gradient] of Object.entries(gradients)) {
    const value = params[name] as tf.Tensor;
    const first = tf.add(tf.mul(moments.first[name] as tf.Tensor, beta1), tf.mul(gradient, 1 - beta1));
    const second = tf.add(tf.mul(moments.second[name] as tf.Tensor, beta2), tf.mul(tf.square(gradient), 1 - beta2));
    const denominator = tf.add(tf.div(tf.sqrt(second), sizes.rootCorrection), eps);
    next.params[name] = tf.sub(tf.mul(value, sizes.keep), tf.div(tf.mul(first, sizes.stepSize), denominator));
    next.moments.first[name] = first;
    next.moments.second[name] = second;
  }
  return next;
}
