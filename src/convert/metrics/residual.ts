/**
 * What a shared basis of E dimensions cannot hold of a group: the trailing eigenvalues of a covariance. Of keys the
 * expected squared error of a score before the softmax, in the mean over heads; of values that of the layer's output in
 * parts of its own square. A score that is off by δ moves the output by about δ of its spread, so that the two can be
 * added. Ours; the error of merges/basis.ts.
 */

import { eigenvalues } from '../eigenvalues.js';
import { type Matrix, principalBlocks, sandwich, stacked, trace } from '../matrix.js';
import { keySides, type Side, valueSides } from '../merges/sides.js';
import type { GroupCost } from '../search/partition.js';
import type { Metric } from './metric.js';

export const basisResidual: Metric = {
  needs: ['inputs', 'imageMeans', 'queries', 'attended'],
  of(weights, sizes, statistics) {
    const { heads, headDim } = sizes;
    const keys = coupled(keySides(weights, sizes, statistics));
    const values = coupled(valueSides(weights, sizes, statistics));
    return {
      keys: residual(keys, headDim, 1 / (heads * headDim)), // a score is the product by √E, here squared
      values: residual(values, headDim, 1 / (trace(values) || 1)),
    };
  },
  work: (members, { headDim }) => 1.5 * (members * headDim) ** 3,
};

/** Covariance of all heads' weighed outputs, [H·E, H·E]. */
function coupled(sides: readonly Side[]): Matrix {
  const all = stacked(sides.map(({ seen }) => seen));
  return sandwich(all, (sides[0] as Side).covariance);
}

const residual =
  (covariance: Matrix, headDim: number, scale: number): GroupCost =>
  (members) =>
    scale * residualOf(principalBlocks(covariance, members, headDim), headDim);

/** The sum of all but the `kept` largest eigenvalues. */
const residualOf = (covariance: Matrix, kept: number): number =>
  eigenvalues(covariance)
    .slice(kept)
    .reduce((sum, value) => sum + Math.max(value, 0), 0);
