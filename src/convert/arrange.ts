/**
 * Puts the heads of a group side by side, and the groups in order: query heads change places together with their
 * columns of the output projection, so that the function stays the same. Equal groups then are neighbours, and attention
 * needs no selection of heads.
 */
import type { Groups } from '../model/grouping.js';
import { membersOf } from '../model/grouping.js';
import type { AttentionWeights, LayerSizes, Projection } from '../model/weights.js';

/** For each new place the head that comes there, [H]. */
export const orderOf = (groups: Groups): number[] => membersOf(groups).flat();

/** The groups as they are in that order. */
export const arrangedGroups = (groups: Groups): Groups => orderOf(groups).map((head) => groups[head] as number);

/** @param order as `orderOf` gives it */
export function arrangeHeads(
  { q, k, v, proj }: AttentionWeights,
  order: readonly number[],
  { headDim, embedDim }: LayerSizes,
): AttentionWeights {
  return {
    q: { weight: rowsOf(q.weight, order, headDim * embedDim), bias: rowsOf(q.bias, order, headDim) },
    k,
    v,
    proj: columnsOf(proj, order, headDim),
  };
}

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
