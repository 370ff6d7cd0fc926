/** What a run carries from step to step: how it begins, and how it becomes plain numbers for a checkpoint. */
import * as tf from '@tensorflow/tfjs-core';
import type { VariantName } from '../config/names.js';
import type { ModelShape } from '../model/sizes.js';
import type { BlockState } from '../model/variants/key-driven.js';
import { variantOf } from '../model/variants.js';

/** A key-driven variant's state before any training; empty objects for the others. One for each block. */
export function initialAttention(shape: ModelShape, variant: VariantName): BlockState[] {
  const initial = variantOf(variant).allocation?.initialState(shape.heads, shape.kvHeads) ?? {};
  return attentionFrom(Array.from({ length: shape.depth }, () => initial));
}

export type AttentionValues = Record<string, number[]>[];

export function attentionFrom(values: AttentionValues): BlockState[] {
  return values.map((block) =>
    Object.fromEntries(Object.entries(block).map(([name, vector]) => [name, tf.tensor1d(vector)])),
  );
}

/** Reads the state back (host sync). */
export function attentionValues(state: BlockState[]): AttentionValues {
  return state.map((block) =>
    Object.fromEntries(Object.entries(block).map(([name, tensor]) => [name, Array.from(tensor.dataSync())])),
  );
}
