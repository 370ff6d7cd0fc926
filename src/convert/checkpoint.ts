/**
 * A checkpoint as a model of the wanted grouping: read as it is, a variant's own parameters folded, then grouped where
 * it is MHA, layer by layer.
 */
import { otherHeads, type ReadCheckpoint, readCheckpoint, type WantedShape } from '../checkpoint/read.js';
import { divisorsOf, kvHeadsFigure, kvHeadsOf, sameGrouping, sharesNothing } from '../model/grouping.js';
import type { Values } from '../model/params.js';
import type { ModelShape } from '../model/sizes.js';
import { type VariantName, variantOf } from '../model/variants.js';
import { draws } from '../random.js';
import { arrangementOf, isArranged } from './arrange.js';
import {
  attentionOf,
  convertLayer,
  groupingsOf,
  groupsOfLayers,
  regroup,
  sharedGroups,
  sizesOf,
  valuesOf,
  type Wanted,
} from './convert.js';
import { folded } from './fold.js';
import {
  type FoundGroups,
  type GroupingRule,
  type LayerGroups,
  type SearchPlan,
  type SearchRecord,
  searchingOnce,
} from './groupings/rule.js';
import { ERROR_NEEDS, type LayerError, layerError } from './layer-error.js';
import { mean } from './merges/mean.js';
import type { MergeRule } from './merges/rule.js';
import { type OutputSums, refitted } from './refit.js';
import { type LayerChoice, stage2 } from './search/qcqa.js';
import { type Sensitivity, sensitivities } from './sensitivity.js';
import type { LayerStatistics, StatisticName } from './statistics.js';

/** What the config says of conversion. */
export interface ConversionPlan extends SearchPlan {
  grouping: GroupingRule;
  merge: MergeRule;
  wanted: Wanted;
  /** Whether the output projections are fitted again. */
  refit: boolean;
  /** Whose inputs of attention merging looks at: MHA's, or those of the model whose earlier layers are converted. */
  calibrateOn: 'mha' | 'converted';
  variant: VariantName;
}

export interface Weighted {
  values: Values;
  shape: ModelShape;
}

/** From one MHA model. */
export interface Distances {
  of(values: Values): Promise<number>;
  close(): void;
}

/** What conversion asks of models on calibration images. */
export interface Gather {
  /** Of every layer, or of one (a list of that one). */
  statistics(model: Weighted, names: readonly StatisticName[], layer: number | null): Promise<LayerStatistics[]>;
  /**
   * How far the class token's features of models of MHA's form are from MHA's, squared, in parts of their own square; one
   * program for all of them, which `close` ends.
   */
  distances(mha: Weighted): Promise<Distances>;
  /** What a layer's output projection reads in the converted model, and what it should give. */
  outputs(mha: Weighted, converted: Weighted, layer: number): Promise<{ fit: OutputSums; held: OutputSums }>;
}

/** What a record says of a layer's conversion. */
export interface LayerRecord {
  groups: LayerGroups;
  searches: SearchRecord[];
  /** Of the output projection; null where none was asked for. */
  refit: { ridge: number | null; before: number; after: number } | null;
  /** Null unless it was asked for. */
  error: LayerError | null;
}

export interface Converted extends Weighted {
  /** KV heads of the checkpoint, or of each of its layers; equal to the wanted ones when nothing was merged. */
  fromKvHeads: number | number[];
  /** For each layer and place of a head the place that it had in the checkpoint. */
  order: number[][];
  /** Null where nothing was merged. */
  layers: LayerRecord[] | null;
  /** QCQA's stage 2: choices of layers to group that no other dominates; null for other groupings. */
  layerChoices: LayerChoice[] | null;
}

/**
 * @param read   the checkpoint of `path`
 * @param measure statistics that each layer's error is computed by, by those of the merge, or by weights, where it is
 *   empty; null: it is not
 * @throws GqaError `usage` when the file is grouped already and in another way
 */
export async function convertRead(
  read: ReadCheckpoint,
  path: string,
  plan: ConversionPlan,
  gather: Gather,
  measure: readonly LayerStatistics[] | null = null,
): Promise<Converted> {
  const own = { values: read.values, shape: read.shape };
  const fromKvHeads = kvHeadsFigure(read.shape.grouping);
  if (sharesNothing(read.shape)) {
    const mha = { ...own, values: folded(own.values, own.shape, read.card?.variant ?? 'mha') };
    return { ...(await convertMha(mha, plan, gather, measure)), fromKvHeads };
  }
  const { card, shape } = read;
  const { grouping: rule, wanted } = plan;
  if (rule.fixed && 'each' in wanted) requireSame(read, path, groupsOfLayers(rule, null, shape, wanted, null, plan));
  const order = asItIs(shape);
  const values = card === null || card.variant === plan.variant ? own.values : folded(own.values, shape, card.variant);
  return { values, shape, fromKvHeads, order, layers: null, layerChoices: null };
}

/**
 * A checkpoint mean-pooled into the groups of a shape, which needs neither images nor a search.
 * @param classes see `readCheckpoint`
 * @throws GqaError as `readCheckpoint`, and `usage` when the file is grouped already and in another way
 */
export function convertCheckpoint(
  path: string,
  shape: WantedShape,
  seed: number,
  classes: readonly string[] | null = null,
): ReadCheckpoint & Pick<Converted, 'fromKvHeads' | 'order'> {
  const read = readCheckpoint(path, shape, seed, classes);
  const fromKvHeads = kvHeadsFigure(read.shape.grouping);
  const groups = sharedGroups(shape.grouping);
  if (sharesNothing(read.shape)) return { ...read, ...regroup(read.values, read.shape, groups, mean), fromKvHeads };
  requireSame(read, path, groups);
  return { ...read, fromKvHeads, order: asItIs(read.shape) };
}

/** @throws GqaError `usage` when a file of ours holds other groups */
function requireSame({ card, shape }: ReadCheckpoint, path: string, asked: readonly LayerGroups[]): void {
  if (card === null || sameGroups(shape, asked.map(arranged))) return;
  throw otherHeads({ path }, card, { heads: shape.heads, grouping: asked.map(({ keys }) => keys) });
}

const asItIs = ({ grouping }: ModelShape): number[][] => grouping.map((groups) => groups.map((_, head) => head));

const arranged = (groups: LayerGroups): LayerGroups => (isArranged(groups) ? groups : arrangementOf(groups).groups);

function sameGroups(shape: ModelShape, layers: readonly LayerGroups[]): boolean {
  const { grouping, valueGrouping = grouping } = groupingsOf(layers);
  return sameGrouping(shape.grouping, grouping) && sameGrouping(shape.valueGrouping ?? shape.grouping, valueGrouping);
}

/** Of a model of MHA. */
export async function convertMha(
  mha: Weighted,
  plan: ConversionPlan,
  gather: Gather,
  measure: readonly LayerStatistics[] | null,
): Promise<Omit<Converted, 'fromKvHeads'>> {
  const sizes = sizesOf(mha.shape);
  const merge = variantOf(plan.variant).keepsHeads ? null : plan.merge;
  const onStream = plan.calibrateOn === 'converted' && merge?.needs !== undefined;
  const needs = [...new Set([...(plan.grouping.needs ?? []), ...(onStream ? [] : (merge?.needs ?? []))])];
  const statistics = needs.length === 0 ? null : await gather.statistics(mha, needs, null);
  const rule = searchingOnce(plan.grouping);
  const groupsFor = (wanted: Wanted, sensitivity: Sensitivity[] | null): FoundGroups[] =>
    groupsOfLayers(rule, mha.values, mha.shape, wanted, statistics, plan, sensitivity);
  const budgeted = 'together' in plan.wanted && merge !== null;
  const probes = budgeted ? groupsFor({ each: probedHeads(mha.shape.heads) }, null) : [];
  const sensitivity = budgeted ? await probed(mha, probes, merge, statistics, plan.apart, gather) : null;
  const found = groupsFor(plan.wanted, sensitivity);
  const layers: LayerRecord[] = [];
  const order: number[][] = [];
  let model: Weighted = mha;
  for (const [i, { keys, values, searches }] of found.entries()) {
    const [own] = onStream ? await gather.statistics(model, merge?.needs ?? [], i) : [statistics?.[i]];
    const before = attentionOf(mha.values, i);
    const groups = { keys, values };
    const layer = convertLayer(before, groups, merge, sizes, own ?? null);
    const by = measure?.[i] ?? measurable(own);
    const error = measure === null || merge === null ? null : layerError(before, layer.merged, groups, sizes, by);
    order.push(layer.order);
    model = withLayer(model, i, layer);
    let refit: LayerRecord['refit'] = null;
    if (plan.refit && merge !== null) {
      const { fit, held } = await gather.outputs(mha, model, i);
      const { proj, ...found } = refitted(layer.weights.proj, fit, held);
      refit = found;
      model = withLayer(model, i, { ...layer, weights: { ...layer.weights, proj } });
    }
    layers.push({ groups: layer.groups, searches, refit, error });
  }
  const judged = found.map(({ keys, errors }) => ({
    kvHeads: kvHeadsOf(keys),
    heads: mha.shape.heads,
    error: errors.keys + errors.values,
  }));
  const layerChoices = plan.grouping.choosesLayers ? stage2(judged, draws(plan.seed, 'grouping/stage2')) : null;
  return { ...model, order, layers, layerChoices };
}

/** A third of the heads, or as much less as equal groups can have. */
const probedHeads = (heads: number): number => divisorsOf(heads).findLast((k) => k <= heads / 3) ?? 1;

async function probed(
  mha: Weighted,
  probes: readonly FoundGroups[],
  merge: MergeRule,
  statistics: readonly LayerStatistics[] | null,
  apart: boolean,
  gather: Gather,
): Promise<Sensitivity[]> {
  const distances = await gather.distances(mha);
  try {
    return await sensitivities(mha.values, probes, merge, sizesOf(mha.shape), statistics, apart, distances.of);
  } finally {
    distances.close();
  }
}

/** What a layer's error can be computed by; null: by weights alone. */
const measurable = (own: LayerStatistics | undefined): LayerStatistics | null =>
  own !== undefined && ERROR_NEEDS.every((name) => own[name] !== undefined) ? own : null;

function withLayer(
  { values, shape }: Weighted,
  index: number,
  { weights, groups }: Pick<ReturnType<typeof convertLayer>, 'weights' | 'groups'>,
): Weighted {
  const of = (i: number): LayerGroups => {
    const keys = shape.grouping[i] as LayerGroups['keys'];
    return i === index ? groups : { keys, values: shape.valueGrouping?.[i] ?? keys };
  };
  return {
    values: { ...values, ...valuesOf(weights, index) },
    shape: { ...shape, valueGrouping: undefined, ...groupingsOf(shape.grouping.map((_, i) => of(i))) },
  };
}
