/**
 * WGQA: every head keeps its keys and values while it is trained; a KV head is their sum, each weighed by a number that
 * is learned with them. Source: Chinnakonduru & Mohapatra, arXiv:2407.10855; Athe-kunal/Enhancement-in-GQA
 * `t5_WGQA_final.py` (a plain sum, weights that begin at 1 over the group's size or at N(0, 1), no constraint). Weights
 * by row or column of a head are named in later scripts of the authors only: that `out` is their COLWGQA and `in` their
 * ROWWGQA is our reading.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type Groups, groupSizes, membersOf, oneHot } from '../grouping.js';
import type { LayerShape } from '../sizes.js';
import type { Projection } from '../weights.js';
import type { LinearLayer, Variant } from './hooks.js';

/** A weight for each head; for each of its outputs, [H, E]; or for each of its inputs, [H, D]. */
type Form = 'scalar' | 'out' | 'in';

export function wgqa(form: Form, start: 'mean' | 'random'): Variant {
  const sizeOf = ({ headDim, embedDim }: LayerShape): number => ({ scalar: 1, out: headDim, in: embedDim })[form];
  const shapeOf = (layer: LayerShape): number[] => (form === 'scalar' ? [layer.heads] : [layer.heads, sizeOf(layer)]);
  return {
    keepsHeads: true,
    params(layer) {
      const { heads, headDim, embedDim, groups, valueGroups } = layer;
      const full = (role: 'key' | 'value') => ({
        weight: { shape: [heads * headDim, embedDim], initial: 'normal 0.02' as const, role },
        bias: { shape: [heads * headDim], initial: 'zeros' as const, role },
      });
      const weights = (of: Groups) => ({
        shape: shapeOf(layer),
        initial: start === 'random' ? ('normal 1' as const) : () => meanWeights(of, sizeOf(layer)),
        role: 'merge' as const,
      });
      const [k, v] = [full('key'), full('value')];
      return {
        'attn.k.weight': k.weight,
        'attn.k.bias': k.bias,
        'attn.v.weight': v.weight,
        'attn.v.bias': v.bias,
        'attn.k_merge': weights(groups),
        'attn.v_merge': weights(valueGroups),
      };
    },
    project(at, layer) {
      const heads = (part: 'k' | 'v', groups: Groups): LinearLayer =>
        summed(at(`attn.${part}.weight`), at(`attn.${part}.bias`), at(`attn.${part}_merge`), { ...layer, groups });
      return { k: heads('k', layer.groups), v: heads('v', layer.valueGroups) };
    },
    fold(weights, added, { headDim, groups, valueGroups }) {
      const fold = ({ weight, bias }: Projection, w: Float32Array, of: Groups): Projection =>
        foldedHeads(form, weight, bias, w, of, headDim);
      return {
        ...weights,
        k: fold(weights.k, added['attn.k_merge'] as Float32Array, groups),
        v: fold(weights.v, added['attn.v_merge'] as Float32Array, valueGroups),
      };
    },
  };

  /** K_g = Σ_{h∈g} w_h ⊙ K_h as one product with the groups' one-hot matrix. */
  function summed(
    weight: tf.Tensor,
    bias: tf.Tensor,
    merge: tf.Tensor,
    { heads, headDim, embedDim, groups }: LayerShape,
  ): LinearLayer {
    const [k, e, d] = [groupSizes(groups).length, headDim, embedDim];
    const members = tf.transpose(tf.tensor2d(oneHot(groups))); // [K, H]
    const all = tf.reshape(weight, [heads, e, d]);
    const biases = tf.reshape(bias, [heads, e]);
    const sum = (of: tf.Tensor, choice: tf.Tensor): tf.Tensor => tf.matMul(choice as tf.Tensor2D, of as tf.Tensor2D);
    if (form === 'scalar') {
      const choice = tf.mul(members, tf.reshape(merge, [1, heads]));
      return {
        weight: tf.reshape(sum(tf.reshape(all, [heads, e * d]), choice), [k * e, d]),
        bias: tf.reshape(sum(biases, choice), [k * e]),
      };
    }
    const scaled = tf.mul(all, tf.reshape(merge, form === 'out' ? [heads, e, 1] : [heads, 1, d]));
    const means = tf.div(members, tf.sum(members, 1, true));
    return {
      weight: tf.reshape(sum(tf.reshape(scaled, [heads, e * d]), members), [k * e, d]),
      // scaling inputs does not touch a bias: their mean
      bias: tf.reshape(form === 'out' ? sum(tf.mul(biases, merge), members) : sum(biases, means), [k * e]),
    };
  }
}

/** 1 over the size of each head's group: mean pooling. */
function meanWeights(groups: Groups, each: number): Float32Array {
  const sizes = groupSizes(groups);
  return Float32Array.from(groups.flatMap((group) => Array<number>(each).fill(1 / (sizes[group] as number))));
}

/** The same on the host, in float64. */
function foldedHeads(
  form: Form,
  weight: Float32Array,
  bias: Float32Array,
  merge: Float32Array,
  groups: Groups,
  headDim: number,
): Projection {
  const d = weight.length / bias.length;
  const members = membersOf(groups);
  const found = {
    weight: new Float32Array(members.length * headDim * d),
    bias: new Float32Array(members.length * headDim),
  };
  for (const [g, heads] of members.entries())
    for (let e = 0; e < headDim; e++) {
      const to = g * headDim + e;
      const ofRow = (h: number): number =>
        form === 'scalar' ? (merge[h] as number) : form === 'out' ? (merge[h * headDim + e] as number) : 1;
      for (let i = 0; i < d; i++) {
        let sum = 0;
        for (const h of heads) {
          const factor = form === 'in' ? (merge[h * d + i] as number) : ofRow(h);
          sum += factor * (weight[(h * headDim + e) * d + i] as number);
        }
        found.weight[to * d + i] = sum;
      }
      const biases = heads.reduce((sum, h) => sum + ofRow(h) * (bias[h * headDim + e] as number), 0);
      found.bias[to] = form === 'in' ? biases / heads.length : biases;
    }
  return found;
}
