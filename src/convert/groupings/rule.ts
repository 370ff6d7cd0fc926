/** What a way of grouping is: which heads of a layer are put together. */
import type { Groups } from '../../model/grouping.js';
import type { AttentionWeights, LayerSizes } from '../../model/weights.js';
import type { LayerStatistics, StatisticName } from '../statistics.js';

/** Who shares a key head, and who a value head. */
export interface LayerGroups {
  keys: Groups;
  values: Groups;
}

/** How groups are looked for. `nsga2`: QCQA's; `none`: neighbours, in the rule's own measure. */
export type SearchName = 'exact' | 'nsga2' | 'swap' | 'none';

/** What the config says of the search. */
export interface SearchPlan {
  /** `auto`: exact where there is room, else swap. */
  search: SearchName | 'auto';
  /** Keys and values are grouped apart, each by its own part of the error. */
  apart: boolean;
  seed: number;
}

/** What a rule can look at. */
export interface GroupingInput {
  /** From 0. */
  index: number;
  sizes: LayerSizes;
  /** The layer of the MHA model; null for a model from scratch. */
  weights: AttentionWeights | null;
  /** What the rule needs; null when it needs nothing. */
  statistics: LayerStatistics | null;
  plan: SearchPlan;
}

/** What a search found; errors in the rule's own measure. */
export interface SearchRecord {
  /** Which heads were grouped: by keys, by values, or by both together. */
  of: 'both' | 'keys' | 'values';
  by: SearchName;
  error: number;
  /** Of equal neighbours; null where there are none. */
  neighbours: number | null;
  /** Of the other searches that were run, `exact` wherever there is room for it. */
  others: Partial<Record<SearchName, number>>;
  /** NSGA-II: error by number of groups. */
  front?: { kvHeads: number; error: number; groups: Groups }[];
}

export interface FoundGroups extends LayerGroups {
  /** In the rule's own measure; to share out a budget of KV heads over layers, and over keys and values. */
  errors: { keys: number; values: number };
  searches: SearchRecord[];
}

export interface GroupingRule {
  /** The groups do not depend on the model's weights: they are known before a checkpoint is read. */
  fixed?: true;
  /** QCQA: which layers are grouped at all is searched too, and reported. */
  choosesLayers?: true;
  /** Statistics of the MHA model on calibration images that the rule looks at. */
  needs?: readonly StatisticName[];
  /**
   * @returns the groups for any number of key heads and of value heads, which is another only where they are grouped
   *   apart; null where there are none with so many
   */
  layer(input: GroupingInput): (keyHeads: number, valueHeads: number) => FoundGroups | null;
}

/** The same groups for keys and values, that nothing was searched for. */
export const together = (groups: Groups, errors = { keys: 0, values: 0 }): FoundGroups => ({
  keys: groups,
  values: groups,
  errors,
  searches: [],
});

/**
 * The same rule, that looks for the groups of a layer once for each number of heads: for the layers of one model with one
 * set of statistics, whatever merges them.
 */
export function searchingOnce(rule: GroupingRule): GroupingRule {
  const layers = new Map<number, ReturnType<GroupingRule['layer']>>();
  const once = (find: ReturnType<GroupingRule['layer']>): typeof find => {
    const found = new Map<string, FoundGroups | null>();
    return (keyHeads, valueHeads) => {
      const key = `${keyHeads} ${valueHeads}`;
      if (!found.has(key)) found.set(key, find(keyHeads, valueHeads));
      return found.get(key) ?? null;
    };
  };
  return {
    ...rule,
    layer(input) {
      const find = layers.get(input.index) ?? once(rule.layer(input));
      layers.set(input.index, find);
      return find;
    },
  };
}
