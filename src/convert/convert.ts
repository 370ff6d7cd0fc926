/**
 * From an MHA model to a grouped one, layer by layer: which heads go together, how they become one, and side by side.
 * Pure: values on the host in, values out; no file, no tensor of TensorFlow.js.
 */
import { type Grouping, type Groups, isMha, isSorted } from '../model/grouping.js';
import type { Values } from '../model/params.js';
import { layerShape, type ModelShape } from '../model/sizes.js';
import type { AttentionWeights, Projection } from '../model/weights.js';
import { arrangedGroups, arrangeHeads, orderOf } from './arrange.js';
import type { GroupingRule } from './groupings/rule.js';
import type { MergeRule } from './merges/rule.js';
import type { LayerStatistics } from './statistics.js';

/**
 * The group of every head, layer by layer.
 * @param values     of the MHA model; null for a model from scratch
 * @param kvHeads    wanted in every layer; a rule may give others
 * @param statistics what the rule needs, by layer; null when it needs nothing
 */
export function groupsOfLayers(
  rule: GroupingRule,
  values: Values | null,
  shape: Omit<ModelShape, 'grouping' | 'numClasses'>,
  kvHeads: number,
  statistics: readonly LayerStatistics[] | null,
): Grouping {
  const { depth, heads, embedDim } = shape;
  const sizes = { heads, embedDim, headDim: embedDim / heads };
  return Array.from({ length: depth }, (_, index) =>
    rule.group({
      index,
      sizes,
      kvHeads,
      weights: values === null ? null : attentionOf(values, index),
      statistics: statistics?.[index] ?? null,
    }),
  );
}

export interface Regrouped {
  values: Values;
  grouping: Grouping;
  /** For each layer and new place of a head the place that it had. */
  order: number[][];
}

/**
 * @param values  of an MHA model of `shape`
 * @param arrange whether heads of a group are put side by side; without it the grouping is the one given
 */
export function regroup(
  values: Values,
  shape: ModelShape,
  grouping: Grouping,
  merge: MergeRule,
  statistics: readonly LayerStatistics[] | null = null,
  arrange = true,
): Regrouped {
  if (!isMha(shape.grouping)) throw new Error('only MHA is grouped');
  const found: Regrouped = { values: { ...values }, grouping: [], order: [] };
  for (const [index, groups] of grouping.entries()) {
    const { heads, headDim, embedDim } = layerShape(shape, index);
    const sizes = { heads, headDim, embedDim };
    let weights = attentionOf(values, index);
    const untouched = groups.every((group, head) => group === head);
    if (!untouched) weights = merge.merge(weights, groups, sizes, statistics?.[index] ?? null);
    const moves = arrange && !isSorted(groups);
    const order = moves ? orderOf(groups) : groups.map((_, head) => head);
    if (moves) weights = arrangeHeads(weights, order, sizes);
    Object.assign(found.values, valuesOf(weights, index));
    (found.grouping as Groups[]).push(moves ? arrangedGroups(groups) : groups);
    found.order.push(order);
  }
  return found;
}

const PARTS = ['q', 'k', 'v', 'proj'] as const;

export const attentionOf = (values: Values, index: number): AttentionWeights =>
  Object.fromEntries(
    PARTS.map((part): [string, Projection] => {
      const name = `blocks.${index}.attn.${part}`;
      return [part, { weight: values[`${name}.weight`] as Float32Array, bias: values[`${name}.bias`] as Float32Array }];
    }),
  ) as unknown as AttentionWeights;

export const valuesOf = (weights: AttentionWeights, index: number): Values =>
  Object.fromEntries(
    PARTS.flatMap((part) => [
      [`blocks.${index}.attn.${part}.weight`, weights[part].weight],
      [`blocks.${index}.attn.${part}.bias`, weights[part].bias],
    ]),
  );
