/**
 * What a checkpoint's heads say before anything is converted: how alike they are, in how many dimensions they live,
 * what each way of grouping and merging costs, and how the key-driven variants would hand out query heads. Pure.
 */
import type { Values } from '../model/params.js';
import type { ModelShape } from '../model/sizes.js';
import { attentionOf, sizesOf } from './convert.js';
import { eigenvalues } from './eigenvalues.js';
import { allocation, pooledKeyNorms } from './groupings/key-norms.js';
import type { GroupingInput, SearchPlan } from './groupings/rule.js';
import { headsOf, withBias } from './heads.js';
import { type Matrix, sandwich, stacked } from './matrix.js';
import { activationGrams, cosinesOf, gramOf } from './metrics/pooled.js';
import { aboutMean, inputProducts, keyCovariance } from './moments.js';
import type { LayerStatistics } from './statistics.js';

/** Of a layer; cosines [H][H]. */
export interface HeadSimilarity {
  weights: { keys: number[][]; values: number[][] };
  activations: { keys: number[][]; values: number[][] };
}

/** Dimensions that hold 90 and 99 % of the variance. */
export interface Dimensions {
  /** Of all heads together, which have `of`. */
  all: { of: number; d90: number; d99: number };
  /** Of a head alone, in the mean over heads; it has `of`. */
  head: { of: number; d90: number; d99: number };
}

export interface LayerAnalysis {
  similarity: HeadSimilarity;
  dimensions: { keys: Dimensions; values: Dimensions };
  /** Query heads for each of neighbours' KV heads, by the number of KV heads. */
  allocations: { kvHeads: number; kdgqa: number[]; dgqa: number[] }[];
}

export function analyseLayer(
  values: Values,
  shape: ModelShape,
  index: number,
  statistics: LayerStatistics,
  kvHeads: readonly number[],
): LayerAnalysis {
  const sizes = sizesOf(shape);
  const weights = attentionOf(values, index);
  const { k, v } = headsOf(weights, sizes);
  const [keys, ofValues] = [k.map(({ weight }) => weight), v.map(({ weight }) => weight)];
  const grams = activationGrams(weights, sizes, statistics);
  const aboutMeans = aboutMean(inputProducts(statistics, sizes), statistics.tokens);
  const input: GroupingInput = { index, sizes, weights, statistics, plan: NO_SEARCH };
  return {
    similarity: {
      weights: { keys: rows(cosinesOf(gramOf(keys, keys))), values: rows(cosinesOf(gramOf(ofValues, ofValues))) },
      activations: { keys: rows(cosinesOf(grams.keys)), values: rows(cosinesOf(grams.values)) },
    },
    dimensions: {
      keys: dimensionsOf(keys, keyCovariance(statistics, sizes)),
      values: dimensionsOf(v.map(withBias), aboutMeans),
    },
    allocations: kvHeads.map((count) => {
      const norms = pooledKeyNorms(input, count);
      const lowest = Math.min(...norms);
      return {
        kvHeads: count,
        kdgqa: allocation(
          norms.map((norm) => norm - lowest),
          sizes.heads,
        ),
        dgqa: allocation(norms, sizes.heads),
      };
    }),
  };
}

const NO_SEARCH: SearchPlan = { search: 'exact', apart: false, seed: 0 };

const rows = ({ rows: count, cols, data }: Matrix): number[][] =>
  Array.from({ length: count }, (_, i) => Array.from(data.subarray(i * cols, (i + 1) * cols)));

function dimensionsOf(heads: readonly Matrix[], covariance: Matrix): Dimensions {
  const size = heads[0]?.rows ?? 0;
  const single = heads.map((head) => held(eigenvalues(sandwich(head, covariance))));
  const mean = (pick: (of: { d90: number; d99: number }) => number): number =>
    single.reduce((sum, each) => sum + pick(each), 0) / single.length;
  return {
    all: { of: heads.length * size, ...held(eigenvalues(sandwich(stacked(heads), covariance))) },
    head: { of: size, d90: mean(({ d90 }) => d90), d99: mean(({ d99 }) => d99) },
  };
}

function held(variances: readonly number[]): { d90: number; d99: number } {
  const total = variances.reduce((sum, value) => sum + Math.max(value, 0), 0);
  const needed = (share: number): number => {
    let sum = 0;
    for (const [i, value] of variances.entries()) {
      sum += Math.max(value, 0);
      if (sum >= share * total) return i + 1;
    }
    return variances.length;
  };
  return { d90: needed(0.9), d99: needed(0.99) };
}
