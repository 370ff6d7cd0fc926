/** Clipping of gradients by their common norm, as torch.nn.utils.clip_grad_norm_. Pure; traceable. */
import * as tf from '@tensorflow/tfjs-core';

/** What torch adds to the norm before it divides. */
const CLIP_EPS = 1e-6;

/**
 * What gradients are multiplied by: min(1, largest / (norm + 1e-6)).
 * @param norm scalar, the Euclidean norm of all gradients together
 */
export const clipFactor = (norm: tf.Tensor, largest: number): tf.Tensor =>
  tf.minimum(1, tf.div(largest, tf.add(norm, CLIP_EPS)));
