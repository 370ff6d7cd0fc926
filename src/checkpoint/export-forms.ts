/**
 * A model as other programs load it: their names of its tensors, and the files beside it. Sources: timm
 * vision_transformer.py and models/_hub.py (`save_config_for_hf`); transformers modeling_vit.py, configuration_vit.py,
 * image_processing_vit.py; the paper's code (key-driven-gqa), whose names are ours.
 */
import type { Preprocessing } from '../config/preprocessing.js';
import { LAYER_NORM_EPS, type ModelShape } from '../model/sizes.js';

/** A tensor of the file, from one or more of ours, one behind the other. */
export interface ExportedTensor {
  name: string;
  from: string[];
}

export interface ExportForm {
  /** Whether the program knows grouped heads. */
  grouped: boolean;
  /** Whether it knows heads that read the mean of all patches. */
  pooled: boolean;
  tensors(names: readonly string[]): ExportedTensor[];
  /** JSON files beside `model.safetensors`. */
  beside(model: { shape: ModelShape; classes: readonly string[]; images: Preprocessing }): Record<string, unknown>;
}

const renamed =
  (rules: readonly (readonly [RegExp, string])[]) =>
  (names: readonly string[]): ExportedTensor[] =>
    names.map((name) => {
      const [pattern, to] = rules.find(([one]) => one.test(name)) ?? [/$/, ''];
      return { name: name.replace(pattern, to), from: [name] };
    });

/** q, k and v are one tensor there. */
const fused = (names: readonly string[]): ExportedTensor[] =>
  names.flatMap((name) => {
    if (/\.attn\.[kv]\./.test(name)) return [];
    if (!name.includes('.attn.q.')) return [{ name, from: [name] }];
    const parts = ['q', 'k', 'v'].map((part) => name.replace('.attn.q.', `.attn.${part}.`));
    return [{ name: name.replace('.attn.q.', '.attn.qkv.'), from: parts }];
  });

/** timm's name of an architecture of this patch and size; the sizes themselves are in `model_args`. */
function architectureOf({ embedDim, patchSize, imageSize }: ModelShape): string {
  const size = { 192: 'tiny', 384: 'small', 768: 'base', 1024: 'large' }[embedDim] ?? 'base';
  const known = patchSize === 32 && size !== 'tiny' ? 32 : patchSize === 8 && size === 'base' ? 8 : 16;
  return `vit_${size}_patch${known}_${imageSize === 384 ? 384 : 224}`;
}

/** Hugging Face's file of what is done with images. */
function imagesOnly({
  shape: { imageSize },
  images,
}: {
  shape: ModelShape;
  images: Preprocessing;
}): Record<string, unknown> {
  const edge = images.cropPct === null ? imageSize : Math.floor(imageSize / images.cropPct);
  return {
    'preprocessor_config.json': {
      ...{ image_processor_type: 'ViTImageProcessor', do_resize: true, do_rescale: true, do_normalize: true },
      ...{ rescale_factor: 1 / 255, image_mean: images.mean, image_std: images.std },
      resample: images.interpolation === 'bicubic' ? 3 : 2,
      ...(images.resize === 'squash'
        ? { size: { height: imageSize, width: imageSize } }
        : {
            ...{ size: { shortest_edge: edge }, do_center_crop: true },
            crop_size: { height: imageSize, width: imageSize },
          }),
    },
  };
}

export const EXPORT_FORMS: Readonly<Record<string, ExportForm>> = {
  timm: {
    grouped: false,
    pooled: true,
    tensors: fused,
    beside({ shape, classes, images }) {
      const { embedDim, imageSize, patchSize, depth, heads, mlpRatio, numClasses } = shape;
      const { mean, std, cropPct, interpolation, resize } = images;
      return {
        'config.json': {
          architecture: architectureOf(shape),
          num_classes: numClasses,
          num_features: embedDim,
          global_pool: shape.globalPool ?? 'token',
          model_args: {
            ...(shape.globalPool === undefined ? {} : { global_pool: shape.globalPool }),
            ...{ img_size: imageSize, patch_size: patchSize, embed_dim: embedDim, depth },
            ...{ num_heads: heads, mlp_ratio: mlpRatio },
          },
          pretrained_cfg: {
            ...{ input_size: [3, imageSize, imageSize], fixed_input_size: true, interpolation, mean, std },
            ...{ crop_pct: cropPct ?? 1, crop_mode: resize === 'squash' ? 'squash' : 'center' },
            ...{ num_classes: numClasses, pool_size: null, first_conv: 'patch_embed.proj', classifier: 'head' },
            ...(classes.length > 0 ? { label_names: classes } : {}),
          },
        },
      };
    },
  },
  huggingface: {
    grouped: false,
    pooled: false,
    tensors: renamed([
      [/^cls_token$/, 'vit.embeddings.cls_token'],
      [/^pos_embed$/, 'vit.embeddings.position_embeddings'],
      [/^patch_embed\.proj\./, 'vit.embeddings.patch_embeddings.projection.'],
      [/^blocks\.(\d+)\.norm1\./, 'vit.encoder.layer.$1.layernorm_before.'],
      [/^blocks\.(\d+)\.norm2\./, 'vit.encoder.layer.$1.layernorm_after.'],
      [/^blocks\.(\d+)\.attn\.q\./, 'vit.encoder.layer.$1.attention.attention.query.'],
      [/^blocks\.(\d+)\.attn\.k\./, 'vit.encoder.layer.$1.attention.attention.key.'],
      [/^blocks\.(\d+)\.attn\.v\./, 'vit.encoder.layer.$1.attention.attention.value.'],
      [/^blocks\.(\d+)\.attn\.proj\./, 'vit.encoder.layer.$1.attention.output.dense.'],
      [/^blocks\.(\d+)\.mlp\.fc1\./, 'vit.encoder.layer.$1.intermediate.dense.'],
      [/^blocks\.(\d+)\.mlp\.fc2\./, 'vit.encoder.layer.$1.output.dense.'],
      [/^norm\./, 'vit.layernorm.'],
      [/^head\./, 'classifier.'],
    ]),
    beside({ shape, classes, images }) {
      const {
        embedDim,
        imageSize,
        patchSize,
        depth,
        heads,
        mlpRatio,
        numClasses,
        layerNormEps = LAYER_NORM_EPS,
      } = shape;
      const names = Array.from({ length: numClasses }, (_, i) => classes[i] ?? `LABEL_${i}`);
      return {
        'config.json': {
          ...{ architectures: ['ViTForImageClassification'], model_type: 'vit', hidden_act: 'gelu', qkv_bias: true },
          ...{ hidden_size: embedDim, intermediate_size: Math.round(embedDim * mlpRatio), num_hidden_layers: depth },
          ...{ num_attention_heads: heads, image_size: imageSize, patch_size: patchSize, num_channels: 3 },
          ...{ layer_norm_eps: layerNormEps, hidden_dropout_prob: 0, attention_probs_dropout_prob: 0 },
          id2label: Object.fromEntries(names.map((name, i) => [i, name])),
          label2id: Object.fromEntries(names.map((name, i) => [name, i])),
          torch_dtype: 'float32',
        },
        ...imagesOnly({ shape, images }),
      };
    },
  },
  // whole graphs, which know every way of sharing heads: their files are commands/graph-export.ts's
  savedmodel: { grouped: true, pooled: true, tensors: renamed([]), beside: imagesOnly },
  onnx: { grouped: true, pooled: true, tensors: renamed([]), beside: imagesOnly },
  paper: { grouped: true, pooled: false, tensors: renamed([]), beside: () => ({}) },
};
