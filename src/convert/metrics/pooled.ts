/** Errors of mean pooling: of weights (QCQA) and of activations (AsymGQA, our reading). */
import type { LayerSizes } from '../../model/weights.js';
import { headsOf, withBias } from '../heads.js';
import { dot, type Matrix, matrix, multiply } from '../matrix.js';
import { inputProducts, withoutOnes } from '../moments.js';
import type { GroupCost } from '../search/partition.js';
import type { LayerStatistics } from '../statistics.js';
import type { Metric } from './metric.js';

/**
 * Weight-sharing error: 1/(H·E·D) Σ_g Σ_{h∈g} ‖W_h − mean_g‖², weights without bias. Source: QCQA, arXiv:2406.10247, in
 * the form that does not depend on how groups are named (its code multiplies heads by their group's number).
 */
export const weightError: Metric = {
  of(weights, sizes) {
    const { heads, headDim, embedDim } = sizes;
    const { k, v } = headsOf(weights, sizes);
    const scale = 1 / (heads * headDim * embedDim);
    const ofHeads = (all: Matrix[]): GroupCost => pooledError(gramOf(all, all), scale);
    return { keys: ofHeads(k.map(({ weight }) => weight)), values: ofHeads(v.map(({ weight }) => weight)) };
  },
  work: (members) => members ** 2,
};

/**
 * Relative error of the keys' and of the values' activations on calibration images. Our reading of arXiv:2406.14963.
 */
export const activationError: Metric = {
  needs: ['inputs'],
  of(weights, sizes, statistics) {
    const { keys, values } = activationGrams(weights, sizes, statistics as LayerStatistics);
    return { keys: pooledError(keys, 1 / traceOf(keys)), values: pooledError(values, 1 / traceOf(values)) };
  },
  work: (members) => members ** 2,
};

/**
 * −Σ_g 1/|g| Σ_{i<j∈g} S_ij with S the mean of the cosines of keys and of values. Our reading of arXiv:2406.14963; the
 * factor 1/|g| keeps one giant group from winning.
 */
export const activationCosine: Metric = {
  needs: ['inputs'],
  of(weights, sizes, statistics) {
    const grams = activationGrams(weights, sizes, statistics as LayerStatistics);
    const cost =
      (similarity: Matrix): GroupCost =>
      (members) => {
        let sum = 0;
        for (const [a, i] of members.entries())
          for (const j of members.slice(a + 1)) sum += similarity.data[i * similarity.cols + j] as number;
        return -sum / (2 * members.length);
      };
    return { keys: cost(cosinesOf(grams.keys)), values: cost(cosinesOf(grams.values)) };
  },
  work: (members) => members ** 2,
};

/** tr(A_i C A_jᵀ) of the heads' activations, [H, H]: keys without their bias, which no softmax sees, values with it. */
export function activationGrams(
  weights: Parameters<Metric['of']>[0],
  sizes: LayerSizes,
  statistics: LayerStatistics,
): { keys: Matrix; values: Matrix } {
  const { k, v } = headsOf(weights, sizes);
  const products = inputProducts(statistics, sizes);
  const gram = (all: Matrix[], metric: Matrix): Matrix =>
    gramOf(
      all.map((each) => multiply(each, metric)),
      all,
    );
  return {
    keys: gram(
      k.map(({ weight }) => weight),
      withoutOnes(products),
    ),
    values: gram(v.map(withBias), products),
  };
}

/** Inner products of heads as vectors, [H, H]. */
export function gramOf(left: readonly Matrix[], right: readonly Matrix[]): Matrix {
  const found = matrix(left.length, right.length);
  for (const [i, a] of left.entries()) for (const [j, b] of right.entries()) found.data[i * found.cols + j] = dot(a, b);
  return found;
}

/** Σ_{h∈g} |A_h − mean_g|² from inner products: Σ G_hh − 1/|g| Σ G_ij. */
const pooledError =
  ({ cols, data }: Matrix, scale: number): GroupCost =>
  (members) => {
    let own = 0;
    let all = 0;
    for (const i of members) {
      own += data[i * cols + i] as number;
      for (const j of members) all += data[i * cols + j] as number;
    }
    return scale * Math.max(0, own - all / members.length);
  };

const traceOf = ({ rows, cols, data }: Matrix): number => {
  let sum = 0;
  for (let i = 0; i < rows; i++) sum += data[i * cols + i] as number;
  return sum || 1; // heads that are all 0 have no error either
};

/** A head that is all 0 is like no other. */
export function cosinesOf(gram: Matrix): Matrix {
  const size = (i: number): number => Math.sqrt(gram.data[i * gram.cols + i] as number) || 1;
  const found = matrix(gram.rows, gram.cols);
  for (let i = 0; i < gram.rows; i++)
    for (let j = 0; j < gram.cols; j++)
      found.data[i * gram.cols + j] = (gram.data[i * gram.cols + j] as number) / (size(i) * size(j));
  return found;
}
