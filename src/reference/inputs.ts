/** What cases of every kind are computed on: a model's shape from the index's words, and images. */
import * as tf from '@tensorflow/tfjs-core';
import { readTensor, type Safetensors } from '../checkpoint/safetensors.js';
import { neighbours } from '../model/grouping.js';
import type { ModelShape } from '../model/sizes.js';
import type { Index } from './index.js';

/** With equal groups of neighbours. */
export function shapeOf({ model }: Pick<Index, 'model'>, kvHeads: number): ModelShape {
  const { numHeads, layerNormEps: _, ...rest } = model;
  return { ...rest, heads: numHeads, grouping: neighbours(model.depth, numHeads, kvHeads) };
}

/** `images_nchw` of inputs.safetensors, normalised, as [count, S, S, 3]. */
export function imagesOf(inputs: Safetensors, { model }: Pick<Index, 'model'>, count: number): tf.Tensor {
  const nchw = tf.tensor(readTensor(inputs, 'images_nchw'), [count, 3, model.imageSize, model.imageSize]);
  const images = tf.transpose(nchw, [0, 2, 3, 1]);
  nchw.dispose();
  return images;
}
