/**
 * Groups as the key-driven variants would allocate query heads (ours): side by side, of sizes in proportion to the key
 * norms that neighbours' mean keys have on calibration images, so that a query head's own keys and values went into the
 * KV head that it reads. Norms here are root mean squares over all images; the variants' are means over images.
 */
import { type Groups, membersOf, neighbouring } from '../../model/grouping.js';
import { headsOfProjection } from '../heads.js';
import { type Matrix, meanOf, sandwich, trace } from '../matrix.js';
import { inputProducts, withoutOnes } from '../moments.js';
import type { LayerStatistics } from '../statistics.js';
import { pooledCosts } from './neighbours.js';
import { type GroupingInput, type GroupingRule, together } from './rule.js';

/** `proportional`: as dgqa's calibration; `min-max`: as kdgqa. */
export const keyNorms = (scores: 'proportional' | 'min-max'): GroupingRule => ({
  needs: ['inputs'],
  layer: (input) => (kvHeads) => {
    const norms = pooledKeyNorms(input, kvHeads);
    const lowest = scores === 'min-max' ? Math.min(...norms) : 0;
    const counts = allocation(
      norms.map((norm) => norm - lowest),
      input.sizes.heads,
    );
    // a KV head that no query head reads takes one of the largest group, so that there are as many as were asked for
    while (counts.includes(0)) {
      const largest = counts.indexOf(Math.max(...counts));
      counts[largest] = (counts[largest] as number) - 1;
      counts[counts.indexOf(0)] = 1;
    }
    const groups: Groups = counts.flatMap((count, group) => Array<number>(count).fill(group));
    return together(groups, pooledCosts(input, groups, groups));
  },
});

/** Of neighbours' mean-pooled keys on the calibration images, [K]. */
export function pooledKeyNorms({ weights, sizes, statistics }: GroupingInput, kvHeads: number): number[] {
  if (weights === null) return Array<number>(kvHeads).fill(1);
  const covariance = withoutOnes(inputProducts(statistics as LayerStatistics, sizes));
  const keys = headsOfProjection(weights.k, sizes.headDim).map(({ weight }) => weight);
  return membersOf(neighbouring(sizes.heads, kvHeads)).map((members) => {
    const pooled = meanOf(members.map((head) => keys[head] as Matrix));
    return Math.sqrt(trace(sandwich(pooled, covariance)));
  });
}

/**
 * Query heads for each key head in proportion to scores: the same rounding as model/allocate.ts, on the host.
 * @param scores not negative
 */
export function allocation(scores: readonly number[], heads: number): number[] {
  const total = scores.reduce((sum, score) => sum + score, 0);
  const counts = scores.map((score) =>
    total > 0 ? roundHalfToEven((score * heads) / total) : Math.round(heads / scores.length),
  );
  for (let missing = heads; ; ) {
    missing = heads - counts.reduce((sum, count) => sum + count, 0);
    if (missing === 0) return counts;
    const at = counts.indexOf(missing < 0 ? Math.max(...counts) : Math.min(...counts));
    counts[at] = (counts[at] as number) + Math.sign(missing);
  }
}

function roundHalfToEven(x: number): number {
  const rounded = Math.round(x);
  return Math.abs(x % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
