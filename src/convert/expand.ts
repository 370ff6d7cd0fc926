/** A GQA model as the MHA model that computes the same: every query head gets a copy of the K/V head that it reads. */
import { type Groups, neighbours } from '../model/grouping.js';
import { parameterSpecs, type Values } from '../model/params.js';
import { layerShapes, type ModelShape } from '../model/sizes.js';

/**
 * @param values of a plain GQA model (a variant's own parameters folded)
 * @param reads by layer and query head the key head that it reads, where that is not its group's: a frozen allocation
 */
export function expanded(
  values: Values,
  shape: ModelShape,
  reads: readonly Groups[] = shape.grouping,
): { values: Values; shape: ModelShape } {
  const { grouping, valueGrouping, ...sizes } = shape;
  const mha = { ...sizes, grouping: neighbours(shape.depth, shape.heads, shape.heads) };
  const all: Values = {};
  for (const name of Object.keys(parameterSpecs(mha))) all[name] = values[name] as Float32Array;
  for (const { index, headDim } of layerShapes(shape)) {
    const readBy: Record<string, Groups> = {
      k: reads[index] as Groups,
      v: (reads === grouping ? (valueGrouping ?? reads) : reads)[index] as Groups,
    };
    for (const [part, groups] of Object.entries(readBy))
      for (const [kind, width] of [
        ['weight', headDim * shape.embedDim],
        ['bias', headDim],
      ] as const) {
        const name = `blocks.${index}.attn.${part}.${kind}`;
        const from = values[name] as Float32Array;
        const copies = new Float32Array(groups.length * width);
        for (const [head, group] of groups.entries())
          copies.set(from.subarray(group * width, (group + 1) * width), head * width);
        all[name] = copies;
      }
  }
  return { values: all, shape: mha };
}
