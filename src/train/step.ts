/**
 * The parts of an optimizer step: forward and backward, then the update. Pure: state in, state out; they run eagerly as
 * they stand, and have nothing that could not be traced.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { VariantName } from '../config/names.js';
import type { Params } from '../model/params.js';
import type { ModelShape } from '../model/sizes.js';
import type { BlockState } from '../model/variants/key-driven.js';
import { forward, type Pass } from '../model/vit.js';
import { type AdamWOptions, adamw, type Moments, type StepSizes, stepSizes } from './adamw.js';
import { type AverageOptions, rateAfter } from './average.js';
import { clipFactor, squaredNorm } from './clip.js';
import { type FreezeName, isTrained } from './freeze.js';
import { correctSums, crossEntropySum, distillationSum } from './loss.js';
import { type MixedLabels, mainLabels } from './mix.js';

/** Everything that training changes. */
export type TrainState = {
  params: Params;
  /** Of the parameters that are trained. */
  moments: Moments;
  /** One for each block; empty objects for variants without state. */
  attention: BlockState[];
  /** Moving averages of the parameters that are trained; empty without. */
  ema: Params;
};

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
  /** PGQA's uniform draws, one [K, S, N·E] for each block; null for the other variants. */
  noise: tf.Tensor[] | null;
  /** The teacher's logits [B, C]; null without distillation. */
  teacher: tf.Tensor | null;
}

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
  /** Loss (1 − weight) · cross-entropy + weight · distillation from a teacher's logits; null: the first alone. */
  distill: { weight: number; temperature: number } | null;
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
 * @param factorOf  (real images) → what the summed loss is multiplied by before it is differentiated; scalars
 * @param recompute see `Pass.recompute`; needed where the options ask for it
 */
export function differentiate(
  state: Pick<TrainState, 'params' | 'attention'>,
  inputs: PassInputs,
  options: Omit<StepOptions, 'adamw'>,
  factorOf: (images: tf.Tensor) => tf.Tensor = meanOf,
  recompute: Pass['recompute'] = (x) => x,
): Differentiated {
  const names = Object.keys(state.params).filter((name) => isTrained(name, options.freeze));
  let aside: Omit<Differentiated, 'gradients'> | undefined;
  const lossOf = (...values: tf.Tensor[]): tf.Tensor => {
    const params = { ...state.params, ...Object.fromEntries(names.map((name, i) => [name, values[i] as tf.Tensor])) };
    const { labels, weights, images, mix } = inputs;
    const result = forward(params, images, {
      shape: options.shape,
      variant: options.variant,
      state: state.attention,
      allocation: { by: 'training', clock: { refresh: inputs.refresh, windowSize: options.windowSize } },
      noise: inputs.noise,
      weights,
      recompute: options.recompute ? recompute : null,
    });
    const loss = lossSum(result.logits, inputs, options);
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
  const { value, grads } = tf.valueAndGrads(lossOf)(names.map((name) => state.params[name] as tf.Tensor));
  value.dispose();
  return {
    gradients: Object.fromEntries(names.map((name, i) => [name, grads[i] as tf.Tensor])),
    ...(aside as NonNullable<typeof aside>),
  };
}

function lossSum(
  logits: tf.Tensor,
  { labels, weights, teacher, mix }: PassInputs,
  { labelSmoothing, distill }: Pick<StepOptions, 'labelSmoothing' | 'distill'>,
): tf.Tensor {
  const own = crossEntropySum(logits, labels, weights, labelSmoothing, mix);
  if (distill === null || teacher === null) return own;
  const { weight, temperature } = distill;
  return tf.add(tf.mul(own, 1 - weight), tf.mul(distillationSum(logits, teacher, weights, temperature), weight));
}

/** What changes from update to update, as scalars. */
export interface UpdateSizes extends StepSizes {
  /** With moving averages: weight of the new parameters in them, 1 − decay. */
  emaRate?: tf.Tensor;
}

/** @param step optimizer steps done when this one is, from 1 */
export const updateSizes = (
  lr: number,
  step: number,
  { adamw, ema }: Pick<StepOptions, 'adamw' | 'ema'>,
): UpdateSizes => ({
  ...stepSizes(lr, step, adamw),
  ...(ema === null ? {} : { emaRate: tf.scalar(rateAfter(step, ema)) }),
});

/**
 * Parameters, moments and moving averages after an update with the gradients of the mean loss. Nothing is changed in
 * place.
 */
export function updated(
  state: TrainState,
  gradients: Params,
  sizes: UpdateSizes,
  { adamw: options, clipGrad, ema }: Pick<StepOptions, 'adamw' | 'clipGrad' | 'ema'>,
): Omit<TrainState, 'attention'> {
  const { params, moments } = adamw(state.params, clipped(gradients, clipGrad), state.moments, sizes, options);
  return {
    params: { ...state.params, ...params },
    moments,
    ema: ema === null ? {} : averaged(state.ema, params, sizes.emaRate as tf.Tensor),
  };
}

function clipped(gradients: Params, clipGrad: number | null): Params {
  if (clipGrad === null) return gradients;
  const factor = clipFactor(tf.sqrt(tf.addN(Object.values(gradients).map(squaredNorm))), clipGrad);
  return mapped(gradients, (gradient) => tf.mul(gradient, factor));
}

/** a ← a − rate · (a − parameter). @param rate scalar, 1 − decay */
const averaged = (ema: Params, params: Params, rate: tf.Tensor): Params =>
  mapped(ema, (value, name) => tf.sub(value, tf.mul(tf.sub(value, params[name] as tf.Tensor), rate)));

/** The same names with what `f` makes of each tensor. */
export const mapped = (values: Params, f: (value: tf.Tensor, name: string) => tf.Tensor): Params =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, f(value, name)]));

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
export function keepAll(value: unknown): void {
  if (value instanceof tf.Tensor) tf.keep(value);
  else if (typeof value === 'object' && value !== null) for (const part of Object.values(value)) keepAll(part);
}
