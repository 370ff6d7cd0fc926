/** What a way of merging is: how the heads of a group become one key-value head. Keys and values are merged apart. */
import type { Groups } from '../../model/grouping.js';
import type { AttentionWeights, LayerSizes, Projection } from '../../model/weights.js';
import type { LayerStatistics, StatisticName } from '../statistics.js';

export interface MergeRule {
  /** Statistics of the MHA model on calibration images that the rule looks at. */
  needs?: readonly StatisticName[];
  /**
   * Query heads are tied to the KV head of their group, since part of it went into them: a variant that hands query
   * heads to other KV heads would give them what they cannot read.
   */
  ties?: true;
  /**
   * @param weights of MHA: K = H
   * @returns a key head for each group, and the queries that read them
   */
  keys(
    weights: AttentionWeights,
    groups: Groups,
    sizes: LayerSizes,
    statistics: LayerStatistics | null,
  ): { q: Projection; k: Projection };
  /** @returns a value head for each group, and the output projection that reads them */
  values(
    weights: AttentionWeights,
    groups: Groups,
    sizes: LayerSizes,
    statistics: LayerStatistics | null,
  ): { v: Projection; proj: Projection };
}

/** Both. */
export function merged(
  { keys, values }: MergeRule,
  weights: AttentionWeights,
  groups: { keys: Groups; values: Groups },
  sizes: LayerSizes,
  statistics: LayerStatistics | null,
): AttentionWeights {
  return { ...keys(weights, groups.keys, sizes, statistics), ...values(weights, groups.values, sizes, statistics) };
}
