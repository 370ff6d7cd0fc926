/** A model ready to compute: from a checkpoint, converted where need be, or from scratch. */
import { encodeModel, type ModelCard } from '../checkpoint/model-file.js';
import type { Preprocessing } from '../config/preprocessing.js';
import type { Config } from '../config/schema.js';
import { convertCheckpoint } from '../convert/checkpoint.js';
import { GqaError } from '../errors.js';
import { type AttentionValues, initialAttention } from '../model/attention-state.js';
import { figureInWords, kvHeadsFigure, kvHeadsInWords, neighbours, sameGrouping } from '../model/grouping.js';
import { initialModel, type Values } from '../model/params.js';
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

/** @throws GqaError `usage` when a variant cannot be had with the groups of a layer */
export function requireFitting(shape: ModelShape, variant: VariantName): void {
  const { perturb } = variantOf(variant);
  for (const layer of layerShapes(shape)) {
    const problem = perturb?.problem(layer) ?? null;
    if (problem !== null)
      throw new GqaError('usage', `variant ${variant} does not fit layer ${layer.index}: ${problem}`, {
        hint: 'Choose another variant, or a grouping whose groups have one size.',
      });
  }
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
  /** What a user should know of how the model came to be, a line each. */
  notices: string[];
  /**
   * What may make the figures wrong and nothing here can decide, a line each: kept in the run's record and told again
   * at its end.
   */
  warnings: string[];
}

export function shapeOf(model: Config['model'], numClasses: number): ModelShape {
  const { imageSize, patchSize, embedDim, depth, heads, kvHeads, mlpRatio } = model;
  const grouping = neighbours(depth, heads, kvHeads);
  return { imageSize, patchSize, embedDim, depth, heads, grouping, mlpRatio, numClasses };
}

/**
 * @param checkpoint a safetensors file, or null for a model from scratch
 * @param classes    the data set's, in order; a head of others is drawn afresh
 * @throws GqaError when the file does not fit or cannot be read
 */
export function buildModel(
  checkpoint: string | null,
  shape: ModelShape,
  variant: VariantName,
  seed: number,
  classes: readonly string[],
): BuiltModel {
  requireFitting(shape, variant);
  if (checkpoint === null) {
    const values = initialModel(shape, variant, seed);
    const model = { shape, variant, values, attention: initialAttention(shape, variant) };
    return {
      model,
      attentionSaved: false,
      fromKvHeads: null,
      freshHead: null,
      classes: [],
      card: null,
      notices: ['from scratch'],
      warnings: [],
    };
  }
  const converted = convertCheckpoint(checkpoint, shape, seed, classes);
  const { values, fromKvHeads, fresh, card, warnings } = converted;
  const attentionSaved =
    card !== null &&
    card.variant === variant &&
    card.state !== null &&
    sameGrouping(card.model.grouping, converted.shape.grouping);
  const notices = [
    `${checkpoint}: ${Object.keys(values).length - fresh.length} of ${Object.keys(values).length} tensors taken over`,
  ];
  if (`${fromKvHeads}` !== `${kvHeadsFigure(shape.grouping)}`)
    notices.push(
      `K and V of ${figureInWords(fromKvHeads).replace('KV ', '')} mean-pooled to ${kvHeadsInWords(shape.grouping)}`,
    );
  notices.push(...converted.notices);
  const attention = attentionSaved ? (card.state ?? []) : initialAttention(shape, variant);
  return {
    model: { shape: converted.shape, variant, values, attention },
    attentionSaved,
    fromKvHeads,
    freshHead: converted.freshBecause,
    classes: converted.classes,
    card,
    notices,
    warnings,
  };
}

/**
 * The model's file (host sync: every parameter is read back).
 * @param steps optimizer steps behind it
 * @param record what it carries on: warnings of how it came to be, and how images were made ready for it
 * @throws GqaError `training` when a parameter is not finite: such a file must not take the place of a good one
 */
export function modelFile(
  { shape, variant }: Pick<Model, 'shape' | 'variant'>,
  { read, attention }: EvaluatedModel,
  classes: string[],
  steps: number,
  record: { warnings: readonly string[]; images: Preprocessing },
): Buffer {
  const finiteValueOf = (name: string): Float32Array => {
    const values = read(name);
    if (!allFinite(values))
      throw new GqaError('training', `${name} is not finite after step ${steps}`, {
        hint: 'Lower train.lr, or add train.warmup_steps.',
      });
    return values;
  };
  return encodeModel(finiteValueOf, { variant, model: shape, classes, state: attention, steps, ...record });
}

/** 0 · x is 0 for every finite x, and NaN for the others; a sum of them shows it without a branch for each value. */
function allFinite(values: Float32Array): boolean {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += 0 * (values[i] as number);
  return sum === 0;
}
