/**
 * The second half of an optimizer step: gradients of the mean loss → clipped, with float16 unscaled → AdamW → moving
 * averages. Everything is read from and written to variables.
 */
import * as tf from '@tensorflow/tfjs-core';
import { halfSquaredNorm } from '../trace/tensorflow-ops.js';
import type { Variable } from '../trace/variable.js';
import { adamw, type StepSizes, withoutLeftOut } from './adamw.js';
import { clipFactor } from './clip.js';
import type { StepOptions } from './step.js';
import type { TrainingVariables } from './variables.js';

/** What changes from update to update, as scalars. */
export interface UpdateSizes extends StepSizes {
  /** With moving averages: weight of the new parameters in them, 1 − decay. */
  emaRate?: tf.Tensor;
  /** With float16: optimizer steps when this one is done, those left out included. */
  done?: tf.Tensor;
}

/** @param pieces a gradient for each of the trained variables */
export function update(
  options: Pick<StepOptions, 'adamw' | 'clipGrad'>,
  variables: Pick<TrainingVariables, 'trained' | 'first' | 'second' | 'ema' | 'lossScale'>,
  pieces: tf.Tensor[],
  given: UpdateSizes,
): void {
  const { trained, first, second, ema } = variables;
  const { factor, taking } = prepared(options, variables, pieces);
  const sizes = taking === null ? given : withoutLeftOut(given, given.done as tf.Tensor, taking.leftOut, options.adamw);
  const move = adamw(sizes, options.adamw, {
    gradient: factor,
    taken: taking?.good ?? null,
    average: given.emaRate,
  });
  for (const [i, piece] of pieces.entries()) {
    const [target, m, v] = [trained, first, second].map((each) => each.variables[i]) as [Variable, Variable, Variable];
    move({ target, first: m, second: v, average: ema?.variables[i] }, piece);
  }
}

/** What gradients and Adam's numbers become before the update. */
interface Prepared {
  /** Scalar, what gradients are multiplied by, 0 for a step that is left out; null: they are taken as they come. */
  factor: tf.Tensor | null;
  /** Whether this step is taken; null: every step is. */
  taking: Taking | null;
}

interface Taking {
  /** Scalar, 1 when it is. */
  good: tf.Tensor;
  /** Scalar, how many were left out before it. */
  leftOut: tf.Tensor;
}

/** Loss scale, steps since it changed, steps left out, and how many of these were reported. */
export const INITIAL_LOSS_SCALE = [65536, 0, 0, 0];
const GROWTH_STEPS = 2000;

/** Scalar, what the loss is multiplied by. */
export const scaleOf = (lossScale: Variable): tf.Tensor => tf.reshape(tf.slice(lossScale.read(), 0, 1), []);

/**
 * Clipping, and with float16 the way back from the scaled loss: a step with a gradient that is not finite is left out
 * and halves the scale; after 2,000 good ones it is doubled. Source: torch.amp.GradScaler's defaults.
 */
function prepared(
  { clipGrad }: Pick<StepOptions, 'clipGrad'>,
  { lossScale }: Pick<TrainingVariables, 'lossScale'>,
  pieces: tf.Tensor[],
): Prepared {
  if (clipGrad === null && lossScale === null) return { factor: null, taking: null };
  const norm = tf.sqrt(tf.mul(tf.addN(pieces.map(halfSquaredNorm)), 2));
  if (lossScale === null) {
    return { factor: clipFactor(norm, clipGrad as number), taking: null };
  }
  const [scale, steps, leftOut, reported] = tf.unstack(lossScale.read()) as [
    tf.Tensor,
    tf.Tensor,
    tf.Tensor,
    tf.Tensor,
  ];
  const good = tf.cast(tf.isFinite(norm), 'float32');
  const clip = clipGrad === null ? tf.scalar(1) : clipFactor(tf.div(norm, scale), clipGrad);
  const factor = tf.where(tf.greater(good, 0), tf.div(clip, scale), 0);
  const grown = tf.greaterEqual(tf.add(steps, 1), GROWTH_STEPS);
  lossScale.assign(
    tf.where(
      tf.greater(good, 0),
      tf.stack([tf.where(grown, tf.mul(scale, 2), scale), tf.where(grown, 0, tf.add(steps, 1)), leftOut, reported]),
      tf.stack([tf.div(scale, 2), tf.scalar(0), tf.add(leftOut, 1), reported]),
    ),
  );
  return { factor, taking: { good, leftOut } };
}
