/**
 * A training step on the variables of a compiled trainer: the formulas of step.ts, and the update by TensorFlow's fused
 * kernel. Traced, not run.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { BlockState } from '../model/variants/key-driven.js';
import { forward } from '../model/vit.js';
import { after, halfSquaredNorm, timesOrZero } from '../trace/native.js';
import { applyAdam, subtractScaled, type Variable } from '../trace/variable.js';
import { withoutLeftOut } from './adamw.js';
import { clipFactor } from './clip.js';
import { assignAll, feeds, type State, valuesOf } from './device-state.js';
import { tracedNoise } from './noise.js';
import { addedSums, type Differentiated, differentiate, meanOf, type PassInputs, type UpdateSizes } from './step.js';
import { teacherPass } from './teacher.js';
import type { TrainerOptions } from './trainer.js';

/**
 * Forward and backward on the variables; attention state and sums take part in it. The caller disposes what is
 * returned.
 * @param step     scalar int32, optimizer steps before this one
 * @param factorOf (real images) → what makes gradients of the sum of losses those that are wanted
 */
export function trainingPass(
  options: TrainerOptions,
  state: State,
  inputs: Omit<PassInputs, 'noise' | 'teacher'> & { step: tf.Tensor },
  factorOf: (images: tf.Tensor) => tf.Tensor,
): Differentiated {
  const { shape, variant, seed } = options;
  const before = {
    params: { ...state.trained.read(), ...state.frozen.read() },
    attention: state.attention.map(valuesOf),
  };
  const teacher =
    state.teacher === null
      ? null
      : forward(state.teacher.read(), inputs.images, teacherPass(shape, inputs.weights)).logits;
  const noise = tracedNoise(shape, variant, seed, 'train', inputs.step);
  const { lossScale } = state;
  const scaled = (images: tf.Tensor): tf.Tensor =>
    lossScale === null ? factorOf(images) : tf.mul(factorOf(images), scaleOf(lossScale));
  const found = differentiate(before, { ...inputs, noise, teacher }, options, scaled, after);
  state.attention.forEach((block, i) => {
    assignAll(Object.values(block), feeds(block, found.attention[i] as BlockState));
  });
  state.counts?.assign(tf.stack(found.counts));
  state.sums.assign(addedSums(state.sums.read(), found.sums, inputs.step));
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
export function accumulation({ batchSize, gradAccumSteps, precision }: TrainerOptions): Accumulation {
  if (precision !== 'float16') return { ofBatch: () => tf.scalar(1), ofSum: meanOf };
  const full = batchSize * gradAccumSteps;
  return { ofBatch: () => tf.scalar(1 / full), ofSum: (images) => tf.div(full, images) };
}

/** What gradients and Adam's numbers become before the update. */
interface Prepared {
  gradient(piece: tf.Tensor): tf.Tensor;
  /** Whether this step is taken; null: every step is. */
  taking: Taking | null;
}

interface Taking {
  /** Scalar, 1 when it is. */
  good: tf.Tensor;
  /** Scalar, how many were left out before it. */
  leftOut: tf.Tensor;
}

/**
 * Clipping, and with float16 the way back from the scaled loss: a step with a gradient that is not finite is left out
 * and halves the scale; after 2,000 good ones it is doubled. Source: torch.amp.GradScaler's defaults.
 */
function prepared({ clipGrad }: TrainerOptions, { lossScale }: State, pieces: tf.Tensor[]): Prepared {
  if (clipGrad === null && lossScale === null) return { gradient: (piece) => piece, taking: null };
  const norm = tf.sqrt(tf.mul(tf.addN(pieces.map(halfSquaredNorm)), 2));
  if (lossScale === null) {
    const factor = clipFactor(norm, clipGrad as number);
    return { gradient: (piece) => tf.mul(piece, factor), taking: null };
  }
  const [scale, steps, leftOut] = tf.unstack(lossScale.read()) as [tf.Tensor, tf.Tensor, tf.Tensor];
  const good = tf.cast(tf.isFinite(norm), 'float32');
  const clip = clipGrad === null ? tf.scalar(1) : clipFactor(tf.div(norm, scale), clipGrad);
  const factor = tf.where(tf.greater(good, 0), tf.div(clip, scale), 0);
  const grown = tf.greaterEqual(tf.add(steps, 1), GROWTH_STEPS);
  lossScale.assign(
    tf.where(
      tf.greater(good, 0),
      tf.stack([tf.where(grown, tf.mul(scale, 2), scale), tf.where(grown, 0, tf.add(steps, 1)), leftOut]),
      tf.stack([tf.div(scale, 2), tf.scalar(0), tf.add(leftOut, 1)]),
    ),
  );
  return { gradient: (piece) => timesOrZero(piece, factor), taking: { good, leftOut } };
}

export const INITIAL_LOSS_SCALE = 65536;
const GROWTH_STEPS = 2000;

const scaleOf = (lossScale: Variable): tf.Tensor => tf.reshape(tf.slice(lossScale.read(), 0, 1), []);

/**
 * The update, with gradients of the mean loss. AdamW as in adamw.ts: with a step size and an epsilon multiplied by √(1
 * − β₂ᵗ), the fused kernel has eps outside the corrected root, as torch does.
 */
export function update(
  options: TrainerOptions,
  state: State,
  pieces: tf.Tensor[],
  given: UpdateSizes & { done?: tf.Tensor },
): void {
  const { trained, first, second, ema } = state;
  const { adamw } = options;
  const { gradient, taking } = prepared(options, state, pieces);
  const sizes = taking === null ? given : withoutLeftOut(given, given.done as tf.Tensor, taking.leftOut, adamw);
  const unless = (value: tf.Tensor, otherwise: number): tf.Tensor =>
    taking === null ? value : tf.where(tf.greater(taking.good, 0), value, otherwise);
  const scalars = {
    stepSize: unless(tf.mul(sizes.stepSize, sizes.rootCorrection), 0),
    epsilon: tf.mul(sizes.rootCorrection, adamw.eps),
    beta1: unless(tf.scalar(adamw.beta1), 1),
    beta2: unless(tf.scalar(adamw.beta2), 1),
  };
  const keep = unless(sizes.keep, 1);
  for (const [i, piece] of pieces.entries()) {
    const [target, m, v] = [trained.variables[i], first.variables[i], second.variables[i]] as [
      Variable,
      Variable,
      Variable,
    ];
    if (adamw.weightDecay !== 0) target.assign(tf.mul(target.read(), keep));
    applyAdam(target, { first: m, second: v, ...scalars, gradient: gradient(piece) });
    const average = ema?.variables[i];
    if (average !== undefined)
      subtractScaled(average, given.emaRate as tf.Tensor, tf.sub(average.read(), target.read()));
  }
}
