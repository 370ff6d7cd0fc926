/**
 * Fills a key-driven variant's state before any training: mean key norms over some training images, with the test
 * transform and without an update.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Batch } from '../data/dataset.js';
import { type AttentionValues, attentionTensors, attentionValues } from '../model/attention-state.js';
import { kvHeadsOf } from '../model/grouping.js';
import type { BlockState } from '../model/variants/key-driven.js';
import { variantOf } from '../model/variants.js';
import type { Model } from './model.js';
import type { Trainer } from './trainer.js';

/**
 * The state that frozen evaluation reads. While the norms are gathered, query heads are split as the model's own state
 * says (evenly, before any training), so that an image's key norms depend on nothing but the image, and the result not
 * on how images are batched.
 * @param trainer  holds the model
 * @param before   the model's state
 */
export async function calibrate(
  trainer: Pick<Trainer, 'keyNorms'>,
  { shape, variant }: Pick<Model, 'shape' | 'variant'>,
  before: AttentionValues,
  batches: AsyncIterable<Batch>,
): Promise<AttentionValues> {
  const rule = variantOf(variant).allocate;
  if (rule === undefined) throw new Error(`${variant} has no state to be calibrated`);
  let sums = shape.grouping.map((groups) => Array<number>(kvHeadsOf(groups)).fill(0));
  let images = 0;
  for await (const batch of batches) {
    const norms = trainer.keyNorms(batch);
    sums = sums.map((block, i) => block.map((sum, g) => sum + (norms[i]?.[g] as number) * batch.images));
    images += batch.images;
  }
  const states = attentionTensors(before);
  const found = sums.map((block, i) => {
    const norms = tf.tensor1d(block.map((sum) => sum / images));
    const calibrated = tf.tidy(() => rule.calibrated(norms, shape.heads, states[i] as BlockState));
    const values = attentionValues([calibrated])[0] as AttentionValues[number];
    tf.dispose([norms, calibrated]);
    return values;
  });
  tf.dispose(states);
  return found;
}
