/**
 * QCQA's searches with NSGA-II. Stage 1, within a layer: which heads go together, by number of groups and error; with
 * equal groups the number is given, so that only the error is left. Stage 2, across layers: which layers are grouped at
 * all. Source: arXiv:2406.10247, vinayjoshi22/qcqa `qcqa.py`; equal groups as a permutation of heads are our reading.
 */
import { type Groups, kvHeadsOf } from '../../model/grouping.js';
import type { Draws } from '../../random.js';
import { dominates, nsga2, POPULATION } from './nsga2.js';
import { costOf, type GroupCost, type Partitioned, renumbered, type Sizes } from './partition.js';
import { shuffled } from './swap.js';

const CROSSOVER = 0.9;
const MUTATION = 1 / 32;

/**
 * @returns the front: for each number of groups that nothing dominates the best partition, fewest groups first, and
 *   always
 *   the best that was seen with as many groups as `first`
 */
export function stage1(cost: GroupCost, first: Groups, sizes: Sizes, from: Draws): Partitioned[] {
  return sizes === 'free' ? freeSizes(cost, first, from) : equalSizes(cost, first, from);
}

function freeSizes(cost: GroupCost, first: Groups, from: Draws): Partitioned[] {
  const [heads, most] = [first.length, kvHeadsOf(first)];
  if (most === 1) return [{ groups: first, error: costOf(cost, first) }];
  const random = Array.from({ length: POPULATION - 1 }, () => Array.from({ length: heads }, () => from.below(most)));
  let best: Partitioned = { groups: first, error: costOf(cost, first) };
  const within = (value: number): number => Math.min(most - 1, Math.max(0, Math.round(value)));
  const front = nsga2<Groups>(
    {
      objectives(genes) {
        const groups = renumbered(genes);
        const error = costOf(cost, groups);
        if (kvHeadsOf(groups) === most && error < best.error) best = { groups, error };
        return [kvHeadsOf(groups), error];
      },
      cross(a, b, from) {
        if (from.uniform() >= CROSSOVER) return [a, b];
        const pairs = a.map((x, i) => simulatedBinary(x, b[i] as number, from));
        return [pairs.map(([x]) => within(x)), pairs.map(([, y]) => within(y))];
      },
      mutate: (genes, from) =>
        genes.map((x) => (from.uniform() < MUTATION ? within(x + (most - 1) * polynomialStep(from)) : x)),
      key: (genes) => renumbered(genes).join(),
    },
    [first, ...random],
    from,
  );
  const found = front.map(({ genes, objectives }) => ({ groups: renumbered(genes), error: objectives[1] as number }));
  return [...found.filter(({ groups }) => kvHeadsOf(groups) < most), best];
}

/** Heads in an order that is cut into groups of one size: order crossover, and swaps of two heads. */
function equalSizes(cost: GroupCost, first: Groups, from: Draws): Partitioned[] {
  const [heads, kvHeads] = [first.length, kvHeadsOf(first)];
  const cut = (order: readonly number[]): Groups => {
    const groups = new Array<number>(heads);
    for (const [place, head] of order.entries()) groups[head] = Math.floor((place * kvHeads) / heads);
    return renumbered(groups);
  };
  const orderOfFirst = shuffled(heads, from).sort((a, b) => (first[a] as number) - (first[b] as number));
  const random = Array.from({ length: POPULATION - 1 }, () => shuffled(heads, from));
  const [best] = nsga2<readonly number[]>(
    {
      objectives: (order) => [costOf(cost, cut(order))],
      cross: (a, b, from) =>
        from.uniform() < CROSSOVER ? [orderCrossed(a, b, from), orderCrossed(b, a, from)] : [a, b],
      mutate(order, from) {
        const next = [...order];
        for (let i = 0; i < heads; i++) {
          if (from.uniform() >= MUTATION) continue;
          const j = from.below(heads);
          [next[i], next[j]] = [next[j] as number, next[i] as number];
        }
        return next;
      },
      key: (order) => cut(order).join(),
    },
    [orderOfFirst, ...random],
    from,
  );
  const groups = cut(best?.genes ?? orderOfFirst);
  return [{ groups, error: costOf(cost, groups) }];
}

/** A piece of one parent where it stood, the rest in the order of the other. */
function orderCrossed(a: readonly number[], b: readonly number[], from: Draws): number[] {
  const [x, y] = [from.below(a.length), from.below(a.length)];
  const [begin, end] = [Math.min(x, y), Math.max(x, y) + 1];
  const piece = a.slice(begin, end);
  const others = b.filter((head) => !piece.includes(head));
  return [...others.slice(0, begin), ...piece, ...others.slice(begin)];
}

/** SBX with distribution index 15, each gene with probability 0.5; which child gets which of the two is chance. */
function simulatedBinary(x: number, y: number, from: Draws): [number, number] {
  if (from.bits() % 2 === 0) return [x, y];
  const u = from.uniform();
  const spread = u <= 0.5 ? (2 * u) ** (1 / 16) : (1 / (2 * (1 - u))) ** (1 / 16);
  const [middle, half] = [(x + y) / 2, (spread * (y - x)) / 2];
  return from.bits() % 2 === 0 ? [middle - half, middle + half] : [middle + half, middle - half];
}

/** Polynomial mutation with index 20, in parts of the range. */
function polynomialStep(from: Draws): number {
  const u = from.uniform();
  return u < 0.5 ? (2 * u) ** (1 / 21) - 1 : 1 - (2 * (1 - u)) ** (1 / 21);
}

/** A choice of layers to group: the mean share of KV heads that is left, and the errors of those layers together. */
export interface LayerChoice {
  grouped: readonly boolean[];
  kvCache: number;
  error: number;
}

/** @param layers KV heads (of how many heads) and error of each layer if it is grouped */
export const judgeLayers = (
  layers: readonly { kvHeads: number; heads: number; error: number }[],
  grouped: readonly boolean[],
): LayerChoice => ({
  grouped,
  kvCache: layers.reduce((sum, { kvHeads, heads }, i) => sum + (grouped[i] ? kvHeads / heads : 1), 0) / layers.length,
  error: layers.reduce((sum, { error }, i) => sum + (grouped[i] ? error : 0), 0),
});

/** @returns the choices that no other dominates, least KV heads first */
export function stage2(
  layers: readonly { kvHeads: number; heads: number; error: number }[],
  from: Draws,
): LayerChoice[] {
  const random = Array.from({ length: POPULATION - 2 }, () => layers.map(() => from.bits() % 2 === 0));
  const front = nsga2<readonly boolean[]>(
    {
      objectives(grouped) {
        const { kvCache, error } = judgeLayers(layers, grouped);
        return [kvCache, error];
      },
      cross(a, b, from) {
        if (from.uniform() >= CROSSOVER) return [a, b];
        const [x, y] = [from.below(a.length + 1), from.below(a.length + 1)];
        const inside = (i: number): boolean => i >= Math.min(x, y) && i < Math.max(x, y);
        const mixed = (p: readonly boolean[], q: readonly boolean[]) => p.map((gene, i) => (inside(i) ? !!q[i] : gene));
        return [mixed(a, b), mixed(b, a)];
      },
      mutate: (grouped, from) => grouped.map((gene) => (from.uniform() < MUTATION ? !gene : gene)),
      key: (grouped) => grouped.map(Number).join(''),
    },
    [layers.map(() => true), layers.map(() => false), ...random],
    from,
  );
  return front.map(({ genes }) => judgeLayers(layers, genes));
}

/** The choices of a list that no other of it dominates, as indices. */
export const frontOf = (choices: readonly LayerChoice[]): number[] => {
  const objectives = choices.map(({ kvCache, error }) => [kvCache, error]);
  return choices.flatMap((_, i) =>
    objectives.some((other) => dominates(other, objectives[i] as number[])) ? [] : [i],
  );
};
