/**
 * What else a checkpoint may hold, by name: what the model does not need and is left out with a notice, and layers of
 * other models, which refuse the file since its logits would be wrong without them. A name that is in no table refuses
 * too. Patterns are of names without the file's prefix; the first that fits counts.
 */
interface Extra {
  pattern: RegExp;
  /** As it stands in a message. */
  what: string;
}

/** Not part of the forward pass. */
export const LEFT_OUT: readonly Extra[] = [
  { pattern: /^(?:\w+\.)*mask_token$/, what: 'the mask token of pretraining' },
  { pattern: /^n_averaged$/, what: 'the count of an average' },
  { pattern: /^(?:\w+\.)*position_ids$/, what: 'position ids' },
  { pattern: /^pooler\.dense\.(?:weight|bias)$/, what: 'a pooler, which the classifier does not use' },
  { pattern: /^decoder(?:_embed|_blocks|_norm|_pred|_pos_embed)?\./, what: 'the decoder of masked pretraining' },
  { pattern: /^decoder_pos_embed$/, what: 'the decoder of masked pretraining' },
  { pattern: /^(?:aux|auxiliary|aux_head|auxiliary_head|aux_classifier)\./, what: 'a second head' },
  {
    pattern:
      /^(?:optimizer|optimizers|optim|optimizer_states|lr_scheduler|lr_schedulers|scheduler|scaler|grad_scaler|amp|rng_state|loops)(?:\.|$)/,
    what: 'the state of the optimizer',
  },
  {
    pattern: /(?:^|\.)(?:exp_avg|exp_avg_sq|max_exp_avg_sq|momentum_buffer)(?:\.|$)/,
    what: 'the state of the optimizer',
  },
  {
    pattern: /^(?:epoch|step|global_step|iteration|best_acc1?|best_metric|metric|arch|version)$/,
    what: 'a counter of training',
  },
  { pattern: /^(?:criterion|loss|loss_fn|loss_function|train_loss|val_loss)(?:\.|$)/, what: 'the loss' },
  {
    pattern: /^(?:train|val|valid|test)_(?:acc|accuracy|metrics?|top1|top5|f1)\w*(?:\.|$)/,
    what: 'metrics of training',
  },
];

/** Part of the forward pass of a model that gqa does not compute. */
export const REFUSED: readonly Extra[] = [
  {
    pattern:
      /(?:^|\.)(?:lora_\w+|base_layer|modules_to_save|ia3_l|adapters?|adapter_\w+|prompt_(?:tokens|embeddings))(?:\.|$)/,
    what: 'an adapter (PEFT, LoRA) beside the weights, to be merged first (merge_and_unload)',
  },
  {
    pattern:
      /(?:^|\.)(?:SCB|absmax|quant_map|nested_\w+|quant_state|qweight|qzeros|scales|g_idx|zero_point|weight_(?:scale\w*|format|zero_point)|input_scale|_packed_params\w*)(?:\.|$)/,
    what: 'quantised weights, to be saved as float32 first',
  },
  {
    pattern: /\.(?:weight_g|weight_v|weight_orig|weight_mask|weight_u|bias_orig|bias_mask)$|\.parametrizations\./,
    what: 'weights in parts (weight norm, pruning), to be joined first',
  },
  { pattern: /\.(?:running_mean|running_var|num_batches_tracked)$/, what: 'batch norm' },
  {
    pattern: /\.attn\.[qkv]_bias$/,
    what: 'biases of q and v apart (BEiT, EVA), whose norms may stand behind attention',
  },
  {
    pattern: /\.attn\.(?:q_norm|k_norm|q_ln|k_ln|qk_norm|norm_q|norm_k|ln_q|ln_k)\./,
    what: 'norms on queries and keys (qk_norm)',
  },
  {
    pattern: /\.attn\.(?:norm|inner_attn_ln|ln)\.|\.mlp\.(?:norm|ffn_ln|ln)\./,
    what: 'a norm inside attention or MLP (scale_norm)',
  },
  { pattern: /\.(?:norm3|norm_post|post_norm\w*|ls3)\./, what: 'further norms in the blocks' },
  {
    pattern: /^(?:norm_pre|pre_norm|ln_pre|pre_layrnorm|pre_layernorm|embeddings\.(?:layernorm|norm))\./,
    what: 'a norm before the blocks (pre_norm)',
  },
  { pattern: /^(?:embeddings\.)?(?:reg_tokens?|register_tokens?|storage_tokens|registers)$/, what: 'register tokens' },
  {
    pattern:
      /^(?:embeddings\.)?(?:dist_token|distillation_token)$|^(?:head_dist|distillation_classifier|classifier_dist)\./,
    what: 'a distillation token (distilled DeiT)',
  },
  { pattern: /^(?:embeddings\.)?(?:detection_tokens?|det_token)$/, what: 'detection tokens (YOLOS)' },
  {
    pattern: /^(?:fc_norm|pooler\.layernorm|head\.norm|head\.fc_norm|head_norm)\./,
    what: 'a norm after mean pooling (fc_norm): its head reads the mean of all patches, not the class token',
  },
  {
    pattern: /^(?:attn_pool|attention_pool|head\.attention|head\.probe|pool\.|map_head|global_pool\.)/,
    what: 'pooling by attention (SigLIP)',
  },
  { pattern: /^(?:pre_logits|repr|representation)\./, what: 'a representation layer before the head (pre_logits)' },
  { pattern: /rel(?:ative)?_pos|rpb|relative_position/, what: 'relative position embeddings (BEiT)' },
  {
    pattern: /(?:^|\.)(?:rope|rope_\w+|rotary\w*|freqs\w*|periods|inv_freq)(?:\.|$)/,
    what: 'rotary position embeddings (RoPE)',
  },
  {
    pattern:
      /^(?:embeddings\.)?(?:pos_embed|position_embeddings)[._]\w+|^(?:pos_drop|pos_conv|spatial_pos_embed|temporal_pos_embed|time_embed)\b/,
    what: 'position embeddings of another kind',
  },
  {
    pattern: /^patch_embed\.(?:norm|ln)\.|^(?:embeddings\.)?patch_embeddings?\.norm\./,
    what: 'a norm on patches (patch_norm)',
  },
  {
    pattern: /^patch_embed\.|^embeddings\.patch_embeddings?\.|^(?:conv_stem|stem|tokens_to_token)\./,
    what: 'another way to patches (a convolutional stem)',
  },
  {
    pattern: /\.mlp\.(?:w\d+|fc1_[gx]|gate\w*|fc_gate|up_proj|down_proj|gate_proj|weights_(?:in|out))(?:\.|$)/,
    what: 'a gated MLP (SwiGLU)',
  },
  { pattern: /\.(?:mlp|moe|ffn)\.(?:experts|router)\b|\.moe\b/, what: 'a mixture of experts' },
  {
    pattern: /\.attn\.(?:temperature|logit_scale|scale|proj_[lw]|gamma\w*|lambda\w*|lamb)(?:\.|$)/,
    what: 'another kind of attention',
  },
  { pattern: /^(?:blocks_token_only|cls_attn\w*|blocks_cls)\./, what: 'blocks for the class token alone (CaiT)' },
  {
    pattern: /(?:^|\.)(?:pixel_|image_|img_)?(?:mean|std)$|^(?:normalize|normalizer|preprocess|transform)\./,
    what: 'mean and standard deviation of the images inside the model, to be taken out (data.mean, data.std)',
  },
];

/** Other networks, recognised by names anywhere in the file. */
export const FAMILIES: readonly Extra[] = [
  {
    pattern: /(?:^|[./])(?:kernel|embedding)$|\//,
    what: 'weights with the names of JAX or TensorFlow (kernel, embedding), whose layouts differ',
  },
  {
    pattern: /^(?:[\w.]+\.)?visual\.(?:transformer|trunk|conv1|class_embedding)|vision_model\.|vision_tower\./,
    what: 'a model of images and text (CLIP, SigLIP and the like)',
  },
  {
    pattern: /(?:^|\.)(?:layers|stages|transformers|stage\d*|network|blocks)\.\d+\.blocks\.\d+\./,
    what: 'a network of stages (Swin, ConvNeXt, PiT and the like)',
  },
  {
    pattern: /(?:^|\.)(?:stages\.\d+|layer[1-4]\.\d+|features\.\d+|downsample_layers)\./,
    what: 'a convolutional network (ResNet, ConvNeXt and the like)',
  },
  { pattern: /(?:^|\.)(?:word_embeddings|embed_tokens|wte|lm_head|shared)\./, what: 'a language model' },
  { pattern: /(?:^|\.)(?:lora_\w+)\b/, what: 'an adapter alone (PEFT, LoRA), without the model that it changes' },
  { pattern: /(?:^|\.)(?:exp_avg|exp_avg_sq|momentum_buffer)(?:\.|$)/, what: 'the state of an optimizer' },
];

/** What a tensor's name says of it; null: nothing is known. */
export function extraOf(table: readonly Extra[], name: string): string | null {
  return table.find(({ pattern }) => pattern.test(name))?.what ?? null;
}
