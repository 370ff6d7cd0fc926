/**
 * Mixup (Zhang et al. 2017, 1710.09412) and CutMix (Yun et al. 2019, 1905.04899) of whole batches, with the formulas of
 * timm's batch mode: one λ a batch, and each image's partner is the one at the mirrored place. Here only real images
 * are mirrored, so that a short batch is mixed too, and never with padding. An odd batch leaves its middle image as it
 * is.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Config } from '../config/schema.js';
import type { Draws } from '../random.js';

/** How a batch is mixed. */
export interface Mix {
  /** Share of an image's own label, 0 to 1; with mixup also of its own pixels. */
  lambda: number;
  /**
   * What comes from the partner with CutMix: top, bottom, left, right in pixels of the model's input, bottom and right
   * excluded. Empty with mixup.
   */
  box: readonly [top: number, bottom: number, left: number, right: number];
}

const NO_BOX = [0, 0, 0, 0] as const;

export const UNMIXED: Mix = { lambda: 1, box: NO_BOX };

/** Probability of CutMix where both are asked for: timm's `switch_prob`. */
const CUTMIX_PROBABILITY = 0.5;

/**
 * Draws, in this order: which of the two (where both are asked for), λ (two draws), and with CutMix the box's row and
 * column.
 * @param imageSize the model's input, in pixels
 */
export function drawMix(
  { mixup, cutmix }: Pick<Config['data'], 'mixup' | 'cutmix'>,
  imageSize: number,
  from: Draws,
): Mix {
  const both = mixup !== null && cutmix !== null;
  const cuts = both ? from.uniform() < CUTMIX_PROBABILITY : cutmix !== null;
  const alpha = cuts ? cutmix : mixup;
  if (alpha === null) return UNMIXED;
  const lambda = symmetricBeta(alpha, from);
  return cuts ? cutMix(lambda, imageSize, from) : { lambda, box: NO_BOX };
}

/** A box of area 1 − λ around a pixel, clipped at the edges; λ becomes what the box leaves. */
function cutMix(lambda: number, imageSize: number, from: Draws): Mix {
  const half = Math.floor(Math.floor(imageSize * Math.sqrt(1 - lambda)) / 2);
  const [row, column] = [from.below(imageSize), from.below(imageSize)];
  const [top, left] = [Math.max(row - half, 0), Math.max(column - half, 0)];
  const [bottom, right] = [Math.min(row + half, imageSize), Math.min(column + half, imageSize)];
  return { lambda: 1 - ((bottom - top) * (right - left)) / imageSize ** 2, box: [top, bottom, left, right] };
}

/**
 * Beta(α, α), any α > 0, from two uniform draws: Student's t with 2α degrees of freedom by the polar method (Bailey
 * 1994, "Polar generation of random variates with the t-distribution"), and t / √(2α + t²) is 2 · Beta(α, α) − 1.
 */
export function symmetricBeta(alpha: number, from: Draws): number {
  // t / √2α; infinite for small α
  const t = Math.sqrt((1 - from.uniform()) ** (-1 / alpha) - 1) * Math.cos(2 * Math.PI * from.uniform());
  return (1 + Math.sign(t) / Math.sqrt(1 + 1 / t ** 2)) / 2;
}

/** [B] the place of each image's partner; whatever has weight 0 is its own. */
export function partnersOf(weights: Float32Array): Int32Array {
  const real = Array.from(weights.keys()).filter((place) => weights[place] !== 0);
  const partners = Int32Array.from(weights.keys());
  for (const [i, place] of real.entries()) partners[place] = real[real.length - 1 - i] as number;
  return partners;
}

/** What a step is fed to mix its batch. */
export interface MixInputs {
  /** Scalar. */
  lambda: tf.Tensor;
  /** [4] int32 */
  box: tf.Tensor;
  /** [B] int32 */
  partners: tf.Tensor;
}

/** The numbers of `MixInputs`. */
export const mixValues = (
  { lambda, box }: Mix,
  weights: Float32Array,
): { lambda: number; box: Int32Array; partners: Int32Array } => ({
  lambda,
  box: Int32Array.from(box),
  partners: partnersOf(weights),
});

/** The second label of each image. */
export interface MixedLabels {
  /** Scalar, share of an image's own label. */
  lambda: tf.Tensor;
  /** [B] int32, the partners'. */
  labels: tf.Tensor;
}

/**
 * Mixes a batch. Traceable: λ and box are values, not part of the graph.
 * @param images [B, S, S, 3]
 * @param labels [B] int32
 */
export function mixed(
  images: tf.Tensor,
  labels: tf.Tensor,
  { lambda, box, partners }: MixInputs,
): { images: tf.Tensor; mix: MixedLabels } {
  const inside = insideBox(box, images.shape[1] as number);
  // the partner's, of each pixel; an empty CutMix box has λ = 1
  const share = tf.where(tf.greater(tf.sum(inside), 0), inside, tf.sub(1, lambda));
  const partner = tf.gather(images, partners as tf.Tensor1D);
  return {
    images: tf.add(tf.mul(images, tf.sub(1, share)), tf.mul(partner, share)),
    mix: { lambda, labels: tf.gather(labels, partners as tf.Tensor1D) },
  };
}

/** [S, S, 1], 1 inside and 0 outside. */
function insideBox(box: tf.Tensor, size: number): tf.Tensor {
  const [top, bottom, left, right] = tf.unstack(box) as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
  const places = tf.range(0, size, 1, 'int32');
  const between = (low: tf.Tensor, high: tf.Tensor): tf.Tensor =>
    tf.cast(tf.logicalAnd(tf.greaterEqual(places, low), tf.less(places, high)), 'float32');
  return tf.mul(tf.reshape(between(top, bottom), [size, 1, 1]), tf.reshape(between(left, right), [1, size, 1]));
}

/**
 * [B] int32: of each image's two labels the one with the larger share, its own at λ = 0.5; what training's top-1 is
 * counted by.
 */
export const mainLabels = (labels: tf.Tensor, mix: MixedLabels | null): tf.Tensor =>
  mix === null ? labels : tf.where(tf.greaterEqual(mix.lambda, 0.5), labels, mix.labels);
