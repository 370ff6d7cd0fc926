/**
 * How much an error of a layer moves the model's output, for sharing a budget of KV heads out over layers: errors of
 * different layers, and of keys and values, are not alike (an early layer's runs through all that follow). Each layer, and
 * each side where they are grouped apart, is converted alone, and how far the class token's features move on calibration
 * images is divided by the error of the grouping there. Ours.
 */
import type { Groups } from '../model/grouping.js';
import type { Values } from '../model/params.js';
import type { AttentionWeights, LayerSizes, Projection } from '../model/weights.js';
import { attentionOf, valuesOf } from './convert.js';
import type { FoundGroups } from './groupings/rule.js';
import { type MergeRule, merged } from './merges/rule.js';
import type { LayerStatistics } from './statistics.js';

/** What a unit of error does, by layer. */
export interface Sensitivity {
  keys: number;
  values: number;
}

/**
 * @param probes   a grouping of each layer with fewer KV heads than heads
 * @param distance squared distance of the features of a model of these values from MHA's, in parts of their own square
 */
export async function sensitivities(
  values: Values,
  probes: readonly FoundGroups[],
  merge: MergeRule,
  sizes: LayerSizes,
  statistics: readonly LayerStatistics[] | null,
  apart: boolean,
  distance: (values: Values) => Promise<number>,
): Promise<Sensitivity[]> {
  const found: Sensitivity[] = [];
  for (const [i, { keys, values: ofValues, errors }] of probes.entries()) {
    const weights = attentionOf(values, i);
    const after = merged(merge, weights, { keys, values: ofValues }, sizes, statistics?.[i] ?? null);
    const moved = (sides: Partial<AttentionWeights>): Promise<number> =>
      distance({ ...values, ...valuesOf({ ...weights, ...sides }, i) });
    const [k, v] = [expanded(after.k, keys, sizes), expanded(after.v, ofValues, sizes)];
    const per = (distance: number, error: number): number => (error > 0 ? distance / error : 0);
    if (apart)
      found.push({
        keys: per(await moved({ q: after.q, k }), errors.keys),
        values: per(await moved({ v, proj: after.proj }), errors.values),
      });
    else {
      const both = per(await moved({ q: after.q, k, v, proj: after.proj }), errors.keys + errors.values);
      found.push({ keys: both, values: both });
    }
  }
  return found;
}

/** A KV head of a group for each of its heads again: a model of MHA's form, so that one program measures all. */
function expanded({ weight, bias }: Projection, groups: Groups, { headDim, embedDim }: LayerSizes): Projection {
  const rows = (of: Float32Array, length: number): Float32Array => {
    const found = new Float32Array(groups.length * length);
    for (const [head, group] of groups.entries())
      found.set(of.subarray(group * length, (group + 1) * length), head * length);
    return found;
  };
  return { weight: rows(weight, headDim * embedDim), bias: rows(bias, headDim) };
}
