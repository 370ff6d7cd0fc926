/**
 * PGQA's uniform draws: keyed by what they are for, so that a step, a layer or an evaluation always meets the same
 * noise.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { VariantName } from '../config/names.js';
import { headDim, type ModelShape, tokens } from '../model/sizes.js';
import { noiseShape } from '../model/variants/pgqa.js';
import { variantOf } from '../model/variants.js';
import { drawn, draws, streamKey } from '../random.js';
import { uniform } from '../trace/random.js';

/**
 * One draw [K, S, N·E] in [0, 1) for each block, or null when the variant disturbs nothing.
 * @param stream   what the draws are for
 * @param position the step or batch they are for
 */
export function uniformNoise(
  shape: ModelShape,
  variant: VariantName,
  seed: number,
  stream: string,
  position: number,
): tf.Tensor[] | null {
  if (variantOf(variant).perturb === undefined) return null;
  const size = noiseShape(shape.heads, shape.kvHeads, tokens(shape), headDim(shape));
  return Array.from({ length: shape.depth }, (_, block) => {
    const from = draws(seed, `pgqa/${stream}`, block, position);
    return tf.tensor(drawn(tf.util.sizeFromShape(size), from.uniform), size);
  });
}

/** The same draws for compiled functions, made on the device; `position` is a scalar int32 tensor. */
export function tracedNoise(
  shape: ModelShape,
  variant: VariantName,
  seed: number,
  stream: string,
  position: tf.Tensor,
): tf.Tensor[] | null {
  if (variantOf(variant).perturb === undefined) return null;
  const size = noiseShape(shape.heads, shape.kvHeads, tokens(shape), headDim(shape));
  const key = tf.tensor1d(Int32Array.from(streamKey(seed, `pgqa/${stream}`)), 'int32');
  const int = (value: number): tf.Tensor => tf.scalar(value, 'int32');
  return Array.from({ length: shape.depth }, (_, block) =>
    uniform(size, key, tf.stack([int(0), int(block), position, int(0)])),
  );
}
