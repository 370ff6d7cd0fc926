/**
 * The variants of grouped-query attention: what each adds to plain grouping. An absent hook means plain GQA; MHA and
 * MQA are GQA with K = H and K = 1.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { VariantName } from '../config/names.js';
import { dgqaDiff, dgqaEma } from './variants/dgqa.js';
import { kdgqa } from './variants/kdgqa.js';
import type { KeyDrivenRule } from './variants/key-driven.js';
import { subtractNoise } from './variants/pgqa.js';

export interface Variant {
  /** Which query head reads which key head follows the key norms. */
  allocation?: KeyDrivenRule;
  /** (output [B, H, N, E], uniform draw) → disturbed output. */
  perturb?: (output: tf.Tensor, uniform: tf.Tensor) => tf.Tensor;
}

export const VARIANTS = {
  mha: {},
  mqa: {},
  gqa: {},
  kdgqa: { allocation: kdgqa },
  'dgqa-diff': { allocation: dgqaDiff },
  'dgqa-ema': { allocation: dgqaEma },
  pgqa: { perturb: subtractNoise },
} as const satisfies Record<VariantName, Variant>;

export const variantOf = (name: VariantName): Variant => VARIANTS[name];
