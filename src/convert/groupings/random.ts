/** Equal groups of heads drawn at random: the control that tells what a search gains from what luck gives. */
import { draws } from '../../random.js';
import { randomPartition } from '../search/swap.js';
import { pooledCost } from './neighbours.js';
import { type GroupingRule, together } from './rule.js';

export const random: GroupingRule = {
  fixed: true,
  layer: (input) => (kvHeads) => {
    const { index, sizes, plan } = input;
    if (sizes.heads % kvHeads !== 0) return null;
    const from = draws(plan.seed, 'grouping/random', index, kvHeads);
    const drawn = (): readonly number[] => randomPartition(sizes.heads, kvHeads, 'equal', from);
    const keys = drawn();
    const error = pooledCost(input, keys);
    return plan.apart ? { ...together(keys, error), values: drawn() } : together(keys, error);
  },
};
