/**
 * The statistics of a layer as means over tokens, in float64: second moments and covariances of what attention works
 * on. Without images: the identity for all of them, which makes errors of activations errors of weights.
 */
import type { LayerSizes } from '../model/weights.js';
import { columnsFrom, type Matrix, matrix, multiply, plus, rowsFrom, times, timesTransposed } from './matrix.js';
import type { LayerStatistics, StatisticName } from './statistics.js';

/** [X 1]ᵀ[X 1], sums over all tokens, [D+1, D+1]. */
export const inputProducts = (statistics: LayerStatistics, { embedDim }: LayerSizes): Matrix =>
  matrix(embedDim + 1, embedDim + 1, given(statistics, 'inputs'));

/** XᵀX, the part without the ones. */
export const withoutOnes = (products: Matrix): Matrix =>
  columnsFrom(rowsFrom(products, 0, products.rows - 1), 0, products.cols - 1);

/**
 * Covariance of the inputs about the mean of their image, [D, D]: what keys vary by within an image. A softmax does not
 * see what all keys of an image have in common.
 */
export function keyCovariance(statistics: LayerStatistics, sizes: LayerSizes): Matrix {
  const means = matrix(sizes.embedDim, sizes.embedDim, given(statistics, 'imageMeans'));
  return times(plus(withoutOnes(inputProducts(statistics, sizes)), means, -1), 1 / statistics.tokens);
}

/** Mean of q qᵀ for each head, [E, E]; queries with their bias, not scaled. */
export const queryMoments = (statistics: LayerStatistics, { heads, headDim }: LayerSizes): Matrix[] =>
  perHead(given(statistics, 'queries'), heads, headDim).map((each) => times(each, 1 / statistics.tokens));

/** Covariance of [x; 1] from its products, of which the last column holds the sums; its last row and column are 0. */
export function aboutMean(products: Matrix, tokens: number): Matrix {
  const means = times(products, 1 / tokens);
  const mean = columnsFrom(means, means.cols - 1, means.cols);
  return plus(means, timesTransposed(mean, mean), -1);
}

/** What a head reads: the mean μ of its average inputs m = softmax(…) X, [D, 1], and their covariance, [D, D]. */
export interface Attended {
  mean: Matrix;
  covariance: Matrix;
}

export function attendedMoments(statistics: LayerStatistics, { heads, embedDim }: LayerSizes): Attended[] {
  return perHead(given(statistics, 'attended'), heads, embedDim + 1).map((sums) => {
    const mean = times(rowsFrom(columnsFrom(sums, embedDim, embedDim + 1), 0, embedDim), 1 / statistics.tokens);
    return { mean, covariance: withoutOnes(aboutMean(sums, statistics.tokens)) };
  });
}

/**
 * For each head the covariance of the inputs under the distribution that its softmax is, in the mean over queries,
 * [D, D].
 */
export function attentionCovariances(statistics: LayerStatistics, { heads, embedDim }: LayerSizes): Matrix[] {
  const keyed = perHead(given(statistics, 'keyed'), heads, embedDim);
  const attended = perHead(given(statistics, 'attended'), heads, embedDim + 1);
  return keyed.map((sum, h) => times(plus(sum, withoutOnes(attended[h] as Matrix), -1), 1 / statistics.tokens));
}

/**
 * The bias of the output projection grows by this when a head's values change: O (V μ + b) − O' (V' μ + b'), [D, 1].
 */
export const shiftOf = (
  before: { o: Matrix; weight: Matrix; bias: Matrix },
  after: { o: Matrix; weight: Matrix; bias: Matrix },
  mean: Matrix,
): Matrix => {
  const output = ({ o, weight, bias }: typeof before): Matrix => multiply(o, plus(multiply(weight, mean), bias));
  return plus(output(before), output(after), -1);
};

function given(statistics: LayerStatistics, name: StatisticName): Float32Array {
  const found = statistics[name];
  if (found === undefined) throw new Error(`the statistic ${name} was not gathered`);
  return found;
}

const perHead = (values: Float32Array, heads: number, size: number): Matrix[] =>
  Array.from({ length: heads }, (_, h) => matrix(size, size, values.subarray(h * size * size, (h + 1) * size * size)));
