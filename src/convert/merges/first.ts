/** The first head of each group stands for all: the control of Ainslie et al. 2023, arXiv:2305.13245, §3.3. */
import { type Groups, membersOf } from '../../model/grouping.js';
import type { Projection } from '../../model/weights.js';
import type { MergeRule } from './rule.js';

export const first: MergeRule = {
  keys: ({ q, k }, groups) => ({ q, k: firstHeads(k, groups) }),
  values: ({ v, proj }, groups) => ({ v: firstHeads(v, groups), proj }),
};

function firstHeads({ weight, bias }: Projection, groups: Groups): Projection {
  const of = (values: Float32Array): Float32Array => {
    const length = values.length / groups.length;
    const heads = membersOf(groups).map(([head = 0]) => values.subarray(head * length, (head + 1) * length));
    const found = new Float32Array(heads.length * length);
    for (const [g, head] of heads.entries()) found.set(head, g * length);
    return found;
  };
  return { weight: of(weight), bias: of(bias) };
}
