/**
 * Keys and values as a shared basis sees them, so that one routine serves both: a head is a map W [E, D] that is read
 * by its partner (queries of the keys, columns of the output projection of the values), whose second moment says how
 * much each direction of the head's output matters.
 */
import type { AttentionWeights, LayerSizes } from '../../model/weights.js';
import { headsOfProjection, outputHeads } from '../heads.js';
import { identity, type Matrix, meanOf, multiply, squareRoot, timesTransposed, transposedTimes } from '../matrix.js';
import { attendedMoments, keyCovariance, queryMoments } from '../moments.js';
import type { LayerStatistics } from '../statistics.js';

export interface Side {
  /** W, [E, D]. */
  weight: Matrix;
  /** How much each direction of the head's output matters, P, [E, E]. */
  importance: Matrix;
  /** P^(1/2) W */
  seen: Matrix;
  /** Of what the head is applied to, C, [D, D]; the same object for all heads. */
  covariance: Matrix;
}

/** A group's common basis S [E, D], and the map from it to each of the group's heads, A_h [E, E]. */
export interface Basis {
  shared: Matrix;
  maps: Matrix[];
}

/**
 * Of keys: P = mean of q qᵀ, C = covariance of the inputs within an image. Without statistics: Q Qᵀ and the identity.
 */
export function keySides(weights: AttentionWeights, sizes: LayerSizes, statistics: LayerStatistics | null): Side[] {
  const keys = headsOfProjection(weights.k, sizes.headDim);
  const queries = headsOfProjection(weights.q, sizes.headDim);
  const moments =
    statistics === null
      ? queries.map(({ weight }) => timesTransposed(weight, weight))
      : queryMoments(statistics, sizes);
  const covariance = statistics === null ? identity(sizes.embedDim) : keyCovariance(statistics, sizes);
  return keys.map(({ weight }, h) => sideOf(weight, moments[h] as Matrix, covariance));
}

/** Of values: P = Oᵀ O, C = covariance of what heads read, in the mean over heads. */
export function valueSides(weights: AttentionWeights, sizes: LayerSizes, statistics: LayerStatistics | null): Side[] {
  const values = headsOfProjection(weights.v, sizes.headDim);
  const outputs = outputHeads(weights.proj, sizes.headDim);
  const covariance =
    statistics === null
      ? identity(sizes.embedDim)
      : meanOf(attendedMoments(statistics, sizes).map(({ covariance }) => covariance));
  return values.map(({ weight }, h) => {
    const o = outputs[h] as Matrix;
    return sideOf(weight, transposedTimes(o, o), covariance);
  });
}

const sideOf = (weight: Matrix, importance: Matrix, covariance: Matrix): Side => ({
  weight,
  importance,
  seen: multiply(squareRoot(importance), weight),
  covariance,
});
