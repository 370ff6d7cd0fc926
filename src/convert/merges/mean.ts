/** Mean pooling. Source: Ainslie et al. 2023, arXiv:2305.13245, §2.1; key-driven-gqa `att_weight_conversion`. */
import { type Groups, membersOf } from '../../model/grouping.js';
import type { MergeRule } from './rule.js';

export const mean: MergeRule = {
  merge(weights, groups) {
    const pooled = ({ weight, bias }: { weight: Float32Array; bias: Float32Array }) => ({
      weight: meanOfHeads(weight, groups),
      bias: meanOfHeads(bias, groups),
    });
    return { ...weights, k: pooled(weights.k), v: pooled(weights.v) };
  },
};

/**
 * Mean over the heads of each group.
 * @param values [H·E, …] with the head axis first, as torch stores a projection
 * @returns      [K·E, …]
 */
export function meanOfHeads(values: Float32Array, groups: Groups): Float32Array {
  const headLength = values.length / groups.length;
  const members = membersOf(groups);
  const pooled = new Float32Array(members.length * headLength);
  for (const [g, heads] of members.entries()) {
    for (let i = 0; i < headLength; i++) {
      let sum = 0;
      for (const head of heads) sum += values[head * headLength + i] as number;
      pooled[g * headLength + i] = sum / heads.length;
    }
  }
  return pooled;
}
