/**
 * What a variant can do differently from plain GQA: one hook for each place of a step. Everything is called by
 * model/vit.ts and train/; nothing else knows a variant by name.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { ParameterSpec } from '../params.js';
import type { LayerShape } from '../sizes.js';
import type { AttentionWeights } from '../weights.js';
import type { KeyDrivenRule } from './key-driven.js';

export interface Variant {
  /** KV heads that the variant has whatever the config says: as many as heads, or one. */
  kvHeads?: 'all' | 'one';
  /**
   * Grouping and merge that the name stands for, unless the config says otherwise: a paper's method is a name for a
   * combination. `shareOut`: KV heads are the mean of all layers, as with the config's `kv_budget`.
   */
  conversion?: { grouping?: string; merge?: string; groupValues?: 'apart'; shareOut?: true };
  /** Every head keeps its keys and values after conversion: the variant merges them itself, in every step. */
  keepsHeads?: true;
  /**
   * Parameters of a layer's attention beside the usual ones, or in another shape than theirs, by their name in the
   * block: `attn.k_scale`.
   */
  params?(layer: LayerShape): Record<string, ParameterSpec>;
  /**
   * The linear layers of keys and values, where they are not parameters of their own.
   * @param at a parameter of the block by its name: `attn.k_scale`
   */
  project?(at: (name: string) => tf.Tensor, layer: LayerShape): KeysAndValues;
  /** Which query head reads which key head follows the key norms. */
  allocate?: KeyDrivenRule;
  /** Noise on the attention's output. */
  perturb?: Perturbation;
  /**
   * The same layer without the parameters of `params`, so that it can be evaluated and loaded anywhere.
   * @param added values of the parameters of `params`, by their name in the block
   */
  fold?(weights: AttentionWeights, added: Record<string, Float32Array>, layer: LayerShape): AttentionWeights;
}

/** Linear layers, as tensors: [K·E, D] and [K·E]. */
export interface KeysAndValues {
  k: LinearLayer;
  v: LinearLayer;
}

export interface LinearLayer {
  weight: tf.Tensor;
  bias: tf.Tensor;
}

export interface Perturbation {
  /** Why it cannot be had for a layer, after "…: "; null: it can. */
  problem(layer: LayerShape): string | null;
  /** Shape of a layer's uniform draw, shared by the batch. */
  drawShape(layer: LayerShape): number[];
  /** (output [B, H, N, E], draw in [0, 1)) → perturbed output. */
  apply(output: tf.Tensor, draw: tf.Tensor): tf.Tensor;
}
