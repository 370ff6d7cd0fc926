/** Evaluation: sums over real pictures, divided once. Changes nothing: the paper's batch-by-batch allocation runs on a copy of the state that is dropped. */
import * as tf from '@tensorflow/tfjs-core';
import type { Config } from '../config/schema.js';
import type { Batch } from '../data/dataset.js';
import { GqaError } from '../errors.js';
import type { BlockState } from '../model/variants/key-driven.js';
import { forward, type Pass } from '../model/vit.js';
import { deviceBatch } from './device-batch.js';
import { correctSums, crossEntropySum } from './loss.js';
import type { Model } from './model.js';
import { uniformNoise } from './noise.js';

/** Fractions from 0 to 1; `top5` is null with five classes or fewer. */
export interface Metrics {
  top1: number;
  top5: number | null;
  /** Mean cross-entropy, without label smoothing, in nats. */
  loss: number;
  images: number;
}

export type EvaluationRules = Pick<Config['model'], 'evalAllocation' | 'evalNoise'> & { seed: number };

/**
 * @param onBatch called after every batch with the sums so far and its logits [images · C] (real pictures only)
 * @throws GqaError `training` when the loss is not finite
 */
export async function evaluate(
  model: Model,
  batches: AsyncIterable<Batch>,
  rules: EvaluationRules,
  onBatch: (soFar: Metrics, logits: Float32Array, labels: Int32Array) => void = () => {},
): Promise<Metrics> {
  const { shape } = model;
  const fixedNoise = rules.evalNoise === 'fixed' ? uniformNoise(shape, model.variant, rules.seed, 'eval', 0) : null;
  let state = model.attention;
  const sums = { loss: 0, top1: 0, top5: 0, images: 0 };
  let index = 0;
  try {
    for await (const batch of batches) {
      const noise = rules.evalNoise === 'paper' ? uniformNoise(shape, model.variant, rules.seed, 'eval-paper', index) : fixedNoise;
      const byBatch = rules.evalAllocation === 'batch';
      const { values, logits, next } = tf.tidy(() => {
        const { images, labels, weights } = deviceBatch(batch, shape.imageSize);
        const pass: Pass = { shape, variant: model.variant, state, allocation: { by: byBatch ? 'batch' : 'state' }, noise, weights };
        const result = forward(model.params, images, pass);
        const { top1, top5 } = correctSums(result.logits, labels, weights);
        const sum = tf.stack([crossEntropySum(result.logits, labels, weights), top1, top5]);
        return {
          values: sum.dataSync(),
          logits: result.logits.dataSync() as Float32Array,
          next: byBatch ? result.state.map(cloneBlock) : state,
        };
      });
      if (noise !== fixedNoise) tf.dispose(noise ?? []);
      if (state !== model.attention) tf.dispose(state);
      state = next;
      index++;
      sums.loss += values[0] as number;
      sums.top1 += values[1] as number;
      sums.top5 += values[2] as number;
      sums.images += batch.images;
      onBatch(
        metricsOf(sums, shape.numClasses),
        logits.subarray(0, batch.images * shape.numClasses),
        batch.labels.subarray(0, batch.images),
      );
    }
  } finally {
    tf.dispose(fixedNoise ?? []);
    if (state !== model.attention) tf.dispose(state);
  }
  const metrics = metricsOf(sums, shape.numClasses);
  if (!Number.isFinite(metrics.loss))
    throw new GqaError('training', `evaluation: the loss is ${metrics.loss} after ${metrics.images} images`, {
      hint: 'The model’s outputs are not finite: its training diverged, or there were no pictures.',
    });
  return metrics;
}

const cloneBlock = (block: BlockState): BlockState =>
  Object.fromEntries(Object.entries(block).map(([name, tensor]) => [name, tensor.clone()]));

function metricsOf(sums: { loss: number; top1: number; top5: number; images: number }, numClasses: number): Metrics {
  const { loss, top1, top5, images } = sums;
  return { top1: top1 / images, top5: numClasses > 5 ? top5 / images : null, loss: loss / images, images };
}
