/** Which key head each query head reads under a key-driven variant's frozen allocation. */
import * as tf from '@tensorflow/tfjs-core';
import type { AttentionValues } from '../model/attention-state.js';
import type { Groups } from '../model/grouping.js';
import { layerShapes, type ModelShape } from '../model/sizes.js';
import { type VariantName, variantOf } from '../model/variants.js';

/** @param state as a model file keeps it. @returns for each layer and query head its key head */
export function frozenReads(variant: VariantName, shape: ModelShape, state: AttentionValues): Groups[] {
  const rule = variantOf(variant).allocate;
  return layerShapes(shape).map(({ index, groups }) => {
    const vectors = state[index];
    if (rule === undefined || vectors === undefined || Object.keys(vectors).length === 0) return groups;
    const counts = tf.tidy(() =>
      Array.from(
        rule
          .frozen(
            shape.heads,
            Object.fromEntries(Object.entries(vectors).map(([name, vector]) => [name, tf.tensor1d(vector)])),
          )
          .dataSync(),
      ),
    );
    return counts.flatMap((count, head) => Array.from({ length: count }, () => head));
  });
}
