/**
 * The names that checkpoints of a plain ViT have: timm's (which are ours), Hugging Face's older and newer ones,
 * torchvision's. A table a scheme: a name's pattern → our name; `attn.qkv` may come fused, and `ls1.gamma` and
 * `ls2.gamma` are LayerScale's, which conversion folds into the weights. Sources: timm vision_transformer.py;
 * transformers modeling_vit.py and modeling_dinov2.py; torchvision vision_transformer.py.
 */
export interface Scheme {
  name: string;
  patterns: readonly (readonly [RegExp, string])[];
}

const HF_BLOCK = String.raw`^(?:encoder\.)?layers?\.(\d+)\.`;
const TV_BLOCK = String.raw`^encoder\.layers\.encoder_layer_(\d+)\.`;
const inBlock = (block: string, rest: string): RegExp => new RegExp(`${block}${rest}$`);

export const SCHEMES: readonly Scheme[] = [
  {
    name: 'timm’s names',
    patterns: [
      [/^(cls_token|pos_embed|(?:patch_embed\.proj|norm|fc_norm|head)\.(?:weight|bias))$/, '$1'],
      [/^(blocks\.\d+\.(?:norm[12]|attn\.(?:qkv|[qkv]|proj)|mlp\.fc[12])\.(?:weight|bias))$/, '$1'],
      [/^(blocks\.\d+\.ls[12]\.gamma)$/, '$1'],
      [/^blocks\.(\d+)\.gamma_([12])$/, 'blocks.$1.ls$2.gamma'], // BEiT, DeiT III before timm 0.9
    ],
  },
  {
    name: 'Hugging Face’s names',
    patterns: [
      [/^embeddings\.cls_token$/, 'cls_token'],
      [/^embeddings\.position_embeddings$/, 'pos_embed'],
      [/^embeddings\.patch_embeddings\.projection\.(weight|bias)$/, 'patch_embed.proj.$1'],
      [inBlock(HF_BLOCK, String.raw`(?:layernorm_before|norm1)\.(weight|bias)`), 'blocks.$1.norm1.$2'],
      [inBlock(HF_BLOCK, String.raw`(?:layernorm_after|norm2)\.(weight|bias)`), 'blocks.$1.norm2.$2'],
      [
        inBlock(HF_BLOCK, String.raw`attention\.(?:attention\.)?(?:query|q_proj)\.(weight|bias)`),
        'blocks.$1.attn.q.$2',
      ],
      [inBlock(HF_BLOCK, String.raw`attention\.(?:attention\.)?(?:key|k_proj)\.(weight|bias)`), 'blocks.$1.attn.k.$2'],
      [
        inBlock(HF_BLOCK, String.raw`attention\.(?:attention\.)?(?:value|v_proj)\.(weight|bias)`),
        'blocks.$1.attn.v.$2',
      ],
      [inBlock(HF_BLOCK, String.raw`attention\.(?:output\.dense|o_proj)\.(weight|bias)`), 'blocks.$1.attn.proj.$2'],
      [inBlock(HF_BLOCK, String.raw`(?:intermediate\.dense|mlp\.fc1)\.(weight|bias)`), 'blocks.$1.mlp.fc1.$2'],
      [inBlock(HF_BLOCK, String.raw`(?:output\.dense|mlp\.fc2)\.(weight|bias)`), 'blocks.$1.mlp.fc2.$2'],
      [inBlock(HF_BLOCK, String.raw`(?:layer_scale|lambda_)([12])(?:\.lambda1)?`), 'blocks.$1.ls$2.gamma'],
      [/^layernorm\.(weight|bias)$/, 'norm.$1'],
    ],
  },
  {
    name: 'torchvision’s names',
    patterns: [
      [/^class_token$/, 'cls_token'],
      [/^encoder\.pos_embedding$/, 'pos_embed'],
      [/^conv_proj\.(weight|bias)$/, 'patch_embed.proj.$1'],
      [inBlock(TV_BLOCK, String.raw`ln_([12])\.(weight|bias)`), 'blocks.$1.norm$2.$3'],
      [inBlock(TV_BLOCK, String.raw`self_attention\.in_proj_(weight|bias)`), 'blocks.$1.attn.qkv.$2'],
      [inBlock(TV_BLOCK, String.raw`self_attention\.out_proj\.(weight|bias)`), 'blocks.$1.attn.proj.$2'],
      [inBlock(TV_BLOCK, String.raw`mlp\.(?:0|linear_1)\.(weight|bias)`), 'blocks.$1.mlp.fc1.$2'],
      [inBlock(TV_BLOCK, String.raw`mlp\.(?:3|linear_2)\.(weight|bias)`), 'blocks.$1.mlp.fc2.$2'],
      [/^encoder\.ln\.(weight|bias)$/, 'norm.$1'],
      [/^heads\.head\.(weight|bias)$/, 'head.$1'],
    ],
  },
];

/** Our name of a tensor, or null. @param name without the file's prefix */
export function ourName(scheme: Scheme, name: string): string | null {
  for (const [pattern, ours] of scheme.patterns) if (pattern.test(name)) return name.replace(pattern, ours);
  return null;
}

/**
 * What a wrapper puts into names at any depth; it is never a layer of the model. Sources: torch.compile, torch's FSDP
 * and checkpoint_wrapper.
 */
const WRAPPERS = /(^|\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\./g;

export const withoutWrappers = (name: string): string => name.replace(WRAPPERS, '$1');

/**
 * Averaged copies of the weights, as they lie beside them (`ema.`, `model_ema.module.`, `state_dict_ema.`): never
 * within a block.
 */
export const isAveraged = (name: string): boolean =>
  /^(?:[a-z]\w*\.)?(?:\w+_)?(?:ema|swa)(?:_\w+)?\./i.test(name) && !/^blocks\./.test(name);

/** Where in the file a model lies: names that begin with `prefix` and then are those of `scheme`. */
export interface Place {
  scheme: Scheme;
  prefix: string;
  /** Our names of the tensors of the patch projection and the blocks that lie there. */
  found: Set<string>;
}

const ANCHOR = /^(patch_embed\.proj\.|blocks\.)/;

/**
 * Every place of the file where there is a ViT, the one with the most tensors first. Prefixes are found by looking,
 * whatever they are.
 */
export function placesOf(names: Iterable<string>): Place[] {
  const places = new Map<string, Place>();
  for (const name of names) {
    for (let start = 0; start >= 0; start = name.indexOf('.', start) + 1 || -1) {
      const prefix = name.slice(0, start);
      for (const scheme of SCHEMES) {
        const ours = ourName(scheme, name.slice(start));
        if (ours === null || !ANCHOR.test(ours)) continue;
        const key = `${scheme.name} ${prefix}`;
        const place = places.get(key) ?? { scheme, prefix, found: new Set() };
        place.found.add(ours);
        places.set(key, place);
      }
    }
  }
  return [...places.values()].sort((a, b) => b.found.size - a.found.size);
}
