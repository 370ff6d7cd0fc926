/**
 * What a shared basis of E dimensions cannot hold of a group's keys and values: the trailing eigenvalues of their
 * covariance, in parts of all of it. Ours; the error of merges/basis.ts.
 */
import type { LayerSizes } from '../../model/weights.js';
import { eigen, type Matrix, multiply, principalBlocks, stacked, timesTransposed, trace } from '../matrix.js';
import { keySides, type Side, valueSides } from '../merges/sides.js';
import type { GroupCost } from '../search/partition.js';
import type { Metric } from './metric.js';

export const basisResidual: Metric = {
  needs: ['inputs', 'imageMeans', 'queries', 'attended'],
  of: (weights, sizes, statistics) => ({
    keys: residual(keySides(weights, sizes, statistics), sizes),
    values: residual(valueSides(weights, sizes, statistics), sizes),
  }),
  work: (members, { headDim }) => 10 * (members * headDim) ** 3,
};

function residual(sides: readonly Side[], { headDim }: LayerSizes): GroupCost {
  const all = stacked(sides.map(({ seen }) => seen));
  const covariance = timesTransposed(multiply(all, (sides[0] as Side).covariance), all); // [H·E, H·E]
  const total = trace(covariance) || 1;
  return (members) => residualOf(principalBlocks(covariance, members, headDim), headDim) / total;
}

/** The sum of all but the `kept` largest eigenvalues. */
export const residualOf = (covariance: Matrix, kept: number): number =>
  eigen(covariance)
    .values.slice(kept)
    .reduce((sum, value) => sum + Math.max(value, 0), 0);
