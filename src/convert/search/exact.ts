/**
 * The best of all partitions, by dynamic programming over sets of heads: the cost is a sum over groups, so that the
 * best partition of a set is its lowest head's group and the best partition of the rest. 3^H steps for each number of
 * groups.
 */
import type { GroupCost, Partitioned, Sizes } from './partition.js';

/** More would take minutes a layer: 43 million steps for each group with 16 heads, 387 million with 18. */
export const MOST_HEADS = 16;

/**
 * @param kvHeads wanted number of groups
 * @returns the best partition into exactly so many
 * @throws RangeError with `equal` where `kvHeads` does not divide the heads
 */
export function exact(cost: GroupCost, heads: number, kvHeads: number, sizes: Sizes): Partitioned {
  if (heads > MOST_HEADS) throw new RangeError(`${heads} heads, at most ${MOST_HEADS}`);
  const size = sizes === 'free' ? null : heads / kvHeads;
  const found = bestInto(cost, heads, kvHeads, size)[kvHeads];
  if (found === undefined) throw new RangeError(`${kvHeads} does not divide ${heads}`);
  return found;
}

/** @param size of every group; null: any. @returns by number of groups, up to `most` */
function bestInto(cost: GroupCost, heads: number, most: number, size: number | null): (Partitioned | undefined)[] {
  const all = (1 << heads) - 1;
  const costs = new Float64Array(all + 1).fill(Number.POSITIVE_INFINITY);
  for (let set = 1; set <= all; set++) {
    const members = membersOfSet(set, heads);
    // a group leaves the others one head each at least
    if (size === null ? members.length <= heads - most + 1 || most === 1 : members.length === size)
      costs[set] = cost(members);
  }
  let before = new Float64Array(all + 1).fill(Number.POSITIVE_INFINITY);
  before[0] = 0;
  const taken: Int32Array[] = []; // for each number of groups and set, the group of its lowest head
  const found: (Partitioned | undefined)[] = [undefined];
  for (let k = 1; k <= most; k++) {
    const best = new Float64Array(all + 1).fill(Number.POSITIVE_INFINITY);
    const chosen = new Int32Array(all + 1);
    for (let set = 1; set <= all; set++) {
      const lowest = set & -set;
      const rest = set ^ lowest;
      for (let others = rest; ; others = (others - 1) & rest) {
        const error = (before[rest ^ others] as number) + (costs[lowest | others] as number);
        if (error < (best[set] as number)) {
          best[set] = error;
          chosen[set] = lowest | others;
        }
        if (others === 0) break;
      }
    }
    taken.push(chosen);
    const error = best[all] as number;
    found.push(Number.isFinite(error) ? { groups: groupsOf(taken, heads), error } : undefined);
    before = best;
  }
  return found;
}

/** Follows the choices back from the set of all heads. */
function groupsOf(taken: readonly Int32Array[], heads: number): number[] {
  const groups = new Array<number>(heads).fill(0);
  let set = (1 << heads) - 1;
  for (let group = 0; group < taken.length; group++) {
    const members = (taken[taken.length - 1 - group] as Int32Array)[set] as number;
    for (const head of membersOfSet(members, heads)) groups[head] = group;
    set ^= members;
  }
  return groups;
}

function membersOfSet(set: number, heads: number): number[] {
  const members: number[] = [];
  for (let head = 0; head < heads; head++) if (set & (1 << head)) members.push(head);
  return members;
}
