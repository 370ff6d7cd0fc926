/** What a directory of reference cases says of itself. */
import fs from 'node:fs';
import { z } from 'zod';
import { GqaError } from '../errors.js';

const rows = z.array(z.array(z.array(z.number())));

/** What every index begins with: the model's sizes, batches, and AdamW. */
export const commonFields = {
  model: z.object({
    embedDim: z.number(),
    numHeads: z.number(),
    depth: z.number(),
    imageSize: z.number(),
    patchSize: z.number(),
    numClasses: z.number(),
    mlpRatio: z.number(),
    layerNormEps: z.literal(1e-6),
  }),
  batch: z.number().int().positive(),
  steps: z.number().int().positive(),
  adamw: z.object({
    lr: z.number(),
    betas: z.tuple([z.number(), z.number()]),
    eps: z.number(),
    weightDecay: z.number(),
  }),
};

const indexSchema = z.object({
  ...commonFields,
  windowSize: z.number().int().positive(),
  cases: z.array(
    z.object({
      name: z.string(),
      scheme: z.string(),
      kvHeads: z.number().int().positive(),
      deterministic: z.boolean(),
      losses: z.array(z.number()),
      splits: rows.nullable(),
      knorms: rows.nullable(),
      caches: rows.nullable(),
    }),
  ),
});

export type Index = z.output<typeof indexSchema>;
export type Case = Index['cases'][number];

export const readIndex = (file: string): Index => parsedIndex(file, indexSchema, 'attention cases');

/** @param of what the file is an index of, for messages */
export function parsedIndex<T>(file: string, schema: z.ZodType<T>, of: string): T {
  try {
    return schema.parse(JSON.parse(fs.readFileSync(file, 'utf8')));
  } catch (cause) {
    const detail = cause instanceof z.ZodError ? z.prettifyError(cause) : (cause as Error).message;
    throw new GqaError('data', `${file}: not an index of ${of}: ${detail}`, { cause });
  }
}
