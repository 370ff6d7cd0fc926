/** A model ready to compute: from a checkpoint, converted where need be, or from scratch. */
import type * as tf from '@tensorflow/tfjs-core';
import { convertCheckpoint } from '../checkpoint/convert.js';
import { encodeModel, type ModelCard } from '../checkpoint/model-file.js';
import type { VariantName } from '../config/names.js';
import type { Preprocessing } from '../config/preprocessing.js';
import type { Config } from '../config/schema.js';
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
  /** Parameters that the checkpoint could not give (only ever the head). */
  fresh: string[];
  /** What a checkpoint of our own says of itself; null for others and from scratch. */
  card: ModelCard | null;
  /** What a user should know of how the model came to be, a line each. */
  notices: string[];
}

export function shapeOf(model: Config['model'], numClasses: number): ModelShape {
  const { imageSize, patchSize, embedDim, depth, heads, kvHeads, mlpRatio } = model;
  return { imageSize, patchSize, embedDim, depth, heads, kvHeads, mlpRatio, numClasses };
}

/** @param checkpoint a safetensors file, or null for a model from scratch. @throws GqaError when the file does not fit or cannot be read */
export function buildModel(checkpoint: string | null, shape: ModelShape, variant: VariantName, seed: number): BuiltModel {
  if (checkpoint === null) {
    const model = { shape, variant, params: initialParams(shape, seed), attention: initialAttention(shape, variant) };
    return { model, attentionSaved: false, fromKvHeads: null, fresh: [], card: null, notices: ['from scratch'] };
  }
  const { values, fromKvHeads, fresh, unused, card } = convertCheckpoint(checkpoint, shape, seed);
  const attentionSaved = card !== null && card.variant === variant && card.model.kvHeads === shape.kvHeads && card.state !== null;
  const notices = [`${checkpoint}: ${Object.keys(values).length - fresh.length} of ${Object.keys(values).length} tensors taken over`];
  if (fromKvHeads !== shape.kvHeads) notices.push(`K and V of ${fromKvHeads} heads mean-pooled to ${shape.kvHeads} KV heads`);
  if (fresh.length > 0) notices.push(`fresh head for ${shape.numClasses} classes: the checkpoint has another number of classes, or none`);
  if (unused.length > 0) notices.push(`unused tensors of the checkpoint: ${unused.join(', ')}`);
  const params = paramsFrom(shape, (name) => values[name] as Float32Array);
  const attention = attentionSaved ? attentionFrom(card.state ?? []) : initialAttention(shape, variant);
  return { model: { shape, variant, params, attention }, attentionSaved, fromKvHeads, fresh, card, notices };
}

/** The model's file (host sync: every parameter is read back). @param steps optimizer steps behind it. @param pictures how they were made ready for it */
export function modelFile({ shape, variant, params, attention }: Model, classes: string[], steps: number, pictures: Preprocessing): Buffer {
  const valuesOf = (name: string): Float32Array => (params[name] as tf.Tensor).dataSync() as Float32Array;
  return encodeModel(valuesOf, { variant, model: shape, classes, state: attentionValues(attention), steps, pictures });
}
