/**
 * From an MHA model to a grouped one, layer by layer: which heads go together, how they become one, and side by side.
 * Pure: values on the host in, values out; no file, no tensor of TensorFlow.js.
 */
import { GqaError } from '../errors.js';
import { type Grouping, sameGrouping } from '../model/grouping.js';
import type { Values } from '../model/params.js';
import type { ModelShape } from '../model/sizes.js';
import type { AttentionWeights, LayerSizes, Projection } from '../model/weights.js';
import { arrangeHeads, arrangementOf, isArranged } from './arrange.js';
import { shareOut } from './budget.js';
import type { FoundGroups, GroupingRule, LayerGroups, SearchPlan } from './groupings/rule.js';
import { type MergeRule, merged } from './merges/rule.js';
import type { Sensitivity } from './sensitivity.js';
import type { LayerStatistics } from './statistics.js';

/** How many KV heads are wanted: in every layer, or in all layers together. */
export type Wanted = { each: number } | { together: number };

/** The sizes of a model that its layers' attention depends on. */
type Sizes = Pick<ModelShape, 'depth' | 'heads' | 'embedDim'>;

export const sizesOf = ({ heads, embedDim }: Sizes): LayerSizes => ({ heads, embedDim, headDim: embedDim / heads });

/**
 * The groups of every layer.
 * @param values     of the MHA model; null for a model from scratch
 * @param statistics what the rule needs, by layer; null when it needs nothing
 * @param sensitivity what a unit of error does in each layer, for a budget; null: the same everywhere
 * @throws GqaError `usage` when the rule has no groups for so many KV heads
 */
export function groupsOfLayers(
  rule: GroupingRule,
  values: Values | null,
  shape: Sizes,
  wanted: Wanted,
  statistics: readonly LayerStatistics[] | null,
  plan: SearchPlan,
  sensitivity: readonly Sensitivity[] | null = null,
): FoundGroups[] {
  const { depth, heads } = shape;
  const layers = Array.from({ length: depth }, (_, index) =>
    rule.layer({
      index,
      sizes: sizesOf(shape),
      weights: values === null ? null : attentionOf(values, index),
      statistics: statistics?.[index] ?? null,
      plan,
    }),
  );
  const counts = countsFor(layers, heads, wanted, plan.apart, sensitivity);
  if (counts === null)
    throw noGroups(`${'together' in wanted ? wanted.together : 0} KV heads in all for ${depth} layers`);
  return layers.map((find, i) => {
    const { keyHeads, valueHeads } = counts[i] as { keyHeads: number; valueHeads: number };
    const found = find(keyHeads, valueHeads);
    if (found === null)
      throw noGroups(
        `${keyHeads === valueHeads ? keyHeads : `${keyHeads} key and ${valueHeads} value`} heads of ${heads}`,
      );
    return found;
  });
}

type Find = ReturnType<GroupingRule['layer']>;

/**
 * Key heads and value heads of each layer. A budget is shared out by the errors; where keys and values are grouped apart,
 * they have a budget of twice as many heads together, so that the side which loses more gets more.
 * @returns null where the budget is too small
 */
function countsFor(
  known: readonly Find[],
  heads: number,
  wanted: Wanted,
  apart: boolean,
  sensitivity: readonly Sensitivity[] | null,
): { keyHeads: number; valueHeads: number }[] | null {
  if ('each' in wanted) return known.map(() => ({ keyHeads: wanted.each, valueHeads: wanted.each }));
  const errorsOf = (pick: (errors: FoundGroups['errors']) => number): (number | null)[][] =>
    known.map((find, i) =>
      Array.from({ length: heads + 1 }, (_, k) => {
        const found = k === 0 ? null : find(k, k);
        if (found === null) return null;
        const { keys, values } = sensitivity?.[i] ?? { keys: 1, values: 1 };
        return pick({ keys: keys * found.errors.keys, values: values * found.errors.values });
      }),
    );
  if (!apart)
    return (
      shareOut(
        errorsOf(({ keys, values }) => keys + values),
        wanted.together,
      )?.map((k) => ({ keyHeads: k, valueHeads: k })) ?? null
    );
  const sides = [...errorsOf(({ keys }) => keys), ...errorsOf(({ values }) => values)];
  const counts = shareOut(sides, 2 * wanted.together);
  return counts === null
    ? null
    : known.map((_, i) => ({ keyHeads: counts[i] as number, valueHeads: counts[i + known.length] as number }));
}

const noGroups = (what: string): GqaError =>
  new GqaError('usage', `the grouping has none with ${what}`, { hint: 'Choose another number, or another grouping.' });

export interface ConvertedLayer {
  /** As `weights`, with heads and groups where they were. */
  merged: AttentionWeights;
  weights: AttentionWeights;
  groups: LayerGroups;
  /** For each place of a query head the place that it had. */
  order: number[];
}

/**
 * @param weights of MHA
 * @param merge   null: every head keeps its keys and values, for a variant that merges them itself
 * @param arrange whether heads of a group are put side by side; without it the groups are the ones given
 */
export function convertLayer(
  weights: AttentionWeights,
  groups: LayerGroups,
  merge: MergeRule | null,
  sizes: LayerSizes,
  statistics: LayerStatistics | null,
  arrange = true,
): ConvertedLayer {
  const alone = (labels: readonly number[]): boolean => labels.every((group, head) => group === head);
  const order = groups.keys.map((_, head) => head);
  if (alone(groups.keys) && alone(groups.values)) return { merged: weights, weights, groups, order };
  const found = merge === null ? weights : merged(merge, weights, groups, sizes, statistics);
  if (!arrange || isArranged(groups)) return { merged: found, weights: found, groups, order };
  const arrangement = arrangementOf(groups);
  const arranged = arrangeHeads(found, arrangement, sizes, merge === null ? 'heads' : 'groups');
  return { merged: found, weights: arranged, groups: arrangement.groups, order: arrangement.heads };
}

/** The part of a shape that says who reads whom. */
export function groupingsOf(layers: readonly LayerGroups[]): Pick<ModelShape, 'grouping' | 'valueGrouping'> {
  const [grouping, valueGrouping] = [layers.map(({ keys }) => keys), layers.map(({ values }) => values)];
  return sameGrouping(grouping, valueGrouping) ? { grouping } : { grouping, valueGrouping };
}

export interface Regrouped {
  values: Values;
  shape: ModelShape;
  /** For each layer and new place of a head the place that it had. */
  order: number[][];
}

/** All layers at once, groups and statistics being known. @param values of an MHA model of `shape` */
export function regroup(
  values: Values,
  shape: ModelShape,
  layers: readonly LayerGroups[],
  merge: MergeRule | null,
  statistics: readonly LayerStatistics[] | null = null,
  arrange = true,
): Regrouped {
  const converted = layers.map((groups, i) =>
    convertLayer(attentionOf(values, i), groups, merge, sizesOf(shape), statistics?.[i] ?? null, arrange),
  );
  return {
    values: Object.assign({ ...values }, ...converted.map(({ weights }, i) => valuesOf(weights, i))),
    shape: { ...shape, valueGrouping: undefined, ...groupingsOf(converted.map(({ groups }) => groups)) },
    order: converted.map(({ order }) => order),
  };
}

/** The same groups for keys and values in every layer. */
export const sharedGroups = (grouping: Grouping): LayerGroups[] =>
  grouping.map((groups) => ({ keys: groups, values: groups }));

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
