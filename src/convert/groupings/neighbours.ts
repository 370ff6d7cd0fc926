/** Equal groups of heads that lie side by side. Source: Ainslie et al. 2023, arXiv:2305.13245, §2.1. */
import { type Groups, neighbours as neighbouring } from '../../model/grouping.js';
import type { GroupingRule } from './rule.js';

export const neighbours: GroupingRule = {
  fixed: true,
  group: ({ sizes, kvHeads }) => neighbouring(1, sizes.heads, kvHeads)[0] as Groups,
};
