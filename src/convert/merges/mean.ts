/** Mean pooling. Source: Ainslie et al. 2023, arXiv:2305.13245, §2.1; key-driven-gqa `att_weight_conversion`. */
import { type Groups, membersOf } from '../../model/grouping.js';
import type { Projection } from '../../model/weights.js';
import type { MergeRule } from './rule.js';

export const mean: MergeRule = {
  keys: ({ q, k }, groups) => ({ q, k: pooled(k, groups) }),
  values: ({ v, proj }, groups) => ({ v: pooled(v, groups), proj }),
};

export const pooled = ({ weight, bias }: Projection, groups: Groups): Projection => ({
  weight: meanOfHeads(weight, groups),
  bias: meanOfHeads(bias, groups),
});

/**
 * Mean over the heads of each group.
 * @param values [H·E, …] with the head axis first, as torch stores a projection
 * @returns      [K·E, …]
 */
export function meanOfHeads(values: Float32Array, groups: Groups): Float32Array {
  const headLength = values.length / groups.length;
  const members = membersOf(groups);
  const found = new Float32Array(members.length * headLength);
  for (const [g, heads] of members.entries()) {
    for (let i = 0; i < headLength; i++) {
      let sum = 0;
      for (const head of heads) sum += values[head * headLength + i] as number;
      found[g * headLength + i] = sum / heads.length;
    }
  }
  return found;
}
