/** A small model, its options and batches for tests of trainers, and what a trainer holds, read out. */
import { DEFAULT_PREPROCESSING } from '../../src/config/preprocessing.js';
import type { Batch } from '../../src/data/dataset.js';
import { initialAttention } from '../../src/model/attention-state.js';
import { neighbours } from '../../src/model/grouping.js';
import { initialModel, parameterSpecs } from '../../src/model/params.js';
import type { ModelShape } from '../../src/model/sizes.js';
import { VARIANTS, type VariantName, variantOf } from '../../src/model/variants.js';
import { draws } from '../../src/random.js';
import type { Model } from '../../src/train/model.js';
import { evaluatedModel } from '../../src/train/snapshot.js';
import { plain } from '../../src/train/step.js';
import type { Trainer, TrainerOptions } from '../../src/train/trainer.js';

/** Those whose steps differ: names of ways to convert step as gqa does, and random beginnings as the others. */
export const STEPS: readonly VariantName[] = Object.keys(VARIANTS).filter(
  (name) => variantOf(name).conversion === undefined && !name.endsWith('-random'),
);

export const BATCH = 6;
export const SIDE = 12; // enlarged to the model's 16
export const BASE: ModelShape = {
  imageSize: 16,
  patchSize: 4,
  embedDim: 24,
  depth: 3,
  heads: 6,
  grouping: neighbours(3, 6, 3),
  mlpRatio: 2,
  numClasses: 7,
};

export function optionsOf(variant: VariantName, changes: Partial<TrainerOptions> = {}): TrainerOptions {
  return {
    shape: { ...BASE, grouping: neighbours(3, 6, { all: 6, one: 1, any: 3 }[variantOf(variant).kvHeads ?? 'any']) },
    variant,
    windowSize: 3,
    labelSmoothing: 0.1,
    adamw: { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.05 },
    seed: 11,
    batchSize: BATCH,
    evalBatchSize: BATCH,
    height: SIDE,
    width: SIDE,
    evalAllocation: 'frozen',
    evalNoise: 'fixed',
    gradAccumSteps: 1,
    mix: false,
    precision: 'float32',
    ...plain,
    pixels: DEFAULT_PREPROCESSING,
    ...changes,
  };
}

/** Real images first; the padding is zero-weight rubbish. */
export function batchOf(index: number, real = BATCH): Batch {
  const from = draws(3, 'batch', index);
  return {
    pixels: Uint8Array.from({ length: BATCH * SIDE * SIDE * 3 }, () => from.below(256)),
    height: SIDE,
    width: SIDE,
    labels: Int32Array.from({ length: BATCH }, () => from.below(BASE.numClasses)),
    weights: Float32Array.from({ length: BATCH }, (_, i) => (i < real ? 1 : 0)),
    images: real,
  };
}

/**
 * Weights large enough to matter, and keys of which each head is stronger than the one before, so that allocations are
 * uneven.
 */
export function loadInto(trainer: Trainer, { shape, variant }: TrainerOptions): void {
  const headLength = (shape.embedDim * shape.embedDim) / shape.heads;
  const values = Object.entries(initialModel(shape, variant, 5)).map(([name, drawn]): [string, Float32Array] => {
    if (/attn\.k\.weight/.test(name))
      return [name, drawn.map((value, i) => value * 4 * (1 + Math.floor(i / headLength)))];
    return [name, /(attn|mlp).*weight/.test(name) ? drawn.map((value) => value * 10) : drawn];
  });
  trainer.begin({ values: Object.fromEntries(values), attention: initialAttention(shape, variant) });
}

/** What evaluation reads: moving averages where they are kept. Copies. */
export function modelOf(
  trainer: Pick<Trainer, 'snapshot'>,
  { shape, variant }: Pick<TrainerOptions, 'shape' | 'variant'>,
): Pick<Model, 'values' | 'attention'> {
  const snapshot = trainer.snapshot();
  const { read, attention } = evaluatedModel(snapshot, shape.depth);
  const values = Object.fromEntries(
    Object.keys(parameterSpecs(shape, variant)).map((name) => [name, read(name).slice()]),
  );
  snapshot.dispose();
  return { values, attention };
}
