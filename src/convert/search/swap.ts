/**
 * Hill climbing: swaps two heads of different groups, or with free sizes moves one, and keeps what is better. 3,000
 * proposals from each of 200 beginnings, of which the first is neighbours; fewer where nothing was found for long.
 * Source: fpcsong/mha2gqa `rearrange_model.py` (arXiv:2412.20677), which swaps; moves are our reading of AsymGQA's
 * "asymmetric" groups (arXiv:2406.14963).
 */
import { type Groups, kvHeadsOf, membersOf } from '../../model/grouping.js';
import type { Draws } from '../../random.js';
import { costOf, type GroupCost, type Partitioned, renumbered, type Sizes } from './partition.js';

const PROPOSALS = 3000;
const BEGINNINGS = 200;

/**
 * @param first where the first climb begins: the result is never worse
 * @param most  climbs, for a cost that takes long
 */
export function swap(
  cost: GroupCost,
  first: Groups,
  sizes: Sizes,
  from: Draws,
  most = Number.POSITIVE_INFINITY,
): Partitioned {
  let best: Partitioned = { groups: first, error: costOf(cost, first) };
  if (kvHeadsOf(first) === 1 || kvHeadsOf(first) === first.length) return best;
  for (let i = 0; i < Math.min(BEGINNINGS, Math.max(1, most)); i++) {
    const begin = i === 0 ? first : randomPartition(first.length, kvHeadsOf(first), sizes, from);
    const climbed = climb(cost, begin, sizes, from);
    if (climbed.error < best.error) best = climbed;
  }
  return { ...best, groups: renumbered(best.groups) };
}

function climb(cost: GroupCost, begin: Groups, sizes: Sizes, from: Draws): Partitioned {
  const members = membersOf(begin);
  const costs = members.map((heads) => cost(heads));
  const patience = begin.length ** 2 * 4; // proposals without success: every pair was tried several times
  let since = 0;
  for (let i = 0; i < PROPOSALS && since < patience; i++, since++) {
    const [a, b] = twoOf(members.length, from);
    const [of, to] = [members[a] as number[], members[b] as number[]];
    const moved = sizes === 'free' && from.bits() % 2 === 0;
    if (moved && of.length === 1) continue; // no group is emptied
    const x = of[from.below(of.length)] as number;
    const y = moved ? null : (to[from.below(to.length)] as number);
    const nextOf = [...of.filter((head) => head !== x), ...(y === null ? [] : [y])];
    const nextTo = [...to.filter((head) => head !== y), x];
    const [costA, costB] = [cost(nextOf), cost(nextTo)];
    if (costA + costB >= (costs[a] as number) + (costs[b] as number)) continue;
    members[a] = nextOf;
    members[b] = nextTo;
    costs[a] = costA;
    costs[b] = costB;
    since = 0;
  }
  const groups = new Array<number>(begin.length).fill(0);
  for (const [group, heads] of members.entries()) for (const head of heads) groups[head] = group;
  return { groups, error: costs.reduce((sum, each) => sum + each, 0) };
}

function twoOf(n: number, from: Draws): [number, number] {
  const a = from.below(n);
  const b = from.below(n - 1);
  return [a, b < a ? b : b + 1];
}

/** `equal`: all groups of one size; `free`: each has one head at least. */
export function randomPartition(heads: number, kvHeads: number, sizes: Sizes, from: Draws): Groups {
  const order = shuffled(heads, from);
  const groups = new Array<number>(heads);
  for (const [place, head] of order.entries())
    groups[head] =
      sizes === 'equal' ? Math.floor((place * kvHeads) / heads) : place < kvHeads ? place : from.below(kvHeads);
  return renumbered(groups);
}

export function shuffled(n: number, from: Draws): number[] {
  const order = Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = from.below(i + 1);
    [order[i], order[j]] = [order[j] as number, order[i] as number];
  }
  return order;
}
