/**
 * The output projection fitted again after merging: ridge regression of what MHA's layer gave on what the converted
 * layer's heads give, towards the projection that merging left, so that directions that the images say nothing about
 * stay as they are. How strong the ridge is, images decide that were held out. Ours.
 */
import type { Projection } from '../model/weights.js';
import {
  beside,
  columnsFrom,
  dot,
  eigen,
  type Matrix,
  matrix,
  multiply,
  plus,
  rowsTimes,
  sumOf,
  times,
  trace,
  transposed,
  transposedTimes,
} from './matrix.js';

/** Sums over tokens of a part of the images: M the heads' outputs, Y what the projection should give. */
export interface OutputSums {
  /** [M 1]ᵀ[M 1], [D+1, D+1] */
  products: Float32Array;
  /** [M 1]ᵀ Y, [D+1, D] */
  targets: Float32Array;
  /** Σ Y², what an error is measured by. */
  energy: number;
}

export interface Refitted {
  proj: Projection;
  /** Of the mean diagonal of the products; null: nothing was better than leaving the projection as it is. */
  ridge: number | null;
  /** Squared error of the output on the held-out images, in parts of the output's own square, before and after. */
  before: number;
  after: number;
}

const RIDGES = [1e-4, 1e-3, 1e-2, 1e-1, 1, 10];

/** @param fit and @param held sums of the images that are fitted to, and of those that choose the ridge */
export function refitted({ weight, bias }: Projection, fit: OutputSums, held: OutputSums): Refitted {
  const [outputs, inputs] = [bias.length, weight.length / bias.length];
  const old = beside([matrix(outputs, inputs, weight), matrix(outputs, 1, bias)]);
  const before = errorOf(old, held);
  const withRidge = fitted(old, [fit]);
  const best = RIDGES.map((ridge) => ({ ridge, error: errorOf(withRidge(ridge), held) })).reduce((a, b) =>
    b.error < a.error ? b : a,
  );
  if (best.error >= before) return { proj: { weight, bias }, ridge: null, before, after: before };
  const all = fitted(old, [fit, held])(best.ridge); // the ridge is chosen: all images count
  const found = {
    weight: Float32Array.from(columnsFrom(all, 0, inputs).data),
    bias: Float32Array.from(columnsFrom(all, inputs, inputs + 1).data),
  };
  return { proj: found, ridge: best.ridge, before, after: best.error };
}

/**
 * By ridge, W + Δ with Δ of (G + λ) Δᵀ = R − G Wᵀ: what is left of Y, fitted with a ridge. G is decomposed once.
 * @param old W, [D, D+1]
 */
function fitted(old: Matrix, sums: readonly OutputSums[]): (ridge: number) => Matrix {
  const n = old.cols;
  const products = sumOf(sums.map((of) => matrix(n, n, of.products)));
  const targets = sumOf(sums.map((of) => matrix(n, old.rows, of.targets)));
  const left = plus(targets, multiply(products, transposed(old)), -1);
  const { values, vectors } = eigen(times(plus(products, transposed(products)), 0.5));
  const turned = multiply(vectors, left);
  const mean = trace(products) / n;
  return (ridge) => {
    const scaled = rowsTimes(
      turned,
      values.map((value) => 1 / (Math.max(value, 0) + ridge * mean)),
    );
    return plus(old, transposed(transposedTimes(vectors, scaled)));
  };
}

/** Σ |W [m; 1] − y|² in parts of Σ |y|². */
function errorOf(w: Matrix, { products, targets, energy }: OutputSums): number {
  const held = multiply(w, matrix(w.cols, w.cols, products));
  const cross = matrix(w.cols, w.rows, targets);
  return (dot(held, w) - 2 * dot(transposed(w), cross) + energy) / energy;
}
