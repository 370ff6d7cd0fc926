/** Fills a key-driven variant's state before any training: mean key norms over some training pictures, with the test transform and without an update. */
import * as tf from '@tensorflow/tfjs-core';
import type { Batch } from '../data/dataset.js';
import type { BlockState } from '../model/variants/key-driven.js';
import { variantOf } from '../model/variants.js';
import { forward } from '../model/vit.js';
import { deviceBatch } from './device-batch.js';
import type { Model } from './model.js';

/**
 * The state that frozen evaluation reads. While the norms are gathered, query heads are split as the model's own state says (evenly, before any training), so that a picture's key norms
 * depend on nothing but the picture, and the result not on how pictures are batched. The caller owns the result, and still the model's old state.
 */
export async function calibrate(model: Model, batches: AsyncIterable<Batch>): Promise<BlockState[]> {
  const rule = variantOf(model.variant).allocation;
  if (rule === undefined) return model.attention;
  const { shape } = model;
  let sums: number[][] = Array.from({ length: shape.depth }, () => Array(shape.kvHeads).fill(0));
  let images = 0;
  for await (const batch of batches) {
    const norms = tf.tidy(() => {
      const { images: inputs, weights } = deviceBatch(batch, shape.imageSize);
      const result = forward(model.params, inputs, {
        shape,
        variant: model.variant,
        state: model.attention,
        allocation: { by: 'state' },
        noise: null,
        weights,
      });
      return result.keyNorms.map((norm) => Array.from(norm.dataSync()));
    });
    sums = sums.map((block, i) => block.map((sum, g) => sum + (norms[i]?.[g] as number) * batch.images));
    images += batch.images;
  }
  return sums.map((block, i) =>
    tf.tidy(() => {
      const calibrated = rule.calibrated(tf.tensor1d(block.map((sum) => sum / images)), shape.heads, model.attention[i] as BlockState);
      return Object.fromEntries(Object.entries(calibrated).map(([name, tensor]) => [name, tensor.clone()]));
    }),
  );
}
