/**
 * A model on disk: safetensors with timm's names, and in its metadata what the shapes alone do not tell: sizes,
 * variant, classes and the variant's state.
 */
import { z } from 'zod';
import type { Preprocessing } from '../config/preprocessing.js';
import { GqaError } from '../errors.js';
import { parameterSpecs } from '../model/params.js';
import type { ModelShape } from '../model/sizes.js';
import { encodeSafetensors, type Safetensors } from './safetensors.js';

const positive = z.number().int().positive();

const triple = z.tuple([z.number(), z.number(), z.number()]);

const cardSchema = z.strictObject({
  /** Version of this form. */
  form: z.literal(1),
  variant: z.string(),
  model: z.strictObject({
    imageSize: positive,
    patchSize: positive,
    embedDim: positive,
    depth: positive,
    heads: positive,
    kvHeads: positive.optional(),
    grouping: z.array(z.array(z.number()).readonly()).readonly(),
    mlpRatio: z.number().positive(),
    numClasses: z.number().int().nonnegative(),
    layerNormEps: z.number().positive().optional(),
  }),
  /**
   * What was done with every image; files from before there was a choice leave it out, and are of mean and std 0.5,
   * squashed bilinearly.
   */
  images: z
    .strictObject({
      mean: triple,
      std: triple,
      resize: z.enum(['squash', 'crop']),
      cropPct: z.number().nullable(),
      interpolation: z.enum(['bilinear', 'bicubic']),
    })
    .optional(),
  /** Class names in the order of the head's outputs. */
  classes: z.array(z.string()),
  /** A key-driven variant's state, one map of vectors [K] for each block, or null when it was never filled. */
  state: z.array(z.record(z.string(), z.array(z.number()))).nullable(),
  /** Optimizer steps behind these values. */
  steps: z.number().int().nonnegative(),
  /** What may make every figure wrong, as it was found when the first checkpoint was read. */
  warnings: z.array(z.string()).optional(),
});

export type ModelCard = Omit<z.output<typeof cardSchema>, 'images'> & { images?: Preprocessing | undefined };

const METADATA_KEY = 'gqa';

/**
 * @returns what a file of ours says of itself, null for any other checkpoint.
 * @throws GqaError `io` when it is garbled
 */
export function readModelCard(file: Safetensors): ModelCard | null {
  const text = file.metadata[METADATA_KEY];
  if (text === undefined) return null;
  try {
    return cardSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new GqaError('io', `${file.path}: its metadata “${METADATA_KEY}” cannot be understood`, {
      cause,
      hint: 'It was written by another version of gqa, or changed by hand.',
    });
  }
}

/**
 * The file's bytes; warnings are only written when there are some. `format: pt` is what timm and Hugging Face look for
 * before they load a file.
 */
export function encodeModel(
  valuesOf: (name: string) => Float32Array,
  {
    warnings = [],
    ...card
  }: Omit<ModelCard, 'form' | 'warnings'> & { model: ModelShape; warnings?: readonly string[] | undefined },
): Buffer {
  const tensors = Object.fromEntries(
    Object.entries(parameterSpecs(card.model))
      .filter(([name]) => card.model.numClasses > 0 || !name.startsWith('head.'))
      .map(([name, { shape }]) => [name, { shape, data: valuesOf(name) }]),
  );
  return encodeSafetensors(tensors, {
    format: 'pt',
    [METADATA_KEY]: JSON.stringify({ form: 1, ...card, ...(warnings.length > 0 ? { warnings } : {}) }),
  });
}
