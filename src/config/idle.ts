/**
 * Keys that were given but change nothing: under this config (a window for a variant without one), or for this command
 * (a learning rate for `gqa eval`). A key at its default never counts: nothing was asked for.
 */

import { variantOf } from '../model/variants.js';
import { expectedAt, expectedBy } from './expectations.js';
import { configError, type ReadConfig } from './load.js';
import { type Config, configSchema } from './schema.js';
import { shown } from './shown.js';
import type { Problem } from './source.js';

interface IdleRule {
  keys: readonly string[];
  /** Why they have no effect under this config, after "but"; null: they have one. */
  without(config: Config): string | null;
  /**
   * In a file too it is a slip, and refused, where other keys are reported: always, or where the file itself chose the
   * variant.
   */
  slip?: 'always' | 'of its variant';
}

/** Rules of a single config. */
const idleRules: readonly IdleRule[] = [
  {
    keys: ['model.window_size'],
    without: ({ model: { variant } }) =>
      variantOf(variant).allocate?.windowed ? null : `variant ${variant} has no window`,
    slip: 'of its variant',
  },
  {
    keys: ['model.calibration_images'],
    without: ({ model: { variant, grouping, merge, refit } }) =>
      variantOf(variant).allocate || grouping !== 'neighbours' || merge !== 'mean' || refit !== 'none'
        ? null
        : `variant ${variant} allocates nothing`,
    slip: 'of its variant',
  },
  {
    keys: ['model.merge', 'model.refit', 'model.calibrate_on'],
    without: ({ model: { variant } }) =>
      variantOf(variant).keepsHeads
        ? `variant ${variant} merges heads itself, in every step`
        : variantOf(variant).kvHeads === 'all'
          ? `variant ${variant} merges nothing`
          : null,
    slip: 'of its variant',
  },
  {
    keys: ['model.eval_allocation'],
    without: ({ model: { variant } }) => (variantOf(variant).allocate ? null : `variant ${variant} allocates nothing`),
    slip: 'of its variant',
  },
  {
    keys: ['model.eval_noise'],
    without: ({ model: { variant } }) => (variantOf(variant).perturb ? null : `variant ${variant} has no noise`),
    slip: 'of its variant',
  },
  {
    keys: ['data.val_fraction'],
    without: ({ train }) => (train.protocol === 'paper' ? 'train.protocol paper has no validation part' : null),
  },
  {
    keys: ['train.ema_warmup'],
    without: ({ train }) => (train.emaDecay === null ? 'no train.ema_decay is given' : null),
  },
  { keys: ['data.cache_gb'], without: ({ data }) => (data.cache === null ? 'no data.cache is named' : null) },
  {
    keys: ['train.distill_weight', 'train.distill_temperature', 'train.distill', 'train.distill_features'],
    without: ({ train }) => (train.distillFrom === null ? 'there is no teacher: name one by train.distill_from' : null),
    slip: 'always',
  },
  {
    keys: ['train.label_smoothing'],
    without: ({ train }) =>
      train.distillFrom !== null && train.distillWeight === 1
        ? 'train.distill_weight 1 leaves the labels out of the loss'
        : null,
  },
  { keys: ['train.warmup_steps', 'train.schedule'], without: ({ train }) => (train.lr === 0 ? 'train.lr is 0' : null) },
];

/** Commands that read a config. */
export type ConfigCommand =
  | 'train'
  | 'sweep'
  | 'eval'
  | 'analyze'
  | 'convert'
  | 'bench step'
  | 'bench data'
  | 'data preview';

const ofOptimizer = [
  ...[
    'epochs',
    'steps',
    'optimizer',
    'lr',
    'weight_decay',
    'beta1',
    'beta2',
    'eps',
    'schedule',
    'warmup_steps',
    'label_smoothing',
  ],
  ...[
    'clip_grad',
    'grad_accum_steps',
    'ema_decay',
    'ema_warmup',
    'freeze',
    'distill_from',
    'distill',
    'distill_features',
    'distill_weight',
    'distill_temperature',
    'recompute',
    ...['log_every', 'tensorboard', 'checkpoint_every', 'keep', 'on_nan'],
  ],
].map((key) => `train.${key}`);
const ofTraining = ['batch_size', 'protocol', 'precision', 'compiler'].map((key) => `train.${key}`);
const ofAugmentation = ['random_erasing', 'mixup', 'cutmix'].map((key) => `data.${key}`);
const ofImages = [
  ...[
    'root',
    'labels',
    'val_is',
    'limit',
    'val_fraction',
    'augment',
    'workers',
    'on_bad_image',
    'max_pixels',
    'timeout_s',
    'cache',
    'cache_gb',
  ],
].map((key) => `data.${key}`);
const ofStep = ['window_size', 'calibration_images', 'eval_allocation', 'eval_noise'].map((key) => `model.${key}`);
const ofVariant = ['model.variant', 'model.kv_heads', ...ofStep];

/**
 * Keys that a command does not use. In a file they are for other commands; given by `--set` to this one they are a
 * mistake.
 */
const unused: Record<ConfigCommand, { keys: readonly string[]; because: string }> = {
  train: { keys: [], because: '' },
  sweep: { keys: [], because: '' },
  eval: {
    keys: [...ofOptimizer, ...ofAugmentation, 'model.pretrained'],
    because: 'gqa eval measures the checkpoint it is given, and trains nothing',
  },
  analyze: {
    keys: [...ofOptimizer, ...ofAugmentation, 'model.pretrained'],
    because: 'gqa analyze looks at the checkpoint it is given, and trains nothing',
  },
  convert: {
    keys: [
      ...ofOptimizer,
      ...ofTraining.filter((key) => key !== 'train.protocol'),
      ...ofAugmentation,
      ...['model.window_size', 'model.eval_allocation', 'model.eval_noise', 'model.pretrained'],
    ],
    because: 'gqa convert reads the checkpoint it is given, and trains nothing',
  },
  'bench step': {
    keys: [
      ...ofImages,
      ...['data.resize', 'data.crop_pct', 'data.interpolation'],
      ...[
        'data.random_erasing',
        'model.pretrained',
        'model.window_size',
        'model.calibration_images',
        'model.eval_allocation',
      ],
      ...['epochs', 'steps', 'lr', 'schedule', 'warmup_steps', 'log_every', 'protocol'].map((key) => `train.${key}`),
      'eval.batch_size',
    ],
    because: 'gqa bench step runs fresh weights on synthetic images',
  },
  'bench data': {
    keys: [
      ...ofOptimizer,
      ...ofVariant,
      'data.mixup',
      'data.cutmix',
      'data.val_fraction',
      'train.precision',
      'train.compiler',
      'train.protocol',
      'eval.batch_size',
      'device',
    ],
    because: 'gqa bench data measures the input pipeline alone',
  },
  'data preview': {
    keys: [
      ...ofOptimizer,
      ...ofTraining,
      ...ofVariant,
      ...[
        'data.mixup',
        'data.cutmix',
        'data.val_fraction',
        'data.limit',
        'data.workers',
        'data.cache',
        'data.cache_gb',
      ],
      ...['eval.batch_size', 'device'],
    ],
    because: 'gqa data preview shows training images alone',
  },
};

/**
 * @param reads the configs that a command works with: one, or the points of a sweep. A key that has an effect in one of
 *   them is well given
 * @returns what should be reported of keys in the file
 * @throws GqaError `usage` for keys given by `--set`, and for slips in the file
 */
export function requireEffect(file: string, reads: readonly ReadConfig[], command: ConfigCommand): string[] {
  const trains = command === 'train' || command === 'sweep';
  const [first] = reads;
  const problems: Problem[] = [];
  const notices: string[] = [];
  const variantByFlag = first?.given.get('model.variant')?.flag === true;
  const isSlip = (rule: IdleRule | undefined): boolean =>
    rule?.slip === 'always' || (rule?.slip === 'of its variant' && !variantByFlag);
  for (const [key, { at, order, label, flag, value }] of first?.given ?? []) {
    if (isDefault(key, value)) continue;
    const say = (why: string): Problem => ({
      at,
      order,
      text: `${label} is ${shown(value)}, but ${why}: it has no effect`,
    });
    if (flag && unused[command].keys.some((one) => key === one || key.startsWith(`${one}.`)))
      problems.push(say(unused[command].because));
    else {
      // an analysis has no variant: it looks at all of them
      const rule = command === 'analyze' ? undefined : idleRules.find(({ keys }) => keys.includes(key));
      const reasons = reads.map(({ config }) => rule?.without(config) ?? null);
      const [reason] = reasons;
      if (typeof reason !== 'string' || reasons.includes(null)) continue;
      if (flag || (trains && !first?.written && isSlip(rule)))
        problems.push({ ...say(reason), hint: 'Leave out what has no effect.' });
      else if (trains && !first?.written) notices.push(`${at} ${say(reason).text}`);
    }
  }
  if (problems.length > 0) throw configError(file, problems);
  return notices;
}

function isDefault(key: string, value: unknown): boolean {
  const { default: usual } = expectedAt(expectedBy(configSchema), key.split('.')) ?? {};
  return JSON.stringify(usual) === JSON.stringify(value);
}
