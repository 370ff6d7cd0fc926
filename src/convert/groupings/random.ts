/** Equal groups of heads drawn at random: the control that tells what a search gains from what luck gives. */
import type { Groups } from '../../model/grouping.js';
import { draws } from '../../random.js';
import { randomPartition } from '../search/swap.js';
import { pooledCosts } from './neighbours.js';
import { type GroupingRule, together } from './rule.js';

export const random: GroupingRule = {
  fixed: true,
  layer: (input) => (keyHeads, valueHeads) => {
    const { index, sizes, plan } = input;
    if (sizes.heads % keyHeads !== 0 || sizes.heads % valueHeads !== 0) return null;
    const from = draws(plan.seed, 'grouping/random', index, keyHeads);
    const drawn = (kvHeads: number): Groups => randomPartition(sizes.heads, kvHeads, 'equal', from);
    const keys = drawn(keyHeads);
    const values = plan.apart ? drawn(valueHeads) : keys;
    return { ...together(keys, pooledCosts(input, keys, values)), values };
  },
};
