/** What a directory of cases of the neighbouring methods says of itself; form: test/reference/README.md. */
import fs from 'node:fs';
import { z } from 'zod';
import { GqaError } from '../errors.js';

const labels = z.array(z.number().int().nonnegative());
const perLayer = z.array(labels);
const pairs = z.array(z.tuple([z.number(), z.number()]));

const schema = z.object({
  model: z.object({
    embedDim: z.number(),
    numHeads: z.number(),
    depth: z.number(),
    imageSize: z.number(),
    patchSize: z.number(),
    numClasses: z.number(),
    mlpRatio: z.number(),
  }),
  batch: z.number().int().positive(),
  steps: z.number().int().positive(),
  adamw: z.object({
    lr: z.number(),
    betas: z.tuple([z.number(), z.number()]),
    eps: z.number(),
    weightDecay: z.number(),
  }),
  qcqa: z.object({
    layers: z.array(
      z.object({
        groupings: z.array(z.object({ name: z.string(), labels, wseK: z.number(), wseV: z.number(), kv: z.number() })),
        best: z.array(
          z.object({ kvHeads: z.number(), sizes: z.enum(['free', 'equal', 'neighbours']), wse: z.number() }),
        ),
      }),
    ),
    stage2: z.array(
      z.object({
        kvHeads: z.number(),
        layersGrouped: z.array(z.array(z.number())),
        kvCache: z.array(z.number()),
        wse: z.array(z.number()),
        front: z.array(z.number()),
      }),
    ),
  }),
  asymgqa: z.object({
    layers: z.array(
      z.object({
        groupings: z.array(z.object({ name: z.string(), labels, actMse: z.number(), actCos: z.number() })),
        best: z.array(
          z.object({ kvHeads: z.number(), sizes: z.enum(['free', 'equal']), actMse: z.number(), actCos: z.number() }),
        ),
      }),
    ),
  }),
  conversion: z.array(z.object({ name: z.string(), labels: perLayer, valueLabels: perLayer.optional() })),
  rotation: z.array(
    z.object({
      name: z.string(),
      labels: perLayer,
      metric: z.enum(['weights', 'activations']),
      errorBefore: pairs,
      errorAfter: pairs,
    }),
  ),
  sharedBasis: z.array(
    z.object({ name: z.string(), labels: perLayer, metric: z.enum(['weights', 'activations']), error: pairs }),
  ),
  sharedBasisAttention: z.array(
    z.object({
      name: z.string(),
      labels: perLayer,
      error: z.array(
        z.object({ keysStart: z.number(), keys: z.number(), valuesStart: z.number(), values: z.number() }),
      ),
      kl: z.number(),
    }),
  ),
  wgqa: z.array(
    z.object({
      name: z.string(),
      form: z.enum(['scalar', 'out', 'in']),
      labels: perLayer,
      losses: z.array(z.number()),
    }),
  ),
});

export type NeighboursIndex = z.output<typeof schema>;

export function readNeighboursIndex(file: string): NeighboursIndex {
  try {
    return schema.parse(JSON.parse(fs.readFileSync(file, 'utf8')));
  } catch (cause) {
    const detail = cause instanceof z.ZodError ? z.prettifyError(cause) : (cause as Error).message;
    throw new GqaError('data', `${file}: not an index of cases of the neighbouring methods: ${detail}`, { cause });
  }
}
