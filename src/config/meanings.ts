/** What every key of the config means: the texts of docs/config.md. Lengths in pixels, durations in optimizer steps. */
export const MEANINGS: Readonly<Record<string, string>> = {
  name: 'Folder under `runs/`; left out: the config file’s own name',
  seed: 'Of subset, validation part, order, augmentation, fresh tensors and noise',
  device:
    '`native`: libtensorflow on GPU or CPU, or exit 4; `gpu`: on a GPU, or exit 4; `cpu`: libtensorflow without a GPU, else wasm with a notice; `auto`: the best there is',
  'data.name': 'The data set; `image-folder`: `root/train/<class>/…` and `root/test/<class>/…`, an image a file',
  'data.root': 'Folder of the data',
  'data.labels': 'Which labels of cifar100: its 100 classes or their 20 superclasses',
  'data.val_is':
    'What a folder `val` beside `train` is in an image folder: the validation part, or the test split of a data set that has no other',
  'data.limit':
    'At most so many images of a split, stratified; one number for all splits, or `{ train: 2000, val: null, test: null }`; counted before the validation part is taken; null: all',
  'data.val_fraction':
    'Part of the training split kept for validation, 0 < f < 1 (protocol `validation` only, and only where the data set brings no validation part)',
  'data.augment':
    'Of training images. `light`: flip and padded crop; `paper`: RandAugment at the image’s own size, then resized',
  'data.mean':
    'Subtracted from pixels of 0 to 1, by channel (timm’s `--mean`); null: as the checkpoint says (its card, or `config.json` or `preprocessor_config.json` beside it), else 0.5',
  'data.std': 'Divided by after that; null: as the checkpoint says, else 0.5',
  'data.resize':
    'How an image becomes square: `squash`: all of it; `crop`: its middle, as timm evaluates. null: as the checkpoint says, else squash',
  'data.crop_pct': '`crop` only: the crop’s part of the shorter edge; null: as the checkpoint says, else 0.875',
  'data.interpolation': 'Of that resize, Pillow’s to the byte; null: as the checkpoint says, else bilinear',
  'data.random_erasing': 'Probability that a box of a training image is erased, as in timm',
  'data.mixup':
    'α of Beta(α, α), from which comes each training batch’s own share when it is mixed with its mirror image, as in timm; null: no mixup',
  'data.cutmix':
    'α of Beta(α, α), for a box that comes from the mirror image; null: no CutMix. With both, each batch takes one of them, with probability 0.5',
  'data.workers': 'Threads that decode and augment; 0: the main thread; auto: one a core, at most 8. Changes no result',
  'data.on_bad_image':
    '`warn`: a JPEG that libjpeg only warns about is decoded as far as it goes, to Pillow’s bytes, and listed in the run’s damaged.jsonl, and exit 3 for what does not decode; `error`: exit 3 for both; `skip`: both are left out with weight 0 and listed in skipped.jsonl',
  'data.max_pixels': 'An image file of more pixels is bad',
  'data.timeout_s': 'Seconds that work on one image may take',
  'data.cache': 'Folder for decoded images of data sets of image files; null: they are decoded in every epoch',
  'data.cache_gb': 'Bound of the cache, in 10⁹ bytes; images beyond it are decoded in every epoch',
  'model.size':
    '`micro`: 32 pixels, patch 4, embed_dim 192, depth 4, 12 heads; `small`, `base`, `large`: timm’s ViTs at 224 pixels and patch 16; only `custom` takes the next six',
  'model.image_size': 'Pixels of the (square) input',
  'model.patch_size': 'Pixels; divides image_size',
  'model.embed_dim': 'Width D of a token; heads divide it',
  'model.depth': 'Blocks',
  'model.heads': 'Query heads H of a block',
  'model.mlp_ratio': 'Hidden width of the MLP by embed_dim; 4 when left out',
  'model.pretrained':
    'Weights with timm’s, Hugging Face’s or torchvision’s names: a safetensors file, a folder or index of several, relative to the working directory, or a model of the hub (OWNER/NAME, OWNER/NAME@REVISION); null: from scratch',
  'model.variant': 'What the step does with the groups: README.md',
  'model.kv_heads':
    'Key-value heads K of every layer; must divide heads. null: as the variant says (mha: all heads, mqa: 1; the others need it), or as the file of `grouping` says',
  'model.grouping':
    'Which heads share a key-value head: a name of docs/methods.md, or a file of labels (JSON: for each layer the group of every head), relative to the working directory; the file then says how many KV heads a layer has. Left out: as the variant says, else `neighbours`',
  'model.group_values':
    '`with_keys`: values are grouped as keys are; `apart`: a searched or random grouping is found for keys and values each, and a budget of N KV heads is one of 2N key heads and value heads. Left out: as the variant says, else `with_keys`',
  'model.search':
    'How a searched grouping looks for the best groups: `exact` (up to 16 heads; its optimum is always reported where there is room), `nsga2` (QCQA’s), `swap` (hill climbing), `none`: neighbours, in the grouping’s own measure, which a budget is shared out by; `auto`: exact where there is room, else swap',
  'model.kv_budget':
    'KV heads of all layers together, shared out so that the error of the grouping is least, instead of `kv_heads` in every layer; null: every layer has `kv_heads`',
  'model.merge':
    'How the heads of a group become one: a name of docs/methods.md. Left out: as the variant says, else `mean`',
  'model.refit':
    '`output`: after merging, each output projection is fitted to what MHA’s layer gave, on the calibration images, a quarter of which choose the ridge',
  'model.calibrate_on':
    'Whose activations a merge looks at: those of the MHA model, or those of the model whose earlier layers are converted already (a pass over the calibration images for each layer)',
  'model.window_size': 'dgqa-*: optimizer steps between two allocations, counted from 0 in each epoch',
  'model.calibration_images':
    'Training images that fill the state of kdgqa and dgqa-* before any training, and give the statistics that a grouping or merge asks for',
  'model.eval_allocation': 'kdgqa, dgqa-*: `frozen`, or `batch`: batch by batch, as in the paper’s code',
  'model.eval_noise': 'pgqa: `fixed`, `off`, or `paper`: a fresh draw a batch',
  'train.protocol':
    '`validation`: the best epoch is chosen on a part of the training split; `paper`: on the test split, as in the paper’s code',
  'train.epochs': 'Passes over the training part; 0: only measure',
  'train.steps': 'Stops after so many optimizer steps in all; null: no such bound',
  'train.batch_size': 'Images a batch',
  'train.optimizer': 'As in torch',
  'train.lr': 'Learning rate',
  'train.weight_decay': 'On every parameter, as in torch',
  'train.beta1': 'Β₁ of AdamW',
  'train.beta2': 'Β₂ of AdamW',
  'train.eps': 'Ε of AdamW, outside the corrected root',
  'train.schedule': 'How the learning rate goes after the warm-up',
  'train.warmup_steps': 'Optimizer steps over which the learning rate rises from 0; less than the steps of the run',
  'train.label_smoothing': 'Ε of the targets (1 − ε) · one-hot + ε / C',
  'train.clip_grad': 'Largest Euclidean norm of all gradients together (timm’s `--clip-grad`); null: none',
  'train.grad_accum_steps': 'Batches whose gradients make one optimizer step',
  'train.ema_decay':
    'Weight of the old moving average of the parameters, which is then what is evaluated and saved (0.9998 in timm); null: none is kept',
  'train.ema_warmup':
    'Whether that weight rises from 0 at the beginning, to 1 − step^(−2/3) and `ema_decay` at most, as with timm’s `use_warmup`: a short run averages its own weights only',
  'train.freeze':
    'Parameters that are not trained. `all`: all but the head; `kv`: key and value projections; `all-but-kv`: only those and the head are trained',
  'train.distill_from':
    'MHA checkpoint of the same sizes and classes, from which the model learns, e.g. the control’s checkpoints/best/model.safetensors; `self`: the one of `model.pretrained`; null: from the labels alone',
  'train.distill':
    'What is learned from the teacher: its `logits`, its `features` (class token and patch tokens before the head), or `both`, half of the weight each',
  'train.distill_features':
    'How features are compared: by their `cosine`, or by `l2`, the squared distance in units of the teacher’s own size',
  'train.distill_weight': 'Loss (1 − weight) · cross-entropy + weight · distillation',
  'train.distill_temperature': 'Temperature τ that softens both the teacher’s and the student’s outputs',
  'train.precision':
    'Of matrix products; everything else is float32. Others than float32 need the native runtime, and a device that has them',
  'train.compiler':
    'What makes the compiled step: `auto` with the fused operations of this project where they are (a CPU, `gqa doctor`), `tensorflow` of TensorFlow’s own alone, `xla` of those, compiled by XLA at the first step (for a GPU; on a CPU it is slower than `auto`); to the same numbers but for the last digits',
  'train.recompute': '`blocks`: less memory, since blocks are computed again in the backward pass',
  'train.log_every': 'Optimizer steps between two lines of metrics.jsonl',
  'train.tensorboard': 'Whether the lines of metrics.jsonl and the epochs’ figures are written for TensorBoard too',
  'train.checkpoint_every':
    'How often all that the run needs to go on is kept, besides after every epoch: `{ steps: N }` or `{ minutes: M }`',
  'train.keep':
    'How many of these checkpoints stay behind the newest; 1: one to fall back on should the newest be damaged',
  'train.on_nan':
    'When the loss is not finite: `stop` (exit 6), or `rollback`: the weights of the last checkpoint, then the images after the bad batch, at most three times',
  'eval.batch_size': 'Images a batch of evaluation',
};
