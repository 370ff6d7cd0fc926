/**
 * What `config.json` beside a checkpoint says of it, as Hugging Face and timm write it: the things that no shape of a
 * tensor shows (heads, activation, layer norm's eps, pooling) and the classes' names. Sources: transformers'
 * PretrainedConfig; timm's `save_config_for_hf` (models/_hub.py).
 */
import fs from 'node:fs';
import path from 'node:path';
import { z } from 'zod';

export interface Beside {
  /** The file it was read from. */
  file: string;
  heads: number | null;
  /** Names in the order of the head's outputs; null when it has none, or only numbers (LABEL_0, …). */
  classes: string[] | null;
  layerNormEps: number | null;
  /** timm's `global_pool`: what the head reads. */
  globalPool: string | null;
  /** What it says that gqa does not compute. */
  refused: string[];
}

const text = z.string().nullish().catch(null);
const number = z.number().nullish().catch(null);

/** Only what is looked at; the rest is passed over. */
const configSchema = z.object({
  // Hugging Face
  model_type: text,
  hidden_size: number,
  num_attention_heads: number,
  hidden_act: text,
  layer_norm_eps: number,
  use_mean_pooling: z.boolean().nullish().catch(null),
  use_swiglu_ffn: z.boolean().nullish().catch(null),
  id2label: z.record(z.string(), z.string()).nullish().catch(null),
  // timm
  architecture: text,
  num_features: number,
  global_pool: text,
  label_names: z.array(z.string()).nullish().catch(null),
  model_args: z
    .object({
      num_heads: number,
      embed_dim: number,
      act_layer: z.unknown().optional(),
      norm_layer: z.unknown().optional(),
    })
    .nullish()
    .catch(null),
});
type ConfigJson = z.output<typeof configSchema>;

/**
 * timm's architectures by the word behind `vit_` or `deit_`: width, blocks and heads. Source: timm
 * vision_transformer.py, deit.py.
 */
export const TIMM_SIZES: Readonly<Record<string, { embedDim: number; depth: number; heads: number }>> = {
  tiny: { embedDim: 192, depth: 12, heads: 3 },
  little: { embedDim: 320, depth: 14, heads: 5 },
  small: { embedDim: 384, depth: 12, heads: 6 },
  medium: { embedDim: 512, depth: 12, heads: 8 },
  betwixt: { embedDim: 640, depth: 12, heads: 10 },
  base: { embedDim: 768, depth: 12, heads: 12 },
  large: { embedDim: 1024, depth: 24, heads: 16 },
  huge: { embedDim: 1280, depth: 32, heads: 16 },
};

/** Heads that timm's ViTs of a width have. */
export const usualHeads = (embedDim: number): number | null =>
  [192, 384, 768, 1024, 1280].includes(embedDim)
    ? (Object.values(TIMM_SIZES).find((size) => size.embedDim === embedDim)?.heads ?? null)
    : null;

/**
 * @param embedDim of the checkpoint: a file that tells of another width belongs to something else
 * @returns null where there is none, or one that is not about this checkpoint; `notice` says which
 */
export function readBeside(checkpoint: string, embedDim: number): { beside: Beside | null; notice: string | null } {
  const file = path.join(path.dirname(checkpoint), 'config.json');
  if (!fs.existsSync(file)) return { beside: null, notice: null };
  let config: ConfigJson;
  try {
    config = configSchema.parse(JSON.parse(fs.readFileSync(file, 'utf8')));
  } catch {
    return { beside: null, notice: `${file} is not JSON that can be read: not used` };
  }
  if (!config.model_type && !config.architecture) return { beside: null, notice: null }; // some other program's
  const width = config.hidden_size ?? config.model_args?.embed_dim ?? config.num_features ?? null;
  if (width !== null && width !== embedDim)
    return {
      beside: null,
      notice: `${file} describes a model of width ${width}, the checkpoint has ${embedDim}: not used`,
    };
  return {
    beside: {
      file,
      heads:
        config.num_attention_heads ??
        config.model_args?.num_heads ??
        headsOfArchitecture(config.architecture, embedDim),
      classes: classesOf(config),
      layerNormEps: config.layer_norm_eps ?? null,
      globalPool: config.global_pool || null,
      refused: RULES.flatMap((rule) => rule(config) ?? []),
    },
    notice: null,
  };
}

function headsOfArchitecture(architecture: string | null | undefined, embedDim: number): number | null {
  const size = TIMM_SIZES[/^(?:vit|deit3?|deit)_([a-z]+)_/.exec(architecture ?? '')?.[1] ?? ''];
  return size?.embedDim === embedDim ? size.heads : null;
}

function classesOf({ id2label, label_names: names }: ConfigJson): string[] | null {
  if (names && names.length > 0) return names;
  if (!id2label) return null;
  const classes = Object.keys(id2label).map((_, i) => id2label[String(i)]);
  if (classes.length === 0 || classes.some((name) => name === undefined)) return null;
  return classes.every((name, i) => name === `LABEL_${i}` || name === String(i)) ? null : (classes as string[]);
}

/** Hugging Face's models whose blocks are a plain ViT's. */
const PLAIN_TYPES: readonly string[] = ['vit', 'deit', 'vit_msn', 'vit_mae', 'dinov2'];

/** What a config says that gqa does not compute: a rule each. */
const RULES: readonly ((config: ConfigJson) => string | null)[] = [
  ({ hidden_act: act }) =>
    act && act !== 'gelu' ? `hidden_act is ${act}; gqa computes gelu (with the error function)` : null,
  ({ layer_norm_eps: eps }) => (eps && !(eps > 0 && eps <= 1e-3) ? `layer_norm_eps is ${eps}` : null),
  ({ use_mean_pooling: pooling, model_type: type }) =>
    pooling && (type === 'beit' || type === 'data2vec-vision')
      ? 'use_mean_pooling: its head reads the mean of all patches'
      : null,
  ({ use_swiglu_ffn: gated }) => (gated ? 'use_swiglu_ffn: a gated MLP (SwiGLU)' : null),
  ({ model_type: type }) =>
    type && !PLAIN_TYPES.includes(type) ? `model_type is ${type}; gqa computes ${PLAIN_TYPES.join(', ')}` : null,
  ({ architecture: name }) =>
    name && !/^(?:test_)?(?:vit|deit3?|flexivit)_/.test(name)
      ? `architecture is ${name}; gqa computes vit and deit`
      : null,
  ({ architecture: name }) =>
    /quickgelu/.test(name ?? '') ? `${name} has the quick GELU; gqa computes gelu (with the error function)` : null,
  ({ architecture: name }) =>
    /siglip|_clip|gelu_tanh/.test(name ?? '') && !/quickgelu/.test(name ?? '')
      ? `${name} differs from a plain ViT in eps or activation`
      : null,
  ({ model_args: args }) =>
    args?.act_layer && !/^(nn\.)?gelu$/i.test(String(args.act_layer))
      ? `act_layer is ${String(args.act_layer)}; gqa computes gelu`
      : null,
  ({ model_args: args }) =>
    args?.norm_layer && !/^layernorm$/i.test(String(args.norm_layer))
      ? `norm_layer is ${String(args.norm_layer)}; gqa computes layer norm`
      : null,
];
