/**
 * Shared basis (ours; kin to grouped low-rank projections of the KV-cache literature, here from MHA to plain GQA). The
 * keys of a group get one common basis S of E dimensions, and the map A_h from it to each head goes into that head's
 * queries; values and output projection alike. S and A_h minimise Σ_h tr(P_h (W_h − A_h S) C (W_h − A_h S)ᵀ), the
 * expected squared error of the logits, or of the layer's output.
 */
import { type Groups, membersOf } from '../../model/grouping.js';
import { type Head, headsOfProjection, outputHeads, outputOf, projectionOf } from '../heads.js';
import {
  eigen,
  type Matrix,
  matrix,
  multiply,
  plus,
  rowsFrom,
  rowsTimes,
  sandwich,
  stacked,
  sumOf,
  timesTransposed,
  trace,
  transposed,
  transposedTimes,
} from '../matrix.js';
import { attendedMoments, attentionCovariances, shiftOf } from '../moments.js';
import type { LayerStatistics } from '../statistics.js';
import { refined } from './refined.js';
import type { MergeRule } from './rule.js';
import { type Basis, keySides, type Side, valueSides } from './sides.js';

type Metric = 'weights' | 'activations' | 'attention';

const basis = (by: Metric): MergeRule => ({
  ...(by === 'weights' ? {} : { needs: NEEDS[by] }),
  ties: true,
  keys(weights, groups, sizes, given) {
    const statistics = by === 'weights' ? null : given;
    const sides = keySides(weights, sizes, statistics);
    const covariances = by === 'attention' ? attentionCovariances(statistics as LayerStatistics, sizes) : null;
    const queries = headsOfProjection(weights.q, sizes.headDim);
    const keys = headsOfProjection(weights.k, sizes.headDim);
    const merged = membersOf(groups).map((members): Head => {
      const [only = 0] = members;
      if (members.length === 1) return keys[only] as Head;
      const { shared, maps } = basisOf(sides, members, covariances);
      for (const [i, h] of members.entries()) {
        const { weight, bias } = queries[h] as Head;
        const map = maps[i] as Matrix;
        queries[h] = { weight: transposedTimes(map, weight), bias: transposedTimes(map, bias) };
      }
      return { weight: shared, bias: matrix(sizes.headDim, 1) }; // a key bias changes no softmax
    });
    return { q: projectionOf(queries), k: projectionOf(merged) };
  },
  values(weights, groups, sizes, given) {
    const statistics = by === 'weights' ? null : given;
    const sides = valueSides(weights, sizes, statistics);
    const attended = statistics === null ? null : attendedMoments(statistics, sizes);
    const covariances = by === 'attention' && attended !== null ? attended.map(({ covariance }) => covariance) : null;
    const values = headsOfProjection(weights.v, sizes.headDim);
    const outputs = outputHeads(weights.proj, sizes.headDim);
    let shift = matrix(weights.proj.bias.length, 1, weights.proj.bias);
    const merged = membersOf(groups).map((members): Head => {
      const [only = 0] = members;
      if (members.length === 1) return values[only] as Head;
      const { shared, maps } = basisOf(sides, members, covariances);
      const common: Head = { weight: shared, bias: matrix(sizes.headDim, 1) };
      for (const [i, h] of members.entries()) {
        const before = { o: outputs[h] as Matrix, ...(values[h] as Head) };
        const after = { o: multiply(before.o, maps[i] as Matrix), ...common };
        shift = plus(shift, shiftOf(before, after, attended?.[h]?.mean ?? matrix(sizes.embedDim, 1)));
        outputs[h] = after.o;
      }
      return common;
    });
    return { v: projectionOf(merged), proj: outputOf(outputs, shift.data) };
  },
});

const NEEDS = {
  activations: ['inputs', 'imageMeans', 'queries', 'attended'],
  attention: ['inputs', 'imageMeans', 'queries', 'attended', 'keyed'],
} as const;

/** From calibration images, with one covariance for all heads. */
export const basisOnActivations = basis('activations');
/** Each head weighed by what its own softmax sees; dearer, since it has no closed form. */
export const basisOnAttention = basis('attention');
/** Without images. */
export const basisOnWeights = basis('weights');

/** @param covariances C_h for each head, which the basis is then refined for; null: the sides' own */
function basisOf(sides: readonly Side[], members: readonly number[], covariances: readonly Matrix[] | null): Basis {
  const own = members.map((h) => sides[h] as Side);
  const plain = leading(own);
  const found =
    covariances === null
      ? plain
      : refined(
          own.map((side, i) => ({ ...side, covariance: covariances[members[i] as number] as Matrix })),
          plain.shared,
        ).basis;
  return balanced(found, own, sides);
}

/** The exact minimum for one covariance: the leading eigenvectors of what the heads' weighed outputs vary by. */
export function leading(sides: readonly Side[]): Basis & { error: number } {
  const { covariance, weight } = sides[0] as Side;
  const seen = stacked(sides.map((side) => side.seen));
  const { values, vectors } = eigen(sandwich(seen, covariance));
  const kept = weight.rows;
  const directions = multiply(rowsFrom(vectors, 0, kept), seen);
  const smallest = 1e-12 * (values[0] ?? 0); // beyond that a direction is rounding
  const shared = rowsTimes(
    directions,
    values.slice(0, kept).map((value) => (value > smallest ? 1 / Math.sqrt(value) : 0)),
  );
  return {
    shared,
    maps: sides.map((side) => timesTransposed(multiply(side.weight, covariance), shared)),
    error: values.slice(kept).reduce((sum, value) => sum + Math.max(value, 0), 0),
  };
}

/**
 * The same function, in the coordinates that training should begin with: components uncorrelated on both sides, from
 * the one that matters most on, and each with keys and queries in the ratio of magnitudes that they have in MHA, since
 * AdamW's steps depend on it.
 * @param own of the group's heads. @param all of the layer's
 */
function balanced({ shared, maps }: Basis, own: readonly Side[], all: readonly Side[]): Basis {
  const { covariance } = own[0] as Side;
  const variance = eigen(sandwich(shared, covariance));
  const smallest = 1e-12 * (variance.values[0] ?? 0);
  const spread = variance.values.map((value) => (value > smallest ? Math.sqrt(value) : 0));
  const white = rowsTimes(
    multiply(variance.vectors, shared),
    spread.map((value) => (value > 0 ? 1 / value : 0)),
  );
  const whiteMaps = maps.map((map) =>
    transposed(rowsTimes(transposed(timesTransposed(map, variance.vectors)), spread)),
  );
  const importance = eigen(
    sumOf(whiteMaps.map((map, i) => transposedTimes(map, multiply((own[i] as Side).importance, map)))),
  );
  const ratio =
    magnitude(all, ({ weight, covariance: c }) => sandwich(weight, c)) / magnitude(all, (s) => s.importance);
  const factors = importance.values.map((value) => Math.sqrt(Math.sqrt(Math.max(value, 0) / own.length) * ratio));
  const turned = (map: Matrix): Matrix =>
    transposed(
      rowsTimes(
        multiply(importance.vectors, transposed(map)),
        factors.map((factor) => (factor > 0 ? 1 / factor : 0)),
      ),
    );
  return { shared: rowsTimes(multiply(importance.vectors, white), factors), maps: whiteMaps.map(turned) };
}

/** Root mean square of the heads' components. */
const magnitude = (sides: readonly Side[], moment: (side: Side) => Matrix): number =>
  Math.sqrt(
    sides.reduce((sum, side) => sum + trace(moment(side)), 0) / (sides.length * (sides[0]?.weight.rows ?? 1)),
  ) || 1;

/** The error of `leading` summed over groups, for keys or values. */
export const basisError = (sides: readonly Side[], groups: Groups): number =>
  membersOf(groups).reduce((sum, members) => sum + leading(members.map((h) => sides[h] as Side)).error, 0);
