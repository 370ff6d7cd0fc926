/**
 * The config: one strict schema with every key, default, unit and range, as written in YAML (snake_case), and the
 * resolved form that the code reads (camelCase). Problems that concern several keys are the table `crossFieldRules`.
 * Reading files and placing problems in them: load.ts.
 */
import { z } from 'zod';
import { VARIANTS, type VariantName } from '../model/variants.js';
import { dataNames, defaultDataRoot, deviceNames } from './names.js';

/**
 * What a model's size fixes; in timm's vision_transformer.py these are vit_{small,base,large}_patch16_224. Image and
 * patch sizes in pixels.
 */
export const modelSizes = {
  micro: { image_size: 32, patch_size: 4, embed_dim: 192, depth: 4, heads: 12, mlp_ratio: 4 },
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
  /** Folder under runs/; the config file's own name when left out. */
  name: z
    .string()
    .regex(/^(?!(con|prn|aux|nul|com\d|lpt\d)(\.|$))[a-z0-9_-][a-z0-9._-]{0,99}$/i)
    .describe('a folder name of 1 to 100 letters, digits, ".", "_" or "-", that does not start with "."'),
  seed: count(0, 2 ** 32 - 1).default(42),
  /**
   * `native`: libtensorflow on GPU or CPU, or exit 4; `gpu`: on a GPU, or exit 4; `cpu`: libtensorflow without GPU,
   * else wasm with a notice; `auto`: the best there is.
   */
  device: z.enum(deviceNames).default('auto'),
  data: z.strictObject({
    name: z.enum(dataNames),
    /** Folder of the data, relative to the working directory. */
    root: z.string().min(1).default(defaultDataRoot),
    /** Which labels of CIFAR-100: its 100 classes or their 20 superclasses. Other data sets have one kind. */
    labels: z.enum(['fine', 'coarse']).default('fine'),
    /**
     * What a folder `val` beside `train` plays in an image folder: the validation part, or the test split of a data set
     * that has no other.
     */
    val_is: z.enum(['validation', 'test']).default('validation'),
    /**
     * At most so many images of a split, stratified; counted before the validation part is taken. `val`: of a data set
     * that brings a validation part. null: all.
     */
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
    /**
     * Part of the training split kept for validation, 0 < f < 1 (protocol `validation` only, and only where the data
     * set brings no validation part).
     */
    val_fraction: z.number().gt(0).lt(1).default(0.1),
    /** `light`: flip and padded crop; `paper`: RandAugment at the image's own size, as in the paper's code. */
    augment: z.enum(['none', 'light', 'paper']).default('light'),
    /**
     * Subtracted from pixels of 0 to 1, by channel. null, here and in the next four: as the checkpoint says (its card,
     * or `config.json` or `preprocessor_config.json` beside it), else 0.5.
     */
    mean: triple(z.number().min(0).max(1), 'from 0 to 1'),
    /** Divided by after that; null: see `mean`, else 0.5. */
    std: triple(z.number().gt(0).max(1), 'above 0 and of at most 1'),
    /**
     * How an image becomes square: `squash`: all of it, aspect ratio not kept; `crop`: its middle, as timm evaluates.
     * null: see `mean`, else squash.
     */
    resize: z.enum(['squash', 'crop']).nullable().default(null),
    /** `crop` only: the crop's part of the shorter edge; null: see `mean`, else 0.875. */
    crop_pct: z.number().gt(0).max(1).nullable().default(null),
    /** Of that resize; null: see `mean`, else bilinear. */
    interpolation: z.enum(['bilinear', 'bicubic']).nullable().default(null),
    /** Probability that a box of a training image is erased, as in timm. */
    random_erasing: z.number().min(0).max(1).default(0),
    /**
     * α of Beta(α, α), from which comes each training batch's own share when it is mixed with its mirror image, as in
     * timm; null: no mixup.
     */
    mixup: z.number().gt(0).nullable().default(null),
    /**
     * α of Beta(α, α), for a box that comes from the mirror image; null: no CutMix. With both, each batch takes one of
     * them, with probability 0.5.
     */
    cutmix: z.number().gt(0).nullable().default(null),
    /** Threads that decode and augment; 0: the main thread; auto: as many as cores, at most 8. */
    workers: z.union([count(0, 64), z.literal('auto')]).default('auto'),
    /**
     * An image that cannot be read ends the run (exit 3), but for `skip`: it is left out and listed in the run's
     * skipped.jsonl. A JPEG that is damaged, but decodes as in Pillow, is so too; but for `warn`: it is used as far as
     * it goes and listed in damaged.jsonl.
     */
    on_bad_image: z.enum(['warn', 'error', 'skip']).default('warn'),
    /** An image file of more pixels is bad. */
    max_pixels: count(1).default(50_000_000),
    /** Seconds that work on one image may take. */
    timeout_s: z.number().gt(0).max(86_400).default(60),
    /**
     * Folder for decoded images of data sets of image files, relative to the working directory; null: they are decoded
     * in every epoch.
     */
    cache: z.string().min(1).nullable().default(null),
    /** Bound of the cache, in 10⁹ bytes; images beyond it are decoded in every epoch. */
    cache_gb: z.number().gt(0).default(20),
  }),
  model: z.strictObject({
    size: z.enum(['micro', 'small', 'base', 'large', 'custom']),
    /** Pixels. */
    image_size: count(1, 4096).optional(),
    /** Pixels. */
    patch_size: count(1, 4096).optional(),
    embed_dim: count(1, 65536).optional(),
    depth: count(1, 1000).optional(),
    heads: count(1, 1024).optional(),
    mlp_ratio: z.number().gt(0).max(64).optional(),
    /**
     * safetensors checkpoint with timm's, Hugging Face's or torchvision's names, relative to the working directory;
     * null: from scratch.
     */
    pretrained: z.string().min(1).nullable().default(null),
    variant: z.enum(Object.keys(VARIANTS) as [VariantName, ...VariantName[]]).default('mha'),
    /**
     * Key-value heads; must divide `heads`. null or left out: as the variant says (mha: all heads, mqa: 1; the others
     * need it).
     */
    kv_heads: count(1, 1024).nullable().optional(),
    /**
     * Which heads share a key-value head: `neighbours`, or a file of labels (JSON: for each layer the group of every
     * head), relative to the working directory; the file then says how many KV heads a layer has.
     */
    grouping: z.string().min(1).default('neighbours'),
    /** How the heads of a group become one: `mean`, mean pooling. */
    merge: z.string().min(1).default('mean'),
    /** Optimizer steps between two allocations of DGQA. */
    window_size: count(1).default(300),
    /** Training images that fill the state of key-driven variants before any training. */
    calibration_images: count(1).default(512),
    eval_allocation: z.enum(['frozen', 'batch']).default('frozen'),
    eval_noise: z.enum(['fixed', 'off', 'paper']).default('fixed'),
  }),
  train: z
    .strictObject({
      /**
       * `validation`: best epoch chosen on a part of the training split; `paper`: on the test split, as in the paper's
       * code.
       */
      protocol: z.enum(['validation', 'paper']).default('validation'),
      epochs: count(0, 1_000_000).default(5),
      /** Stops after so many optimizer steps in all, whatever `epochs` says; null: no such bound. */
      steps: count(1).nullable().default(null),
      batch_size: count(1, 65536).default(32),
      optimizer: z.literal('adamw').default('adamw'),
      lr: z.number().min(0).default(1e-5),
      weight_decay: z.number().min(0).default(0.01),
      beta1: z.number().min(0).lt(1).default(0.9),
      beta2: z.number().min(0).lt(1).default(0.999),
      eps: z.number().gt(0).default(1e-8),
      schedule: z.enum(['constant', 'cosine', 'linear']).default('constant'),
      /** Optimizer steps over which the learning rate rises from 0. */
      warmup_steps: count(0).default(0),
      label_smoothing: z.number().min(0).lt(1).default(0),
      /** Largest Euclidean norm of all gradients together; null: no clipping. */
      clip_grad: z.number().gt(0).nullable().default(null),
      /** Batches whose gradients make one optimizer step. */
      grad_accum_steps: count(1, 65536).default(1),
      /**
       * Weight of the old moving average of the parameters, which is then what is evaluated and saved; null: none is
       * kept.
       */
      ema_decay: z.number().gt(0).lt(1).nullable().default(null),
      /**
       * Whether that weight rises from 0 at the beginning, to 1 − step^(−2/3) and `ema_decay` at most, as with timm's
       * `use_warmup`: a short run averages its own weights only.
       */
      ema_warmup: z.boolean().default(true),
      /**
       * Parameters that are not trained. `all`: all but the head; `kv`: key and value projections; `all-but-kv`: only
       * those and the head are trained.
       */
      freeze: z.enum(['none', 'all', 'kv', 'head', 'all-but-kv']).default('none'),
      /**
       * safetensors checkpoint of an MHA model with the same sizes and classes, from whose logits the model learns;
       * null: from the labels alone.
       */
      distill_from: z.string().min(1).nullable().default(null),
      /** Loss (1 − weight) · cross-entropy + weight · distillation. */
      distill_weight: z.number().gt(0).max(1).default(0.5),
      distill_temperature: z.number().gt(0).default(1),
      /**
       * Of matrix products; everything else is float32. Others than float32 need the native runtime, and a device that
       * has them.
       */
      precision: z.enum(['float32', 'bfloat16', 'float16']).default('float32'),
      /** `blocks`: less memory, since blocks are computed again in the backward pass. */
      recompute: z.enum(['none', 'blocks']).default('none'),
      /** Optimizer steps between two lines of metrics.jsonl. */
      log_every: count(1).default(10),
    })
    .prefault({}),
  eval: z.strictObject({ batch_size: count(1, 65536).default(64) }).prefault({}),
});

type ParsedConfig = z.output<typeof configSchema>;
type SizeKey = (typeof sizeKeys)[number];
type ResolvedModel = Omit<ParsedConfig['model'], SizeKey | 'kv_heads'> & Record<SizeKey | 'kv_heads', number>;
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
