/** What every search over groupings works on: a cost for each group of heads, added up over the groups. */
import type { Groups } from '../../model/grouping.js';
import { membersOf } from '../../model/grouping.js';

/** What putting these heads together costs; does not depend on how heads or groups are numbered. */
export type GroupCost = (members: readonly number[]) => number;

export interface Partitioned {
  groups: Groups;
  /** The cost of its groups together. */
  error: number;
}

/** `equal`: groups of one size; `free`: any sizes. */
export type Sizes = 'equal' | 'free';

export const costOf = (cost: GroupCost, groups: Groups): number =>
  membersOf(groups).reduce((sum, members) => sum + cost(members), 0);

/** The same function, that computes each set of heads once. Sets are bits of an integer: at most 30 heads. */
export function remembered(cost: GroupCost, heads: number): GroupCost {
  if (heads > 30) return cost;
  const known = new Map<number, number>();
  return (members) => {
    let set = 0;
    for (const head of members) set |= 1 << head;
    let found = known.get(set);
    if (found === undefined) {
      found = members.length === 1 ? 0 : cost(members);
      known.set(set, found);
    }
    return found;
  };
}

/** The same groups, numbered by their first heads. */
export function renumbered(groups: Groups): Groups {
  const numbers = new Map<number, number>();
  return groups.map((group) => {
    if (!numbers.has(group)) numbers.set(group, numbers.size);
    return numbers.get(group) as number;
  });
}
