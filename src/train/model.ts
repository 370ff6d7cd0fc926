/** A model ready to compute: from a checkpoint, converted where need be, or from scratch. */
import { type ModelCard, writeModel } from '../checkpoint/model-file.js';
import { readCheckpoint } from '../checkpoint/read.js';
import type { Write } from '../checkpoint/write-safetensors.js';
import type { Preprocessing } from '../config/preprocessing.js';
import type { Config } from '../config/schema.js';
import { arrangementOf, isArranged } from '../convert/arrange.js';
import {
  type ConversionPlan,
  type Converted,
  convertRead,
  type Gather,
  type LayerRecord,
} from '../convert/checkpoint.js';
import { groupingsOf, groupsOfLayers } from '../convert/convert.js';
import { folded } from '../convert/fold.js';
import { groupingRule } from '../convert/groupings.js';
import type { MergeRule } from '../convert/merges/rule.js';
import { mergeRule } from '../convert/merges.js';
import { GqaError } from '../errors.js';
import { type AttentionValues, initialAttention } from '../model/attention-state.js';
import {
  figureInWords,
  kvHeadsFigure,
  neighbours,
  sameGrouping,
  sharesNothing,
  sharingInWords,
} from '../model/grouping.js';
import { initialModel, initialValues, parameterSpecs, type Values } from '../model/params.js';
import { layerShapes, type ModelShape } from '../model/sizes.js';
import { type VariantName, variantOf } from '../model/variants.js';
import type { EvaluatedModel } from './snapshot.js';

export type Model = {
  shape: ModelShape;
  variant: VariantName;
  values: Values;
  /** A key-driven variant's state. */
  attention: AttentionValues;
};

/**
 * @param merge by which a checkpoint's heads become KV heads; null where nothing is merged
 * @throws GqaError `usage` when a variant cannot be had with the groups of a layer, or with a merge
 */
export function requireFitting(shape: ModelShape, variant: VariantName, merge: MergeRule | null): void {
  const { perturb, allocate } = variantOf(variant);
  const hint = 'Choose another variant, or a grouping whose groups have one size.';
  for (const layer of layerShapes(shape)) {
    const problem = perturb?.problem(layer) ?? null;
    if (problem !== null)
      throw new GqaError('usage', `variant ${variant} does not fit layer ${layer.index}: ${problem}`, { hint });
    if (layer.groups !== layer.valueGroups && (perturb ?? allocate) !== undefined)
      throw new GqaError('usage', `variant ${variant} has one grouping, but layer ${layer.index} groups values apart`, {
        hint: 'Leave out model.group_values and value_groups, or choose variant gqa.',
      });
  }
  if (allocate !== undefined && merge?.ties)
    throw new GqaError(
      'usage',
      `variant ${variant} hands query heads to other KV heads as it goes, but model.merge ties each of them to its own`,
      { hint: 'Choose model.merge mean or first, or variant gqa.' },
    );
}

export interface BuiltModel {
  model: Model;
  /** Whether `attention` holds what a checkpoint saved; false: as before any training, to be calibrated. */
  attentionSaved: boolean;
  /** KV heads of the checkpoint, or of each of its layers; null from scratch. */
  fromKvHeads: number | number[] | null;
  /**
   * Why the head was drawn afresh, so that a figure before training means nothing; null when it was taken over, and
   * from scratch.
   */
  freshHead: string | null;
  /** The classes' names, where the checkpoint has them; else empty. */
  classes: string[];
  /** What a checkpoint of our own says of itself; null for others and from scratch. */
  card: ModelCard | null;
  /** For each layer and place of a head the place that it had in the checkpoint; null from scratch. */
  order: number[][] | null;
  /** How each layer was converted; null where nothing was merged. */
  layers: LayerRecord[] | null;
  layerChoices: Converted['layerChoices'];
  /** What a user should know of how the model came to be, a line each. */
  notices: string[];
  /**
   * What may make the figures wrong and nothing here can decide, a line each: kept in the run's record and reported
   * again at its end.
   */
  warnings: string[];
}

/** A config's model with equal groups of neighbours. */
export function shapeOf(model: Config['model'], numClasses: number): ModelShape {
  const { imageSize, patchSize, embedDim, depth, heads, kvHeads, mlpRatio } = model;
  const grouping = neighbours(depth, heads, kvHeads);
  return { imageSize, patchSize, embedDim, depth, heads, grouping, mlpRatio, numClasses };
}

/** What a config says of conversion. */
export function conversionPlan({ model, seed }: Pick<Config, 'model' | 'seed'>): ConversionPlan {
  const { grouping, merge, search, groupValues, kvHeads, kvBudget, refit, calibrateOn, variant, depth } = model;
  return {
    grouping: groupingRule(grouping, depth),
    merge: mergeRule(merge),
    wanted: kvBudget === null ? { each: kvHeads } : { together: kvBudget },
    refit: refit === 'output',
    apart: groupValues === 'apart',
    ...{ search, seed, variant, calibrateOn },
  };
}

/** The shape of a model that no checkpoint begins: heads of a group side by side. */
export function scratchShape(config: Pick<Config, 'model' | 'seed'>, numClasses: number): ModelShape {
  const sizes = shapeOf(config.model, numClasses);
  const plan = conversionPlan(config);
  const found = groupsOfLayers(plan.grouping, null, sizes, plan.wanted, null, plan);
  return {
    ...sizes,
    ...groupingsOf(found.map((groups) => (isArranged(groups) ? groups : arrangementOf(groups).groups))),
  };
}

/**
 * @param checkpoint a safetensors file, or null for a model from scratch
 * @param classes    the data set's, in order; a head of others is drawn afresh. null: as many as the checkpoint has
 * @param gather     called where grouping or merge ask for statistics
 * @param measure    whether each layer's error is computed
 * @throws GqaError when the file does not fit or cannot be read
 */
export async function buildModel(
  checkpoint: string | null,
  config: Pick<Config, 'model' | 'seed'>,
  classes: readonly string[] | null,
  gather: Gather,
  measure = false,
): Promise<BuiltModel> {
  const { model: asked, seed } = config;
  const { variant } = asked;
  const plan = conversionPlan(config);
  const sizes = shapeOf(asked, classes?.length ?? 0);
  if (checkpoint === null) return fromScratch(scratchShape(config, sizes.numClasses), variant, seed);
  const known =
    plan.grouping.fixed && 'each' in plan.wanted
      ? groupingsOf(groupsOfLayers(plan.grouping, null, sizes, plan.wanted, null, plan))
      : {};
  const numClasses = classes?.length ?? null;
  const read = readCheckpoint(checkpoint, { ...sizes, ...known, numClasses }, seed, classes);
  if (sharesNothing(read.shape)) requireFitting({ ...read.shape, ...known }, variant, plan.merge);
  const converted = await convertRead(read, checkpoint, plan, gather, measure ? [] : null);
  const { values, shape, order, fromKvHeads } = converted;
  requireFitting(shape, variant, null);
  const { card, fresh, warnings } = read;
  const attentionSaved =
    card !== null &&
    card.variant === variant &&
    card.state !== null &&
    sameGrouping(card.model.grouping, shape.grouping);
  return {
    model: {
      shape,
      variant,
      values: withAdded(values, shape, variant, seed),
      attention: attentionSaved ? (card.state ?? []) : initialAttention(shape, variant),
    },
    attentionSaved,
    fromKvHeads,
    freshHead: read.freshBecause,
    classes: read.classes,
    card,
    order,
    layers: converted.layers,
    layerChoices: converted.layerChoices,
    notices: [
      `${checkpoint}: ${Object.keys(read.values).length - fresh.length} of ${Object.keys(read.values).length} tensors taken over`,
      ...mergedNotice(fromKvHeads, shape, asked),
      ...read.notices,
    ],
    warnings,
  };
}

/**
 * The same model for measuring: what a variant merges in every step is merged once, so that it costs what GQA costs.
 */
export function forEvaluation(built: BuiltModel): BuiltModel {
  const { shape, variant, values } = built.model;
  if (variantOf(variant).fold === undefined) return built;
  return { ...built, model: { ...built.model, variant: 'gqa', values: folded(values, shape, variant) } };
}

function fromScratch(shape: ModelShape, variant: VariantName, seed: number): BuiltModel {
  requireFitting(shape, variant, null);
  const values = initialModel(shape, variant, seed);
  return {
    model: { shape, variant, values, attention: initialAttention(shape, variant) },
    attentionSaved: false,
    fromKvHeads: null,
    freshHead: null,
    classes: [],
    card: null,
    order: null,
    layers: null,
    layerChoices: null,
    notices: ['from scratch'],
    warnings: [],
  };
}

/** The values, and initial ones of the parameters that the variant adds. */
const withAdded = (values: Values, shape: ModelShape, variant: VariantName, seed: number): Values => ({
  ...Object.fromEntries(
    Object.entries(parameterSpecs(shape, variant)).flatMap(([name, { role }]) =>
      name in values || role === 'head' ? [] : [[name, initialValues(name, shape, seed, variant)]],
    ),
  ),
  ...values,
});

function mergedNotice(fromKvHeads: number | number[], shape: ModelShape, asked: Config['model']): string[] {
  if (shape.valueGrouping === undefined && `${fromKvHeads}` === `${kvHeadsFigure(shape.grouping)}`) return [];
  const from = figureInWords(fromKvHeads).replace('KV ', '');
  const to = sharingInWords(shape);
  if (variantOf(asked.variant).keepsHeads) return [`K and V of ${from} are kept; the step merges them to ${to}`];
  const how = asked.merge === 'mean' ? 'mean-pooled' : `merged (${asked.merge})`;
  const refit = asked.refit === 'output' ? ', output projections fitted again' : '';
  return [`K and V of ${from} ${how} to ${to}${refit}`];
}

/**
 * Writes the model's file (host sync: every parameter is read back, one at a time).
 * @param steps optimizer steps behind it
 * @param record what it carries on: warnings of how it came to be, and how images were made ready for it
 * @throws GqaError `training` when a parameter is not finite: such a file must not take the place of a good one
 */
export function writeTrainedModel(
  write: Write,
  { shape, variant }: Pick<Model, 'shape' | 'variant'>,
  { read, attention }: EvaluatedModel,
  classes: string[],
  steps: number,
  record: { warnings: readonly string[]; images: Preprocessing },
): void {
  const finiteValueOf = (name: string): Float32Array => finite(name, read(name), steps);
  writeModel(write, finiteValueOf, { variant, model: shape, classes, state: attention, steps, ...record });
}

/** The values. @throws GqaError `training` when one is not finite. @param steps optimizer steps behind them */
export function finite(name: string, values: Float32Array, steps: number): Float32Array {
  if (!allFinite(values))
    throw new GqaError('training', `${name} is not finite after step ${steps}`, {
      hint: 'Lower train.lr, or add train.warmup_steps.',
    });
  return values;
}

/** 0 · x is 0 for every finite x, and NaN for the others; a sum of them shows it without a branch for each value. */
export function allFinite(values: Float32Array): boolean {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += 0 * (values[i] as number);
  return sum === 0;
}
