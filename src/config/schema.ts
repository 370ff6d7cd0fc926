/**
 * The config: one strict schema with every key, default, unit and range, as written in YAML (snake_case), and the
 * resolved form that the code reads (camelCase). Problems that concern several keys are the table `crossFieldRules`.
 * Reading files and placing problems in them: load.ts.
 */
import { z } from 'zod';
import { VARIANTS, type VariantName } from '../model/variants.js';
import { dataNames, defaultDataRoot, deviceNames, sizeNames } from './names.js';

/**
 * What a model's size fixes; in timm's vision_transformer.py these are vit_{small,base,large}_patch16_224. Image and
 * patch sizes in pixels.
 */
export const modelSizes = {
  micro: { image_size: 32, patch_size: 4, embed_dim: 192, depth: 4, heads: 12, mlp_ratio: 4 },
  tiny: { image_size: 224, patch_size: 16, embed_dim: 192, depth: 12, heads: 3, mlp_ratio: 4 },
  small: { image_size: 224, patch_size: 16, embed_dim: 384, depth: 12, heads: 6, mlp_ratio: 4 },
  base: { image_size: 224, patch_size: 16, embed_dim: 768, depth: 12, heads: 12, mlp_ratio: 4 },
  large: { image_size: 224, patch_size: 16, embed_dim: 1024, depth: 24, heads: 16, mlp_ratio: 4 },
} as const;

/** The keys of `model` that the size fixes, in the order of the table. */
export const sizeKeys = ['image_size', 'patch_size', 'embed_dim', 'depth', 'heads', 'mlp_ratio'] as const;

/** One value for each colour channel. */
const triple = (value: z.ZodNumber, range: string) =>
  z
    .array(value)
    .length(3)
    .nullable()
    .default(null)
    .describe(`three numbers ${range} (red, green, blue; of pixels of 0 to 1) or null`);

const count = (lowest: number, highest = 2 ** 31 - 1) => z.int().min(lowest).max(highest);

/** The fields of the YAML file. Keys that are left out get the defaults given here. */
export const configSchema = z.strictObject({
  name: z
    .string()
    .regex(/^(?!(con|prn|aux|nul|com\d|lpt\d)(\.|$))[a-z0-9_-][a-z0-9._-]{0,99}$/i)
    .describe('a folder name of 1 to 100 letters, digits, ".", "_" or "-", that does not start with "."'),
  seed: count(0, 2 ** 32 - 1).default(42),
  device: z.enum(deviceNames).default('auto'),
  data: z.strictObject({
    name: z.enum(dataNames),
    root: z.string().min(1).default(defaultDataRoot),
    labels: z.enum(['fine', 'coarse']).default('fine'),
    val_is: z.enum(['validation', 'test']).default('validation'),
    limit: z
      .union([
        count(1),
        z.null(),
        z.strictObject({
          train: count(1).nullable().default(null),
          val: count(1).nullable().default(null),
          test: count(1).nullable().default(null),
        }),
      ])
      .default(null),
    val_fraction: z.number().gt(0).lt(1).default(0.1),
    augment: z.enum(['none', 'light', 'paper']).default('light'),
    mean: triple(z.number().min(0).max(1), 'from 0 to 1'),
    std: triple(z.number().gt(0).max(1), 'above 0 and of at most 1'),
    resize: z.enum(['squash', 'crop']).nullable().default(null),
    crop_pct: z.number().gt(0).max(1).nullable().default(null),
    interpolation: z.enum(['bilinear', 'bicubic']).nullable().default(null),
    random_erasing: z.number().min(0).max(1).default(0),
    mixup: z.number().gt(0).nullable().default(null),
    cutmix: z.number().gt(0).nullable().default(null),
    workers: z.union([count(0, 64), z.literal('auto')]).default('auto'),
    on_bad_image: z.enum(['warn', 'error', 'skip']).default('warn'),
    max_pixels: count(1).default(50_000_000),
    timeout_s: z.number().gt(0).max(86_400).default(60),
    cache: z.string().min(1).nullable().default(null),
    cache_gb: z.number().gt(0).default(20),
  }),
  model: z.strictObject({
    size: z.enum([...sizeNames, 'custom']),
    image_size: count(1, 4096).optional(),
    patch_size: count(1, 4096).optional(),
    embed_dim: count(1, 65536).optional(),
    depth: count(1, 1000).optional(),
    heads: count(1, 1024).optional(),
    mlp_ratio: z.number().gt(0).max(64).optional(),
    pretrained: z.string().min(1).nullable().default(null),
    variant: z.enum(Object.keys(VARIANTS) as [VariantName, ...VariantName[]]).default('mha'),
    kv_heads: count(1, 1024).nullable().optional(),
    grouping: z.string().min(1).optional(),
    group_values: z.enum(['with_keys', 'apart']).optional(),
    search: z.enum(['auto', 'exact', 'nsga2', 'swap', 'none']).default('auto'),
    kv_budget: count(1).nullable().default(null),
    merge: z.string().min(1).optional(),
    refit: z.enum(['none', 'output']).default('none'),
    calibrate_on: z.enum(['mha', 'converted']).default('mha'),
    window_size: count(1).default(300),
    calibration_images: count(1).default(512),
    eval_allocation: z.enum(['frozen', 'batch']).default('frozen'),
    eval_noise: z.enum(['fixed', 'off', 'paper']).default('fixed'),
  }),
  train: z
    .strictObject({
      protocol: z.enum(['validation', 'paper']).default('validation'),
      epochs: count(0, 1_000_000).default(5),
      steps: count(1).nullable().default(null),
      batch_size: count(1, 65536).default(32),
      optimizer: z.literal('adamw').default('adamw'),
      lr: z.number().min(0).default(1e-5),
      weight_decay: z.number().min(0).default(0.01),
      beta1: z.number().min(0).lt(1).default(0.9),
      beta2: z.number().min(0).lt(1).default(0.999),
      eps: z.number().gt(0).default(1e-8),
      schedule: z.enum(['constant', 'cosine', 'linear']).default('constant'),
      warmup_steps: count(0).default(0),
      label_smoothing: z.number().min(0).lt(1).default(0),
      clip_grad: z.number().gt(0).nullable().default(null),
      grad_accum_steps: count(1, 65536).default(1),
      ema_decay: z.number().gt(0).lt(1).nullable().default(null),
      ema_warmup: z.boolean().default(true),
      freeze: z.enum(['none', 'all', 'kv', 'head', 'all-but-kv']).default('none'),
      distill_from: z.string().min(1).nullable().default(null),
      distill: z.enum(['logits', 'features', 'both']).default('logits'),
      distill_features: z.enum(['cosine', 'l2']).default('cosine'),
      distill_weight: z.number().gt(0).max(1).default(0.5),
      distill_temperature: z.number().gt(0).default(1),
      precision: z.enum(['float32', 'bfloat16', 'float16']).default('float32'),
      compiler: z.enum(['auto', 'tensorflow', 'xla']).default('auto'),
      recompute: z.enum(['none', 'blocks']).default('none'),
      log_every: count(1).default(10),
      tensorboard: z.boolean().default(false),
      checkpoint_every: z
        .union([z.strictObject({ steps: count(1) }), z.strictObject({ minutes: z.number().gt(0) })])
        .default({ minutes: 10 })
        .describe('{ steps: N } or { minutes: M }'),
      keep: count(0, 1000).default(1),
      on_nan: z.enum(['stop', 'rollback']).default('stop'),
    })
    .prefault({}),
  eval: z.strictObject({ batch_size: count(1, 65536).default(64) }).prefault({}),
});

type ParsedConfig = z.output<typeof configSchema>;
type SizeKey = (typeof sizeKeys)[number];
type ResolvedModel = Omit<ParsedConfig['model'], SizeKey | 'kv_heads' | 'grouping' | 'merge' | 'group_values'> &
  Record<SizeKey | 'kv_heads', number> & { grouping: string; merge: string; group_values: 'with_keys' | 'apart' };
type ResolvedData = Omit<ParsedConfig['data'], 'limit'> & {
  limit: { train: number | null; val: number | null; test: number | null };
};

/** The config with nothing left open, in the file's own names. */
type ResolvedConfig = Omit<ParsedConfig, 'data' | 'model'> & { data: ResolvedData; model: ResolvedModel };

type CamelCase<Key extends string> = Key extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Key;
type CamelKeys<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { [Key in keyof T & string as CamelCase<Key>]: CamelKeys<T[Key]> }
    : T;

/**
 * The config as the code reads it: `model.kvHeads`, `train.batchSize`, … with every size, head count and limit filled
 * in. Lengths in pixels, durations in optimizer steps or epochs as the key says, fractions 0 to 1.
 */
export type Config = CamelKeys<ResolvedConfig>;
