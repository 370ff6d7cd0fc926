/**
 * One of each kind that a later method adds, in one file and a line of a table each; nothing else of src/ knows them.
 */
import * as tf from '@tensorflow/tfjs-core';
import { together } from '../../src/convert/groupings/rule.js';
import { GROUPINGS } from '../../src/convert/groupings.js';
import { mean } from '../../src/convert/merges/mean.js';
import { MERGES } from '../../src/convert/merges.js';
import { VARIANTS } from '../../src/model/variants.js';
import type { Projection } from '../../src/model/weights.js';

/** A learned factor of each KV head's keys, which folds into them. */
VARIANTS['scaled-keys'] = {
  params: ({ kvHeads }) => ({ 'attn.k_scale': { shape: [kvHeads], initial: 'ones', role: 'merge' } }),
  project(at, { kvHeads, headDim, embedDim }) {
    const factors = tf.reshape(at('attn.k_scale'), [kvHeads, 1]);
    const scale = (of: tf.Tensor, perHead: number): tf.Tensor =>
      tf.reshape(tf.mul(tf.reshape(of, [kvHeads, perHead]), factors), of.shape);
    const k = {
      weight: scale(at('attn.k.weight'), headDim * embedDim),
      bias: scale(at('attn.k.bias'), headDim),
    };
    return { k, v: { weight: at('attn.v.weight'), bias: at('attn.v.bias') } };
  },
  fold(weights, added, { headDim }) {
    const factors = added['attn.k_scale'] as Float32Array;
    return { ...weights, k: scaled(weights.k, (row) => factors[Math.floor(row / headDim)] as number) };
  },
};

/** Every other head in a group. */
GROUPINGS.striped = {
  layer:
    ({ sizes }) =>
    (kvHeads) =>
      together(Array.from({ length: sizes.heads }, (_, head) => head % kvHeads)),
};

/** Queries scaled up to a mean square of 1, on calibration images, and keys down by as much; then the mean. */
MERGES['unit-queries'] = {
  needs: ['queries'],
  values: mean.values,
  keys(weights, groups, sizes, statistics) {
    const { heads, headDim } = sizes;
    const grams = statistics?.queries as Float32Array; // [H, E, E]
    let squares = 0;
    for (let h = 0; h < heads; h++)
      for (let e = 0; e < headDim; e++) squares += grams[(h * headDim + e) * headDim + e] as number;
    const factor = Math.sqrt(((statistics?.tokens as number) * heads * headDim) / squares);
    const balanced = { ...weights, q: scaled(weights.q, () => factor), k: scaled(weights.k, () => 1 / factor) };
    return mean.keys(balanced, groups, sizes, null);
  },
};

function scaled({ weight, bias }: Projection, factorOf: (row: number) => number): Projection {
  const width = weight.length / bias.length;
  return {
    weight: weight.map((value, i) => value * factorOf(Math.floor(i / width))),
    bias: bias.map((value, row) => value * factorOf(row)),
  };
}
