/**
 * Fills a key-driven variant's state before any training: mean key norms over some training images, with the test
 * transform and without an update.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Batch } from '../data/dataset.js';
import type { BlockState } from '../model/variants/key-driven.js';
import { variantOf } from '../model/variants.js';
import type { Model } from './model.js';
import type { Trainer } from './trainer.js';

/**
 * The state that frozen evaluation reads. While the norms are gathered, query heads are split as the model's own state
 * says (evenly, before any training), so that a image's key norms depend on nothing but the image, and the result not
 * on how images are batched.
 * @param trainer  holds the model
 * @param before   the model's state, which the caller still owns; the result is the caller's too
 */
export async function calibrate(
  trainer: Pick<Trainer, 'keyNorms'>,
  { shape, variant }: Pick<Model, 'shape' | 'variant'>,
  before: BlockState[],
  batches: AsyncIterable<Batch>,
): Promise<BlockState[]> {
  const rule = variantOf(variant).allocation;
  if (rule === undefined) throw new Error(`${variant} has no state to be calibrated`);
  let sums: number[][] = Array.from({ length: shape.depth }, () => Array(shape.kvHeads).fill(0));
  let images = 0;
  for await (const batch of batches) {
    const norms = trainer.keyNorms(batch);
    sums = sums.map((block, i) => block.map((sum, g) => sum + (norms[i]?.[g] as number) * batch.images));
    images += batch.images;
  }
  return sums.map((block, i) =>
    tf.tidy(() => {
      const calibrated = rule.calibrated(
        tf.tensor1d(block.map((sum) => sum / images)),
        shape.heads,
        before[i] as BlockState,
      );
      return Object.fromEntries(Object.entries(calibrated).map(([name, tensor]) => [name, tensor.clone()]));
    }),
  );
}
