/** What a directory of cases of the neighbouring methods says of itself; form: test/reference/README.md. */
import { z } from 'zod';
import { commonFields, parsedIndex } from './index.js';

const labels = z.array(z.number().int().nonnegative());
const perLayer = z.array(labels);
const pairs = z.array(z.tuple([z.number(), z.number()]));

const schema = z.object({
  ...commonFields,
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

export const readNeighboursIndex = (file: string): NeighboursIndex =>
  parsedIndex(file, schema, 'cases of the neighbouring methods');
