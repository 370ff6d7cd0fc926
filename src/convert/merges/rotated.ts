/**
 * Heads are turned towards each other before they are pooled. A ViT has no rotary positions, so that an orthogonal map
 * of a head's keys and queries, or of its values and its columns of the output projection, changes no output: the turn
 * that brings heads closest (generalised Procrustes) is free. Source: "Align Attention Heads Before Merging Them",
 * arXiv:2412.20677; that it takes 101 rounds, and these metrics, are ours.
 */
import { type Groups, membersOf } from '../../model/grouping.js';
import type { AttentionWeights, LayerSizes } from '../../model/weights.js';
import { type Head, headsOfProjection, outputHeads, outputOf, projectionOf, withBias } from '../heads.js';
import { identity, type Matrix, multiply, nearestOrthogonal, sumOf, timesTransposed } from '../matrix.js';
import { inputProducts, withoutOnes } from '../moments.js';
import type { LayerStatistics } from '../statistics.js';
import { pooled } from './mean.js';
import type { MergeRule } from './rule.js';

const ROUNDS = 101;

/** @param by what heads are compared by: their weights, or their activations on calibration images */
const rotated = (by: 'weights' | 'activations'): MergeRule => ({
  ...(by === 'activations' ? { needs: ['inputs'] as const } : {}),
  ties: true,
  keys(weights, groups, sizes, statistics) {
    const { q, k } = turnedKeys(weights, groups, sizes, by === 'weights' ? null : statistics);
    return { q: projectionOf(q), k: pooled(projectionOf(k), groups) };
  },
  values(weights, groups, sizes, statistics) {
    const { v, o } = turnedValues(weights, groups, sizes, by === 'weights' ? null : statistics);
    return { v: pooled(projectionOf(v), groups), proj: outputOf(o, weights.proj.bias) };
  },
});

export const rotatedOnWeights = rotated('weights');
export const rotatedOnActivations = rotated('activations');

/** Queries and keys turned alike: the model is the same. @param statistics null: by weights */
export function turnedKeys(
  weights: AttentionWeights,
  groups: Groups,
  sizes: LayerSizes,
  statistics: LayerStatistics | null,
): { q: Head[]; k: Head[] } {
  const [queries, keys] = [headsOfProjection(weights.q, sizes.headDim), headsOfProjection(weights.k, sizes.headDim)];
  const metric = statistics === null ? null : withoutOnes(inputProducts(statistics, sizes));
  const turns = turnsOf(
    keys.map(({ weight }) => weight),
    metric,
    groups,
  );
  const turn = (head: Head, h: number): Head => turned(head, turns[h] as Matrix);
  return { q: queries.map(turn), k: keys.map(turn) };
}

/** Values, and the columns of the output projection that read them. */
export function turnedValues(
  weights: AttentionWeights,
  groups: Groups,
  sizes: LayerSizes,
  statistics: LayerStatistics | null,
): { v: Head[]; o: Matrix[] } {
  const [values, outputs] = [headsOfProjection(weights.v, sizes.headDim), outputHeads(weights.proj, sizes.headDim)];
  const turns =
    statistics === null
      ? turnsOf(
          values.map(({ weight }) => weight),
          null,
          groups,
        )
      : turnsOf(values.map(withBias), inputProducts(statistics, sizes), groups);
  return {
    v: values.map((head, h) => turned(head, turns[h] as Matrix)),
    o: outputs.map((o, h) => timesTransposed(o, turns[h] as Matrix)),
  };
}

const turned = ({ weight, bias }: Head, turn: Matrix): Head => ({
  weight: multiply(turn, weight),
  bias: multiply(turn, bias),
});

/** To the last bits: a fixed point. */
const isSame = (a: Matrix, b: Matrix): boolean =>
  a.data.every((value, i) => Math.abs(value - (b.data[i] as number)) < 1e-13);

/**
 * R_h [E, E] for every head. M is the group's first head, then the mean of R_h A_h; R_h = U Wᵀ of M C A_hᵀ = U S Wᵀ
 * maximises tr(R_h A_h C Mᵀ). All that a round needs are the products A_i C A_jᵀ.
 * @param heads  A_h
 * @param metric C; null: the identity
 */
function turnsOf(heads: readonly Matrix[], metric: Matrix | null, groups: Groups): Matrix[] {
  const size = heads[0]?.rows ?? 0;
  const turns = heads.map(() => identity(size));
  for (const members of membersOf(groups)) {
    if (members.length === 1) continue;
    const own = members.map((h) => heads[h] as Matrix);
    const products = own.map((a) => {
      const weighed = metric === null ? a : multiply(a, metric);
      return own.map((b) => timesTransposed(weighed, b)); // A_i C A_jᵀ
    });
    let current = own.map(() => identity(size));
    for (let round = 0; round < ROUNDS; round++) {
      // M C A_jᵀ, but for a positive factor, which changes no turn
      const towards = own.map((_, j) =>
        round === 0
          ? (products[0]?.[j] as Matrix)
          : sumOf(current.map((turn, i) => multiply(turn, products[i]?.[j] as Matrix))),
      );
      const before = current;
      current = towards.map(nearestOrthogonal);
      if (current.every((turn, i) => isSame(turn, before[i] as Matrix))) break; // further rounds would repeat it
    }
    for (const [i, h] of members.entries()) turns[h] = current[i] as Matrix;
  }
  return turns;
}
