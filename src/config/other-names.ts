/**
 * What other tools, and the paper's files, call our keys and values; and what gqa has in place of things that it has
 * not.
 */

/** A key of ours, or a sentence where there is none. By the last word of the key, or by section and key. */
const keys: Record<string, string> = {
  dataset: 'data.name',
  data_path: 'data.root',
  data_dir: 'data.root',
  att_scheme: 'model.variant',
  num_kv_heads: 'model.kv_heads',
  num_heads: 'model.heads',
  num_layers: 'model.depth',
  hidden_size: 'model.embed_dim',
  img_size: 'model.image_size',
  input_size: 'model.image_size',
  checkpoint: 'model.pretrained',
  weights: 'model.pretrained',
  'model.name': 'model.size',
  arch: 'model.size',
  tiny: 'ViT-Ti is model.size: tiny',
  teacher: 'train.distill_from',
  learning_rate: 'train.lr',
  wd: 'train.weight_decay',
  opt: 'train.optimizer',
  optim: 'train.optimizer',
  num_epochs: 'train.epochs',
  max_epochs: 'train.epochs',
  max_steps: 'train.steps',
  num_workers: 'data.workers',
  scheduler: 'train.schedule',
  lr_scheduler: 'train.schedule',
  sched: 'train.schedule',
  warmup: 'train.warmup_steps',
  warmup_ratio: 'gqa counts optimizer steps: train.warmup_steps',
  warmup_epochs: 'gqa counts optimizer steps: train.warmup_steps',
  betas: 'write train.beta1 and train.beta2',
  smoothing: 'train.label_smoothing',
  grad_clip: 'train.clip_grad',
  max_grad_norm: 'train.clip_grad',
  gradient_clip_val: 'train.clip_grad',
  accumulate_grad_batches: 'train.grad_accum_steps',
  gradient_accumulation_steps: 'train.grad_accum_steps',
  ema: 'train.ema_decay',
  model_ema: 'train.ema_decay',
  gradient_checkpointing: 'write train.recompute: blocks',
  grad_checkpointing: 'write train.recompute: blocks',
  amp: 'write train.precision: float16 or bfloat16, on the native runtime',
  fp16: 'write train.precision: float16, on the native runtime',
  bf16: 'write train.precision: bfloat16, on the native runtime',
  mixed_precision: 'write train.precision: float16 or bfloat16, on the native runtime',
  dtype: 'write train.precision: float32, float16 or bfloat16',
  aa: 'write data.augment: paper (RandAugment) or light',
  auto_augment: 'write data.augment: paper (RandAugment) or light',
  randaugment: 'write data.augment: paper',
  hflip: 'write data.augment: light (flip and padded crop)',
  reprob: 'data.random_erasing',
  mixup_alpha: 'data.mixup',
  cutmix_alpha: 'data.cutmix',
  image_mean: 'data.mean',
  image_std: 'data.std',
  resample: 'data.interpolation',
  crop_mode: 'data.resize',
  val_split: 'data.val_fraction',
  in_chans: 'images always have three channels here',
  num_classes: 'the number of classes comes from the data',
  num_labels: 'the number of classes comes from the data',
  global_pool: 'the class token is what the head reads here, as in the ViT',
  resume:
    'a stopped run goes on by gqa train --resume RUN; model.pretrained takes the weights of a checkpoint, and begins at step 0',
  drop: 'there is no dropout here; train.weight_decay, train.label_smoothing, data.augment and data.mixup are what regularises',
  dropout:
    'there is no dropout here; train.weight_decay, train.label_smoothing, data.augment and data.mixup are what regularises',
  drop_rate:
    'there is no dropout here; train.weight_decay, train.label_smoothing, data.augment and data.mixup are what regularises',
  attn_drop:
    'there is no dropout here; train.weight_decay, train.label_smoothing, data.augment and data.mixup are what regularises',
  drop_path:
    'there is no stochastic depth here; train.weight_decay, train.label_smoothing, data.augment and data.mixup are what regularises',
  drop_path_rate:
    'there is no stochastic depth here; train.weight_decay, train.label_smoothing, data.augment and data.mixup are what regularises',
  momentum: 'there is no SGD here, only AdamW: train.beta1 and train.beta2',
  layer_decay: 'every layer has the same learning rate here; train.freeze leaves parts out',
  min_lr: 'train.schedule: cosine and linear end at 0',
  patience: 'there is no early stopping: every epoch is measured, and the checkpoint of the best one is kept',
  early_stopping: 'there is no early stopping: every epoch is measured, and the checkpoint of the best one is kept',
  save_every: 'the last and the best checkpoint are saved after every epoch',
  wandb: 'figures are written to results.csv and metrics.jsonl in the folder of the run',
  tensorboard: 'figures are written to results.csv and metrics.jsonl in the folder of the run',
  logger: 'figures are written to results.csv and metrics.jsonl in the folder of the run',
  output_dir: 'runs are made in runs/<name>/: --runs-dir and name choose it',
  output: 'runs are made in runs/<name>/: --runs-dir and name choose it',
  gpus: 'one device computes: device: gpu',
  gpu: 'write device: gpu',
  devices: 'one device computes: device: gpu',
  accelerator: 'device',
  world_size: 'one device computes: device: gpu',
  compile: 'steps are compiled on the native runtime by themselves; --eager turns that off',
  crop_size: 'model.image_size',
};

/** What to write instead of a key, e.g. `did you mean train.lr?`; undefined where the word is nobody's. */
export function insteadOfKey(path: readonly string[]): string | undefined {
  const found = [path.join('.'), path.at(-1) ?? ''].find((word) => Object.hasOwn(keys, word));
  const instead = found === undefined ? undefined : keys[found];
  return instead !== undefined && /^[a-z]+(\.[a-z0-9_]+)?$/.test(instead) ? `did you mean ${instead}?` : instead;
}

const halves = 'others are float16 and bfloat16';

/** By key, then by value in small letters without `-`, `_` and blanks. */
const values: Record<string, Record<string, string>> = {
  'data.name': {
    imagefolder: 'did you mean image-folder?',
    folder: 'did you mean image-folder?',
    custom: 'your own images are image-folder',
  },
  'data.augment': {
    randaugment: 'RandAugment is paper',
    randaug: 'RandAugment is paper',
    autoaugment: 'there is RandAugment: paper',
    trivialaugment: 'there is RandAugment: paper',
    true: 'choose one of them',
    false: 'did you mean none?',
    null: 'did you mean none?',
  },
  'model.size': {
    ti: 'did you mean tiny?',
    huge: 'ViT-H/14 is size: custom with image_size: 224, patch_size: 14, embed_dim: 1280, depth: 32, heads: 16',
    s: 'did you mean small?',
    b: 'did you mean base?',
    l: 'did you mean large?',
  },
  'model.pretrained': {
    true: 'nothing is downloaded here: name a safetensors file',
    false: 'write null for a model from scratch',
  },
  'model.variant': { mhsa: 'did you mean mha?', dgqa: 'did you mean dgqa-ema or dgqa-diff?' },
  'train.optimizer': {
    sgd: 'AdamW is the only one',
    adam: 'AdamW with weight_decay: 0 is Adam',
    lion: 'AdamW is the only one',
  },
  'train.schedule': {
    none: 'did you mean constant?',
    null: 'did you mean constant?',
    cosinewithwarmup: 'cosine, with train.warmup_steps beside it',
    warmupcosine: 'cosine, with train.warmup_steps beside it',
    onecycle: 'cosine with train.warmup_steps comes near it',
    step: 'cosine and linear come near it',
  },
  'train.precision': {
    16: halves,
    fp16: 'did you mean float16?',
    half: 'did you mean float16?',
    '16mixed': 'did you mean float16?',
    bf16: 'did you mean bfloat16?',
    bf16mixed: 'did you mean bfloat16?',
    32: 'did you mean float32?',
    fp32: 'did you mean float32?',
    amp: halves,
    mixed: halves,
    true: halves,
  },
  'train.recompute': { true: 'did you mean blocks?', false: 'did you mean none?' },
  'train.freeze': {
    true: 'all but the head is all',
    false: 'did you mean none?',
    null: 'did you mean none?',
    backbone: 'all but the head is all',
    encoder: 'all but the head is all',
  },
  device: {
    cuda: 'did you mean gpu?',
    'cuda:0': 'did you mean gpu?',
    mps: 'there is no Metal here: auto takes the best there is',
  },
};

/** What to write instead of a value that is not accepted; undefined where the table does not know it. */
export function insteadOfValue(path: string, value: unknown): string | undefined {
  const known = Object.hasOwn(values, path) ? values[path] : undefined;
  const word = String(value).toLowerCase().replace(/[-_ ]/g, '');
  return known && Object.hasOwn(known, word) ? known[word] : undefined;
}
