/**
 * The uniform draws of a variant that perturbs: keyed by what they are for, so that a step, a layer or an evaluation
 * always meets the same noise.
 */
import * as tf from '@tensorflow/tfjs-core';
import { layerShapes, type ModelShape } from '../model/sizes.js';
import { type VariantName, variantOf } from '../model/variants.js';
import { streamKey } from '../random.js';
import { uniform } from '../trace/random.js';

/**
 * One draw in [0, 1) for each block, or null when the variant perturbs nothing.
 * @param stream   what the draws are for
 * @param position scalar int32, the step or batch they are for
 */
export function uniformNoise(
  shape: ModelShape,
  variant: VariantName,
  seed: number,
  stream: string,
  position: tf.Tensor,
): tf.Tensor[] | null {
  const { perturb } = variantOf(variant);
  if (perturb === undefined) return null;
  const key = tf.tensor1d(Int32Array.from(streamKey(seed, `pgqa/${stream}`)), 'int32');
  const int = (value: number): tf.Tensor => tf.scalar(value, 'int32');
  return layerShapes(shape).map((layer) =>
    uniform(perturb.drawShape(layer), key, tf.stack([int(0), int(layer.index), position, int(0)])),
  );
}
