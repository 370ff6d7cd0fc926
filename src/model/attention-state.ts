/** The state that key-driven variants carry from step to step, as plain numbers, and as tensors for a pass. */
import * as tf from '@tensorflow/tfjs-core';
import { layerShapes, type ModelShape } from './sizes.js';
import type { BlockState } from './variants/key-driven.js';
import { type VariantName, variantOf } from './variants.js';

/** Named vectors [K] of every block; empty objects for variants without state. */
export type AttentionValues = Record<string, number[]>[];

/** Before any training. */
export function initialAttention(shape: ModelShape, variant: VariantName): AttentionValues {
  const rule = variantOf(variant).allocate;
  return layerShapes(shape).map(({ groups }) => rule?.initialState(groups) ?? {});
}

export const attentionTensors = (values: AttentionValues): BlockState[] =>
  values.map((block) => Object.fromEntries(Object.entries(block).map(([name, vector]) => [name, tf.tensor1d(vector)])));

/** Reads the state back (host sync). */
export const attentionValues = (state: BlockState[]): AttentionValues =>
  state.map((block) =>
    Object.fromEntries(Object.entries(block).map(([name, tensor]) => [name, Array.from(tensor.dataSync())])),
  );
