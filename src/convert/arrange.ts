/**
 * Puts the heads of a group side by side, and groups of one size side by side: query heads change places together with
 * their columns of the output projection, KV heads with the groups' numbers, so that the function stays the same. Equal
 * groups then are neighbours, and attention needs no selection of heads.
 */
import { type Groups, groupSizes, isNeighbours, isSorted } from '../model/grouping.js';
import type { AttentionWeights, LayerSizes, Projection } from '../model/weights.js';
import type { LayerGroups } from './groupings/rule.js';

export interface Arrangement {
  /** For each new place the query head that comes there, [H]. */
  heads: number[];
  /** The same for key heads and value heads, [K]. */
  keys: number[];
  values: number[];
  /** The groups as they are then. */
  groups: LayerGroups;
}

/** Where keys and values are grouped apart, keys lie side by side, and within them values. */
export function arrangementOf({ keys, values }: LayerGroups): Arrangement {
  const ofKeys = inOrder(keys);
  const ofValues = keys === values ? ofKeys : inOrder(values);
  const place = (order: readonly number[], group: number): number => order.indexOf(group);
  const heads = keys
    .map((_, head) => head)
    .sort(
      (a, b) =>
        place(ofKeys, keys[a] as number) - place(ofKeys, keys[b] as number) ||
        place(ofValues, values[a] as number) - place(ofValues, values[b] as number) ||
        a - b,
    );
  const moved = (groups: Groups, order: readonly number[]): Groups =>
    heads.map((head) => place(order, groups[head] as number));
  const arranged = moved(keys, ofKeys);
  return {
    heads,
    keys: ofKeys,
    values: ofValues,
    groups: { keys: arranged, values: keys === values ? arranged : moved(values, ofValues) },
  };
}

/** Numbers of the groups in their new order: as they are where that does, else the largest first. */
function inOrder(groups: Groups): number[] {
  const sizes = groupSizes(groups);
  const numbers = sizes.map((_, group) => group);
  const changes = sizes.filter((size, group) => group > 0 && size !== sizes[group - 1]).length;
  if (changes < new Set(sizes).size) return numbers;
  return numbers.sort((a, b) => (sizes[b] as number) - (sizes[a] as number) || a - b);
}

/** Whether attention takes groups as they are without selecting heads. */
export const isArranged = ({ keys, values }: LayerGroups): boolean =>
  keys === values
    ? isNeighbours(keys) || (isSorted(keys) && inOrder(keys).every((group, i) => group === i))
    : isSorted(keys);

/** @param of whether KV heads are the groups', or with `heads` still those of the query heads */
export function arrangeHeads(
  { q, k, v, proj }: AttentionWeights,
  { heads, keys, values }: Arrangement,
  { headDim }: LayerSizes,
  of: 'groups' | 'heads',
): AttentionWeights {
  return {
    q: reordered(q, heads, headDim),
    k: reordered(k, of === 'heads' ? heads : keys, headDim),
    v: reordered(v, of === 'heads' ? heads : values, headDim),
    proj: columnsOf(proj, heads, headDim),
  };
}

const reordered = ({ weight, bias }: Projection, order: readonly number[], headDim: number): Projection => ({
  weight: rowsOf(weight, order, (weight.length / bias.length) * headDim),
  bias: rowsOf(bias, order, headDim),
});

/** @param length values of a head */
function rowsOf(values: Float32Array, order: readonly number[], length: number): Float32Array {
  const moved = new Float32Array(values.length);
  for (const [place, head] of order.entries())
    moved.set(values.subarray(head * length, (head + 1) * length), place * length);
  return moved;
}

function columnsOf({ weight, bias }: Projection, order: readonly number[], headDim: number): Projection {
  const width = order.length * headDim;
  const moved = new Float32Array(weight.length);
  for (let row = 0; row < weight.length; row += width)
    for (const [place, head] of order.entries())
      moved.set(weight.subarray(row + head * headDim, row + (head + 1) * headDim), row + place * headDim);
  return { weight: moved, bias };
}
