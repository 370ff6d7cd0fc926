/**
 * AdamW as in torch.optim.AdamW: decay apart from the gradient, bias corrections, `eps` outside the corrected root.
 * Pure; traceable.
 */
import * as tf from '@tensorflow/tfjs-core';
import { isFused } from '../trace/fused.js';
import { applyAdam, applyFusedAdamW } from '../trace/graph-memory.js';
import { isRecording } from '../trace/recorder.js';
import { timesOrZero } from '../trace/tensorflow-ops.js';
import { subtractScaled, type Variable } from '../trace/variable.js';

export interface AdamWOptions {
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
}

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

/** What a step moves: a parameter, its moments, and its moving average where there is one. */
export interface Moved {
  target: Variable;
  first: Variable;
  second: Variable;
  average: Variable | undefined;
}

/** What a step is given besides: scalars. */
export interface StepFactors {
  /** Gradients are multiplied by it, and are 0 where it is 0 whatever they are; null: they are taken as they come. */
  gradient: tf.Tensor | null;
  /** 0 for a step that leaves everything but the averages as it is; null: it is taken. */
  taken: tf.Tensor | null;
  /** Weight of the new parameters in the averages, 1 − decay; undefined without averages. */
  average: tf.Tensor | undefined;
}

/** One update with the gradient of the mean loss. */
type Update = (moved: Moved, gradient: tf.Tensor) => void;

/**
 * Inside a graph one kernel does it in place: the fused operation, or TensorFlow's, which leaves decay, factor and
 * average to others; where operations run one by one, the formula as it stands.
 */
export function adamw(sizes: StepSizes, options: AdamWOptions, factors: StepFactors): Update {
  if (isFused()) return inOnePass(sizes, options, factors);
  const move = (isRecording() ? byTensorFlow : plain)(sizes, options, factors.taken);
  return (moved, gradient) => {
    // without a step that can be left out, the factor is never 0
    const times = factors.taken === null ? tf.mul : timesOrZero;
    move(moved, factors.gradient === null ? gradient : times(gradient, factors.gradient));
    const { target, average } = moved;
    if (average !== undefined)
      subtractScaled(average, factors.average as tf.Tensor, tf.sub(average.read(), target.read()));
  };
}

function plain({ keep, stepSize, rootCorrection }: StepSizes, options: AdamWOptions, taken: tf.Tensor | null): Update {
  const { beta1, beta2, eps } = options;
  return ({ target, first, second }, gradient) => {
    const m = tf.add(tf.mul(first.read(), beta1), tf.mul(gradient, 1 - beta1));
    const v = tf.add(tf.mul(second.read(), beta2), tf.mul(tf.square(gradient), 1 - beta2));
    const denominator = tf.add(tf.div(tf.sqrt(v), rootCorrection), eps);
    const next = tf.sub(tf.mul(target.read(), keep), tf.div(tf.mul(m, stepSize), denominator));
    const put = (each: Variable, value: tf.Tensor): void =>
      each.assign(taken === null ? value : tf.where(tf.greater(taken, 0), value, each.read()));
    put(first, m);
    put(second, v);
    put(target, next);
  };
}

/**
 * What the kernels take: with a step size and an epsilon multiplied by √(1 − β₂ᵗ) they have eps outside the corrected
 * root, as torch; numbers that change nothing where the step is not taken.
 */
function kernelScalars(sizes: StepSizes, { beta1, beta2, eps }: AdamWOptions, taken: tf.Tensor | null) {
  const unless = (value: tf.Tensor, otherwise: number): tf.Tensor =>
    taken === null ? value : tf.where(tf.greater(taken, 0), value, otherwise);
  return {
    keep: unless(sizes.keep, 1),
    stepSize: unless(tf.mul(sizes.stepSize, sizes.rootCorrection), 0),
    beta1: unless(tf.scalar(beta1), 1),
    beta2: unless(tf.scalar(beta2), 1),
    epsilon: tf.mul(sizes.rootCorrection, eps),
  };
}

function inOnePass(sizes: StepSizes, options: AdamWOptions, factors: StepFactors): Update {
  const { keep, stepSize, beta1, beta2, epsilon } = kernelScalars(sizes, options, factors.taken);
  const one = tf.scalar(1);
  const given = [keep, stepSize, beta1, beta2, epsilon, factors.gradient ?? one, factors.average ?? one];
  const step = tf.stack(given.map((each) => tf.reshape(each, [])));
  return ({ target, first, second, average }, gradient) =>
    applyFusedAdamW([target, first, second, ...(average === undefined ? [] : [average])], gradient, step);
}

function byTensorFlow(sizes: StepSizes, options: AdamWOptions, taken: tf.Tensor | null): Update {
  const { keep, ...scalars } = kernelScalars(sizes, options, taken);
  const { weightDecay } = options;
  return ({ target, first, second }, gradient) => {
    if (weightDecay !== 0) target.assign(tf.mul(target.read(), keep));
    applyAdam(target, { first, second, ...scalars, gradient });
  };
}
