/**
 * Groups of heads that lie side by side: equal ones (Ainslie et al. 2023, arXiv:2305.13245, §2.1), or, where the number
 * of KV heads does not divide that of the heads, as equal as can be.
 */
import { type Groups, neighbouring } from '../../model/grouping.js';
import { weightError } from '../metrics/pooled.js';
import { costOf } from '../search/partition.js';
import { type GroupingInput, type GroupingRule, together } from './rule.js';

export const neighbours: GroupingRule = {
  fixed: true,
  layer: (input) => (keyHeads, valueHeads) => {
    const { heads } = input.sizes;
    const keys = neighbouring(heads, keyHeads);
    const values = valueHeads === keyHeads ? keys : neighbouring(heads, valueHeads);
    return { ...together(keys, pooledCosts(input, keys, values)), values };
  },
};

/** QCQA's weight-sharing error, for rules that have no measure of their own. */
export function pooledCosts(
  { weights, sizes }: GroupingInput,
  keys: Groups,
  values: Groups,
): { keys: number; values: number } {
  if (weights === null) return { keys: 0, values: 0 };
  const costs = weightError.of(weights, sizes, null);
  return { keys: costOf(costs.keys, keys), values: costOf(costs.values, values) };
}
