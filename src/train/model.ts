/** A model ready to compute: from a checkpoint, converted where need be, or from scratch. */
import type * as tf from '@tensorflow/tfjs-core';
import { convertCheckpoint } from '../checkpoint/convert.js';
import { encodeModel, type ModelCard } from '../checkpoint/model-file.js';
import type { VariantName } from '../config/names.js';
import type { Preprocessing } from '../config/preprocessing.js';
import type { Config } from '../config/schema.js';
import { counted } from '../counted.js';
import { GqaError } from '../errors.js';
import { initialParams, type Params, paramsFrom } from '../model/params.js';
import type { ModelShape } from '../model/sizes.js';
import type { BlockState } from '../model/variants/key-driven.js';
import { attentionFrom, attentionValues, initialAttention } from './state.js';

export type Model = {
  shape: ModelShape;
  variant: VariantName;
  params: Params;
  /** A key-driven variant's state, one for each block; empty objects for the others. */
  attention: BlockState[];
};

export interface BuiltModel {
  model: Model;
  /** Whether `attention` holds what a checkpoint saved; false: as before any training, to be calibrated. */
  attentionSaved: boolean;
  /** KV heads of the checkpoint, null from scratch. */
  fromKvHeads: number | null;
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
  return { imageSize, patchSize, embedDim, depth, heads, kvHeads, mlpRatio, numClasses };
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
  if (checkpoint === null) {
    const model = { shape, variant, params: initialParams(shape, seed), attention: initialAttention(shape, variant) };
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
    card !== null && card.variant === variant && card.model.kvHeads === shape.kvHeads && card.state !== null;
  const notices = [
    `${checkpoint}: ${Object.keys(values).length - fresh.length} of ${Object.keys(values).length} tensors taken over`,
  ];
  if (fromKvHeads !== shape.kvHeads)
    notices.push(`K and V of ${counted(fromKvHeads, 'head')} mean-pooled to ${counted(shape.kvHeads, 'KV head')}`);
  notices.push(...converted.notices);
  const params = paramsFrom(shape, (name) => values[name] as Float32Array);
  const attention = attentionSaved ? attentionFrom(card.state ?? []) : initialAttention(shape, variant);
  return {
    model: { shape: converted.shape, variant, params, attention },
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
  { shape, variant, params, attention }: Model,
  classes: string[],
  steps: number,
  record: { warnings: readonly string[]; images: Preprocessing },
): Buffer {
  const valuesOf = (name: string): Float32Array => {
    const values = (params[name] as tf.Tensor).dataSync() as Float32Array;
    if (!allFinite(values))
      throw new GqaError('training', `${name} is not finite after step ${steps}`, {
        hint: 'Lower train.lr, or add train.warmup_steps.',
      });
    return values;
  };
  return encodeModel(valuesOf, { variant, model: shape, classes, state: attentionValues(attention), steps, ...record });
}

/** 0 · x is 0 for every finite x, and NaN for the others; a sum of them shows it without a branch for each value. */
function allFinite(values: Float32Array): boolean {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += 0 * (values[i] as number);
  return sum === 0;
}
