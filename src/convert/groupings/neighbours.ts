/**
 * Groups of heads that lie side by side: equal ones (Ainslie et al. 2023, arXiv:2305.13245, §2.1), or, where the number
 * of KV heads does not divide that of the heads, as equal as can be.
 */
import type { Groups } from '../../model/grouping.js';
import { weightError } from '../metrics/pooled.js';
import { costOf } from '../search/partition.js';
import { type GroupingInput, type GroupingRule, together } from './rule.js';

export const neighbouring = (heads: number, kvHeads: number): Groups =>
  Array.from({ length: heads }, (_, head) => Math.floor((head * kvHeads) / heads));

export const neighbours: GroupingRule = {
  fixed: true,
  layer: (input) => (kvHeads) => {
    const groups = neighbouring(input.sizes.heads, kvHeads);
    return together(groups, pooledCost(input, groups));
  },
};

/** QCQA's weight-sharing error, for rules that have no measure of their own. */
export function pooledCost({ weights, sizes }: GroupingInput, groups: Groups): number {
  if (weights === null) return 0;
  const { keys, values } = weightError.of(weights, sizes, null);
  return costOf((members) => keys(members) + values(members), groups);
}
