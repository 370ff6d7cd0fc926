/**
 * A model on disk: safetensors with timm's names, and in its metadata what the shapes alone do not tell: sizes,
 * variant, classes and the variant's state.
 */
import { z } from 'zod';
import type { Preprocessing } from '../config/preprocessing.js';
import { GqaError } from '../errors.js';
import { groupsProblem, neighbours } from '../model/grouping.js';
import { parameterSpecs } from '../model/params.js';
import type { ModelShape } from '../model/sizes.js';
import { VARIANTS } from '../model/variants.js';
import type { Safetensors } from './safetensors.js';
import { type Write, writeSafetensors } from './write-safetensors.js';

const positive = z.number().int().positive();

const triple = z.tuple([z.number(), z.number(), z.number()]);

const sizes = {
  imageSize: positive,
  patchSize: positive,
  embedDim: positive,
  depth: positive,
  heads: positive,
  mlpRatio: z.number().positive(),
  numClasses: z.number().int().nonnegative(),
  layerNormEps: z.number().positive().optional(),
  globalPool: z.literal('avg').optional(),
};

const imagesSchema = z.strictObject({
  mean: triple,
  std: triple,
  resize: z.enum(['squash', 'crop']),
  cropPct: z.number().nullable(),
  interpolation: z.enum(['bilinear', 'bicubic']),
});

const groupingSchema = z.array(z.array(z.number().int().nonnegative()).readonly()).readonly();

const common = {
  /** A name of the table of variants. */
  variant: z.string().refine((name) => name in VARIANTS, 'is no variant of this version'),
  /** Class names in the order of the head's outputs. */
  classes: z.array(z.string()),
  /** A key-driven variant's state, one map of vectors [K] for each block, or null when it was never filled. */
  state: z.array(z.record(z.string(), z.array(z.number()))).nullable(),
  /** Optimizer steps behind these values. */
  steps: z.number().int().nonnegative(),
  /** What may make every figure wrong, as it was found when the first checkpoint was read. */
  warnings: z.array(z.string()).optional(),
};

const cardSchema = z.strictObject({
  /** Version of this form. */
  form: z.literal(2),
  ...common,
  model: z.strictObject({
    ...sizes,
    /** For each layer the group of every head. */
    grouping: groupingSchema,
    /** Of values, where they are grouped apart. */
    valueGrouping: groupingSchema.optional(),
  }),
  /**
   * What was done with every image; files from before there was a choice leave it out, and are of mean and std 0.5,
   * squashed bilinearly.
   */
  images: imagesSchema.optional(),
});

/** Before layers could differ: equal groups of neighbours, and another word for images. */
const firstForm = z.strictObject({
  form: z.literal(1),
  ...common,
  model: z.strictObject({ ...sizes, kvHeads: positive }),
  pictures: imagesSchema.optional(),
});

const anyForm = z.union([cardSchema, firstForm]).transform((card): z.output<typeof cardSchema> => {
  if (card.form === 2) return card;
  const { kvHeads, ...model } = card.model;
  const { pictures, ...rest } = card;
  const grouping = neighbours(model.depth, model.heads, kvHeads);
  return { ...rest, form: 2, model: { ...model, grouping }, ...(pictures === undefined ? {} : { images: pictures }) };
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
    const card = anyForm.parse(JSON.parse(text));
    const { grouping, valueGrouping = grouping, depth, heads } = card.model;
    for (const each of [grouping, valueGrouping]) {
      const problem = each.map((groups) => groupsProblem(groups, heads)).find((one) => one !== null);
      if (problem !== undefined || each.length !== depth)
        throw new Error(`grouping: a layer ${problem ?? 'is missing'}`);
    }
    return card;
  } catch (cause) {
    throw new GqaError('io', `${file.path}: its metadata “${METADATA_KEY}” cannot be understood`, {
      cause,
      hint: 'It was written by another version of gqa, or changed by hand.',
    });
  }
}

/** What a card says beside the model's values; warnings are only written when there are some. */
export type CardContent = Omit<ModelCard, 'form' | 'warnings'> & {
  model: ModelShape;
  warnings?: readonly string[] | undefined;
};

/**
 * Writes the file, a tensor at a time. `format: pt` is what timm and Hugging Face look for before they load a file.
 * @param valuesOf asked once for each parameter, in the order of the file
 */
export function writeModel(
  write: Write,
  valuesOf: (name: string) => Float32Array,
  { warnings = [], ...card }: CardContent,
): void {
  const tensors = Object.entries(parameterSpecs(card.model, card.variant))
    .filter(([, { role }]) => card.model.numClasses > 0 || role !== 'head')
    .map(([name, { shape }]) => ({ name, shape, data: () => valuesOf(name) }));
  writeSafetensors(write, tensors, {
    format: 'pt',
    [METADATA_KEY]: JSON.stringify({ form: 2, ...card, ...(warnings.length > 0 ? { warnings } : {}) }),
  });
}
