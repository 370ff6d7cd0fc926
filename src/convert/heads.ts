/** A layer's heads as matrices of float64, and back. */
import type { AttentionWeights, LayerSizes, Projection } from '../model/weights.js';
import { beside, columnsFrom, type Matrix, matrix, stacked } from './matrix.js';

/** A head of queries, keys or values: `weight` [E, D], `bias` [E, 1]. */
export interface Head {
  weight: Matrix;
  bias: Matrix;
}

/** `o`: for each query head its columns of the output projection, [D, E]. */
export interface Heads {
  q: Head[];
  k: Head[];
  v: Head[];
  o: Matrix[];
}

export const headsOf = (weights: AttentionWeights, { headDim }: LayerSizes): Heads => ({
  q: headsOfProjection(weights.q, headDim),
  k: headsOfProjection(weights.k, headDim),
  v: headsOfProjection(weights.v, headDim),
  o: outputHeads(weights.proj, headDim),
});

export function headsOfProjection({ weight, bias }: Projection, headDim: number): Head[] {
  const width = weight.length / bias.length;
  return Array.from({ length: bias.length / headDim }, (_, h) => {
    const [from, to] = [h * headDim, (h + 1) * headDim];
    return {
      weight: matrix(headDim, width, weight.subarray(from * width, to * width)),
      bias: matrix(headDim, 1, bias.subarray(from, to)),
    };
  });
}

export function outputHeads({ weight, bias }: Projection, headDim: number): Matrix[] {
  const whole = matrix(bias.length, weight.length / bias.length, weight);
  return Array.from({ length: whole.cols / headDim }, (_, h) => columnsFrom(whole, h * headDim, (h + 1) * headDim));
}

export const projectionOf = (heads: readonly Head[]): Projection => ({
  weight: Float32Array.from(stacked(heads.map(({ weight }) => weight)).data),
  bias: Float32Array.from(stacked(heads.map(({ bias }) => bias)).data),
});

export const outputOf = (heads: readonly Matrix[], bias: ArrayLike<number>): Projection => ({
  weight: Float32Array.from(beside(heads).data),
  bias: Float32Array.from(bias),
});

/** [W b], the map of [x; 1]. */
export const withBias = ({ weight, bias }: Head): Matrix => beside([weight, bias]);
