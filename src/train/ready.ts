/**
 * A trainer made ready for a model and its images, and what evaluates with it: what training and evaluation have in
 * common.
 */
import { preprocessingOf } from '../config/preprocessing.js';
import type { Config } from '../config/schema.js';
import type { Gather } from '../convert/checkpoint.js';
import type { Batch } from '../data/dataset.js';
import type { Fit } from '../data/images/fit.js';
import { inputSize, type Pipeline } from '../data/pipeline/pipeline.js';
import { GqaError } from '../errors.js';
import { variantOf } from '../model/variants.js';
import { draws, shuffle } from '../random.js';
import type { Stop } from '../run/interrupt.js';
import type { Counted, Progress } from '../run/progress.js';
import type { Feeding } from './added-up.js';
import { calibrate } from './calibrate.js';
import { openDistances } from './distances.js';
import { evaluate, type Metrics } from './evaluate.js';
import type { BuiltModel } from './model.js';
import { gatherOutputs } from './outputs.js';
import type { Part } from './parts.js';
import { attentionEntries, type Given } from './snapshot.js';
import { gatherStatistics } from './statistics.js';
import { createTrainer, type Trainer, type TrainerMode, type TrainerOptions } from './trainer.js';

/** Who sees how far it is, and may end it. */
export interface Onlooker {
  progress(label: string, total: number, counted?: Counted): Progress;
  /** Asked before every batch and between phases. */
  stop: Stop;
}

/** What a trainer is built from. */
function trainerOptions(config: Config, { model: { shape, variant } }: BuiltModel, part: Part): TrainerOptions {
  const { height, width } = imageForm(config, part);
  return { ...stepOptions(config), shape, variant, evalBatchSize: config.eval.batchSize, height, width };
}

/** Size at which a part's images come to the trainer, and how they are brought to it. */
export function imageForm({ data, model }: Config, { split }: Part): { height: number; width: number; fit: Fit } {
  const fit = preprocessingOf(data);
  return { ...inputSize(split.source, model.imageSize, fit), fit };
}

/** What a config alone says of a trainer. */
export function stepOptions({
  data,
  model,
  train,
  seed,
}: Config): Omit<TrainerOptions, 'shape' | 'variant' | 'evalBatchSize' | 'height' | 'width'> {
  const { windowSize, evalAllocation, evalNoise } = model;
  const { labelSmoothing, batchSize, clipGrad, gradAccumSteps, emaDecay, emaWarmup, freeze, precision } = train;
  return {
    windowSize,
    labelSmoothing,
    adamw: train,
    clipGrad,
    ema: emaDecay === null ? null : { decay: emaDecay, warmup: emaWarmup },
    freeze,
    distill:
      train.distillFrom === null
        ? null
        : {
            weight: train.distillWeight,
            temperature: train.distillTemperature,
            from: train.distill,
            features: train.distillFeatures,
          },
    recompute: train.recompute === 'blocks',
    seed,
    batchSize,
    pixels: preprocessingOf(data),
    gradAccumSteps,
    mix: data.mixup !== null || data.cutmix !== null,
    precision,
    evalAllocation,
    evalNoise,
  };
}

/**
 * A trainer that holds the model as evaluation needs it: a key-driven variant without a saved state is calibrated on
 * training images, drawn at random since many data sets are sorted by class.
 * @param train what it is calibrated on; null: there are no training images. @param part whose images' size the trainer
 *   takes
 * @throws GqaError `data` when there is nothing to calibrate on
 */
export async function readyTrainer(
  config: Config,
  built: BuiltModel,
  pipeline: Pipeline,
  train: Part | null,
  part: Part,
  mode: TrainerMode,
  { progress, stop }: Onlooker,
): Promise<Trainer> {
  const { model } = built;
  await stop.check();
  const trainer = createTrainer(trainerOptions(config, built, part), mode);
  try {
    trainer.begin(model);
    if (variantOf(model.variant).allocate !== undefined && !built.attentionSaved) {
      if (train === null) throw nothingToCalibrateOn(`saved state of ${model.variant}`);
      const part = calibrationPart(config, train);
      const batches = stop.each(testBatches(config, pipeline, part));
      const seen = shown(batches, progress('calibrating', part.indices.length));
      const attention = await calibrate(trainer, model, model.attention, seen);
      trainer.restore(attentionEntries(attention));
    }
    return trainer;
  } catch (error) {
    trainer.dispose();
    throw error;
  }
}

/** A trainer that goes on where another stopped. @param entries all that that one held */
export function resumedTrainer(
  config: Config,
  built: BuiltModel,
  part: Part,
  mode: TrainerMode,
  entries: readonly Given[],
): Trainer {
  const trainer = createTrainer(trainerOptions(config, built, part), mode);
  try {
    trainer.restore(entries);
    return trainer;
  } catch (error) {
    trainer.dispose();
    throw error;
  }
}

/** Training images that a model is calibrated on. */
function calibrationPart({ seed, model }: Config, { split, indices }: Part): Part {
  const drawn = shuffle(indices.slice(), draws(seed, 'calibration'));
  return { split, indices: drawn.slice(0, model.calibrationImages) };
}

/** Asks models what conversion wants to know of them, on the same images as calibration. */
export function gatherOn(
  config: Config,
  pipeline: Pipeline,
  train: Part | null,
  mode: TrainerMode,
  { progress, stop }: Onlooker,
): Gather {
  const images = (most = Number.POSITIVE_INFINITY) => {
    if (train === null) throw nothingToCalibrateOn('grouped key-value heads');
    const all = calibrationPart(config, train);
    const part = { ...all, indices: all.indices.slice(0, most) };
    const { height, width } = imageForm(config, part);
    const feeding: Feeding = { batchSize: config.eval.batchSize, height, width, pixels: preprocessingOf(config.data) };
    const batches = (label: string): AsyncIterable<Batch> =>
      shown(stop.each(testBatches(config, pipeline, part)), progress(label, part.indices.length));
    return { feeding, batches };
  };
  return {
    statistics(model, names, layer) {
      const { feeding, batches } = images();
      const label = layer === null ? 'gathering statistics' : `statistics, layer ${layer}`;
      return gatherStatistics(model, names, feeding, batches(label), mode, layer);
    },
    async distances(mha) {
      const { feeding, batches } = images(PROBED_IMAGES);
      return openDistances(mha, feeding, () => batches('measuring layers'), mode);
    },
    outputs(mha, converted, layer) {
      const { feeding, batches } = images();
      return gatherOutputs(mha, converted, layer, feeding, batches(`fitting layer ${layer}`), mode);
    },
  };
}

/** How far a layer moves the output is measured on so many of them: once for each layer, and for keys and values. */
const PROBED_IMAGES = 64;

const nothingToCalibrateOn = (lacking: string): GqaError =>
  new GqaError('data', `the checkpoint has no ${lacking}, and there are no training images to calibrate it on`, {
    hint: 'Give a data.root with the training split beside the one that is measured, or a checkpoint that was trained as this variant.',
  });

/** The same batches; the bar moves on when the next one is asked for, and goes with the last. */
async function* shown(batches: AsyncIterable<Batch>, bar: Progress): AsyncGenerator<Batch, void, undefined> {
  let done = 0;
  try {
    for await (const batch of batches) {
      yield batch;
      done += batch.images;
      bar.tick(done);
    }
  } finally {
    bar.stop();
  }
}

/** A part's images in order, with the test transform. */
function testBatches(config: Config, pipeline: Pipeline, part: Part): AsyncIterable<Batch> {
  return pipeline.batches(part.split, part.indices, {
    ...imageForm(config, part),
    batchSize: config.eval.batchSize,
    seed: config.seed,
    epoch: null,
    augment: 'none',
  });
}

/** Evaluates what the trainer holds on a part, with progress. */
export async function evaluateWithProgress(
  config: Config,
  trainer: Trainer,
  numClasses: number,
  pipeline: Pipeline,
  part: Part,
  label: string,
  watch: Onlooker,
  onLogits: ((logits: Float32Array, labels: Int32Array) => void) | null = null,
): Promise<Metrics> {
  const bar = watch.progress(label, part.indices.length);
  const started = performance.now();
  const show = {
    seen: bar.tick,
    figures: ({ images, loss, top1 }: Metrics): void =>
      bar.update(images, { loss, top1, imagesPerSecond: images / ((performance.now() - started) / 1000) }),
  };
  try {
    return await evaluate(trainer, numClasses, watch.stop.each(testBatches(config, pipeline, part)), show, onLogits);
  } finally {
    bar.stop();
  }
}
