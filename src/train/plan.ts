/**
 * How long a run is, and what that and its images make of the settings. Both are known only once the data are open, so
 * this comes after the rules of config/resolve.ts: a setting that could not take effect is refused before a run is
 * made, one that does other than it seems to is said.
 */
import type { Config } from '../config/schema.js';
import { counted } from '../counted.js';
import { GqaError } from '../errors.js';
import { type ParameterSpec, parameterSpecs } from '../model/params.js';
import { shareOfStart } from './average.js';
import { isTrained } from './freeze.js';
import type { BuiltModel } from './model.js';
import type { Part, Parts } from './parts.js';

export interface Plan {
  /** Optimizer steps; the last one of an epoch may be short. */
  stepsPerEpoch: number;
  /** Of the whole run. */
  totalSteps: number;
}

/** @param images of the training part */
export function planOf({ batchSize, gradAccumSteps, epochs, steps }: Config['train'], images: number): Plan {
  const stepsPerEpoch = Math.ceil(images / (batchSize * gradAccumSteps));
  return { stepsPerEpoch, totalSteps: Math.min(steps ?? Number.POSITIVE_INFINITY, epochs * stepsPerEpoch) };
}

/** What is known of a run before it is made. */
interface Known extends Plan {
  config: Config;
  /** Of the training part. */
  images: number;
  /** Images of an optimizer step. */
  perStep: number;
}

/**
 * The learning rate would never be reached: as the rule of config/resolve.ts says where `train.steps` alone tells the
 * length.
 * @throws GqaError `usage`
 */
export function requireWarmupEnds(config: Config, images: number): void {
  const known = knownOf(config, images);
  const { warmupSteps } = config.train;
  if (warmupSteps === 0 || known.totalSteps === 0 || warmupSteps < known.totalSteps) return;
  throw new GqaError(
    'usage',
    `train.warmup_steps is ${warmupSteps}, but training stops after ${counted(known.totalSteps, 'step')} (${lengthOf(known)}): the learning rate would never be reached`,
    { hint: 'Lower train.warmup_steps, or raise train.epochs.' },
  );
}

/**
 * What a reader of the config would not expect, a line each; warnings are what may make the figures other than they are
 * taken for.
 * @param classes names
 * @param built   the model before any training
 */
export function planFindings(
  config: Config,
  parts: Parts,
  classes: readonly string[],
  built: Begun,
): { notices: string[]; warnings: string[] } {
  const known = knownOf(config, parts.train.indices.length);
  const chosenOn = parts.selection === parts.test ? 'test' : 'validation';
  return {
    notices: [
      ...NOTICES.map((notice) => notice(known)),
      withoutImages(parts.train, 'training', classes),
      withoutImages(parts.selection, chosenOn, classes),
    ].filter((line) => line !== null),
    warnings: [averageKeepsItsStart(known), frozenAtRandom(config.train, built)].filter((line) => line !== null),
  };
}

type Begun = Pick<BuiltModel, 'model' | 'freshHead' | 'fromKvHeads'>;

function knownOf(config: Config, images: number): Known {
  const { batchSize, gradAccumSteps } = config.train;
  return { config, images, perStep: batchSize * gradAccumSteps, ...planOf(config.train, images) };
}

/** Each says one thing, or null. */
const NOTICES: ((known: Known) => string | null)[] = [
  function epochsEndFirst(known) {
    const { steps } = known.config.train;
    if (steps === null || steps <= known.totalSteps) return null;
    return `train.steps is ${steps}, but training stops after ${counted(known.totalSteps, 'step')} (${lengthOf(known)})`;
  },
  function stepsAreShort({ images, perStep, totalSteps, config: { train } }) {
    if (images >= perStep || totalSteps === 0) return null;
    const product = train.gradAccumSteps > 1 ? ` × train.grad_accum_steps ${train.gradAccumSteps}` : '';
    return `train.batch_size ${train.batchSize}${product} is more than the ${counted(images, 'training image')}: an epoch is one step of them all`;
  },
  function windowEndsWithTheEpoch({ stepsPerEpoch, totalSteps, config: { model } }) {
    const { variant, windowSize } = model;
    const steps = Math.min(stepsPerEpoch, totalSteps);
    if (!variant.startsWith('dgqa') || windowSize <= steps || totalSteps < 2) return null;
    return `model.window_size is ${windowSize}, but an epoch has ${counted(steps, 'step')}: query heads are allocated once an epoch, at its beginning`;
  },
];

function averageKeepsItsStart({ totalSteps, config: { train } }: Known): string | null {
  if (train.emaDecay === null) return null;
  const share = shareOfStart(totalSteps, { decay: train.emaDecay, warmup: train.emaWarmup });
  if (share < NOTABLE_SHARE || totalSteps === 0) return null;
  return `train.ema_decay ${train.emaDecay} without train.ema_warmup: after ${counted(totalSteps, 'step')} the averages, which are what is evaluated and saved, are still ${(100 * share).toFixed(1)} % of what training began with`;
}

/** Below it, what training began with does not show in a figure. */
const NOTABLE_SHARE = 0.01;

/** Parameters that were drawn, not read, and that nothing trains. */
function frozenAtRandom({ freeze }: Config['train'], { model, freshHead, fromKvHeads }: Begun): string | null {
  const head = freshHead === null ? [] : ['head.weight', 'head.bias'];
  const specs = parameterSpecs(model.shape, model.variant);
  const drawn = fromKvHeads === null ? Object.keys(specs) : head;
  const kept = drawn.filter((name) => !isTrained(specs[name] as ParameterSpec, freeze));
  if (kept.length === 0) return null;
  const shown = kept.slice(0, 2).join(', ') + (kept.length > 2 ? ` and ${kept.length - 2} more` : '');
  return `train.freeze is ${freeze}, and these have no pretrained values: they stay as they are at random (${shown})`;
}

function withoutImages({ split, indices }: Part, of: string, classes: readonly string[]): string | null {
  const seen = new Set(Array.from(indices, (index) => split.labels[index]));
  const missing = classes.filter((_, label) => !seen.has(label));
  if (missing.length === 0) return null;
  const shown = missing.slice(0, 3).join(', ') + (missing.length > 3 ? ', …' : '');
  return `${missing.length} of ${classes.length} classes have no ${of} image: ${shown}`;
}

/** `2 epochs of 960 images, 32 a step` */
const lengthOf = ({ config: { train }, images, perStep }: Known): string =>
  `${counted(train.epochs, 'epoch')} of ${counted(images, 'image')}, ${perStep} a step`;
