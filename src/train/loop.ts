/**
 * The experiment, from top to bottom: split the data, take the model as it was built, evaluate it as converted, train, evaluate and save after every epoch,
 * and measure the best checkpoint on the test split at the end. It computes; what it finds goes to the `Watch` it is given.
 */
import { setImmediate } from 'node:timers/promises';
import * as tf from '@tensorflow/tfjs-core';
import { preprocessingOf } from '../config/preprocessing.js';
import type { Config } from '../config/schema.js';
import type { Batch, Dataset, Split } from '../data/dataset.js';
import { bytesOfMean } from '../data/pictures/erase.js';
import type { Fit } from '../data/pictures/fit.js';
import { inputSize, type Pipeline } from '../data/pipeline/pipeline.js';
import { holdOut, takeStratified } from '../data/subset.js';
import { GqaError } from '../errors.js';
import type { Params } from '../model/params.js';
import { variantOf } from '../model/variants.js';
import { draws, shuffle } from '../random.js';
import type { Progress } from '../run/progress.js';
import type { EpochResult } from '../run/run-folder.js';
import { calibrate } from './calibrate.js';
import { evaluate, type Metrics } from './evaluate.js';
import { drawMix } from './mix.js';
import { type BuiltModel, buildModel, modelFile } from './model.js';
import { learningRate } from './schedule.js';
import type { Trainer, TrainerMode, TrainerOptions } from './trainer.js';
import { TRAINERS } from './trainers.js';

/** Pictures of a split, by index. */
export interface Part {
  split: Split;
  indices: Int32Array;
}

export interface Parts {
  train: Part;
  /** What the best epoch is chosen on: the validation part, or the test split under protocol `paper`. */
  selection: Part;
  test: Part;
}

/** Means over the pictures since the last such line. */
export interface LogLine {
  epoch: number;
  step: number;
  lr: number;
  loss: number;
  top1: number;
  imagesPerSecond: number;
  /** Part of the time that steps waited for pictures. */
  dataWait: number;
}

/** Who listens. */
export interface Watch {
  notice(line: string): void;
  progress(label: string, total: number): Progress;
  logged(line: LogLine): void;
  epochDone(result: EpochResult): void;
  /** Saves a model file; returns its path. */
  checkpoint(which: 'last' | 'best', bytes: Buffer): string;
  /** Asked before every step. */
  stopRequested(): 'sigint' | 'sigterm' | null;
}

export interface Outcome {
  converted: Metrics | null;
  best: { epoch: number; step: number; top1: number; loss: number };
  test: Metrics;
  steps: number;
  trainImagesPerSecond: number | null;
}

/** Limits count per split, before the validation part is taken from the training split. */
export function splitParts(config: Config, dataset: Dataset): Parts {
  const { limit, valFraction } = config.data;
  const train = takeStratified(dataset.train.labels, limit.train, config.seed, 'limit/train');
  const test: Part = { split: dataset.test, indices: takeStratified(dataset.test.labels, limit.test, config.seed, 'limit/test') };
  if (config.train.protocol === 'paper') return { train: { split: dataset.train, indices: train }, selection: test, test };
  const held = holdOut(dataset.train.labels, train, valFraction, config.seed);
  return { train: { split: dataset.train, indices: held.train }, selection: { split: dataset.train, indices: held.validation }, test };
}

/**
 * @param classes names, for the checkpoints. @param parts as `splitParts` gives them. @param teacher as `buildTeacher` gives it; freed once it is taken over
 * @throws GqaError `training` when the loss is not finite, `sigint` or `sigterm` when asked to stop (the last checkpoint is saved first)
 */
export async function runExperiment(
  config: Config,
  classes: string[],
  parts: Parts,
  pipeline: Pipeline,
  built: BuiltModel,
  teacher: Params | null,
  mode: TrainerMode,
  watch: Watch,
): Promise<Outcome> {
  const { shape, variant } = built.model;
  const { train } = config;
  const onTest = train.protocol === 'paper';
  watch.notice(
    `${parts.train.indices.length} training, ${parts.selection.indices.length} ${onTest ? 'test pictures, on which the best epoch is chosen too (protocol paper)' : `validation, ${parts.test.indices.length} test pictures`}`,
  );

  const trainer = await readyTrainer(config, built, pipeline, parts, parts.train, mode);
  const measure = (part: Part, label: string): Promise<Metrics> =>
    evaluateWithProgress(config, trainer, shape.numClasses, pipeline, part, label, watch);
  const modelNow = (step: number): Buffer => {
    const now = trainer.model();
    const bytes = modelFile(now, classes, step, preprocessingOf(config.data));
    tf.dispose([now.params, now.attention]);
    return bytes;
  };
  try {
    if (teacher !== null) {
      trainer.loadTeacher(teacher);
      tf.dispose(teacher);
    }
    let converted: Metrics | null = null;
    if (built.fromKvHeads !== null) {
      converted = await measure(parts.selection, 'as converted');
      watch.epochDone({ epoch: 0, step: 0, lr: null, train: null, selection: converted, imagesPerSecond: null });
    }

    const stepsPerEpoch = Math.ceil(parts.train.indices.length / (train.batchSize * train.gradAccumSteps));
    const totalSteps = Math.min(train.steps ?? Number.POSITIVE_INFINITY, train.epochs * stepsPerEpoch);
    const timed = { images: 0, seconds: 0 }; // training alone, without evaluation
    let step = 0;
    let best: (Outcome['best'] & { path: string }) | null = null;
    for (let epoch = 1; step < totalSteps; epoch++) {
      const trained = await trainEpoch(config, trainer, pipeline, parts.train, { epoch, step, stepsPerEpoch, totalSteps }, watch, modelNow);
      step = trained.step;
      timed.images += trained.images;
      timed.seconds += trained.seconds;
      const selection = await measure(parts.selection, `${onTest ? 'test' : 'validation'} after epoch ${epoch}`);
      const bytes = modelNow(step);
      watch.checkpoint('last', bytes);
      if (best === null || selection.top1 > best.top1 || (selection.top1 === best.top1 && selection.loss < best.loss)) {
        best = { epoch, step, top1: selection.top1, loss: selection.loss, path: watch.checkpoint('best', bytes) };
      }
      const { lr, means, images, seconds, waited } = trained;
      const pace = { imagesPerSecond: images / seconds, dataWait: waited / seconds };
      watch.epochDone({ epoch, step, lr, train: means, selection, ...pace, tensors: tf.memory().numTensors });
    }
    if (best === null) {
      // Nothing was trained: the model as it came is the best there is.
      const { top1, loss } = converted ?? (await measure(parts.selection, 'untrained'));
      best = { epoch: 0, step: 0, top1, loss, path: watch.checkpoint('best', modelNow(0)) };
    }

    const { model: saved } = buildModel(best.path, shape, variant, config.seed); // what the file holds, not what memory holds
    trainer.load(saved, null);
    tf.dispose([saved.params, saved.attention]);
    const test = await measure(parts.test, `test, best epoch (${best.epoch})`);
    const { path: _, ...chosen } = best;
    return { converted, best: chosen, test, steps: step, trainImagesPerSecond: timed.seconds > 0 ? timed.images / timed.seconds : null };
  } finally {
    trainer.dispose();
  }
}

/** Where in the run an epoch begins. */
interface Clock {
  epoch: number;
  /** Optimizer steps done. */
  step: number;
  stepsPerEpoch: number;
  totalSteps: number;
}

/** One pass over the training pictures, or what is left of the run's steps. */
async function trainEpoch(
  config: Config,
  trainer: Trainer,
  pipeline: Pipeline,
  part: Part,
  { epoch, step: firstStep, stepsPerEpoch, totalSteps }: Clock,
  watch: Watch,
  modelNow: (step: number) => Buffer,
): Promise<{ step: number; lr: number; means: { loss: number; top1: number }; images: number; seconds: number; waited: number }> {
  const { train, model } = config;
  const lastStep = Math.min(totalSteps, firstStep + stepsPerEpoch);
  const bar = watch.progress(
    `epoch ${epoch}/${Math.ceil(totalSteps / stepsPerEpoch)}`,
    Math.min(part.indices.length, (lastStep - firstStep) * train.batchSize * train.gradAccumSteps),
  );
  const batches = pipeline.batches(part.split, part.indices, {
    ...pictureForm(config, part),
    batchSize: train.batchSize,
    seed: config.seed,
    epoch,
    augment: config.data.augment,
    randomErasing: config.data.randomErasing,
    erasedTo: bytesOfMean(preprocessingOf(config.data).mean),
  });
  const rate = (step: number): number => learningRate(train.schedule, train.lr, step, totalSteps, train.warmupSteps);
  const inEpoch = { loss: 0, top1: 0, images: 0, seconds: 0, waited: 0 };
  const lastBatch = Math.ceil(part.indices.length / train.batchSize) - 1;
  let batchIndex = 0;
  let step = firstStep;
  let started = performance.now();
  let waited = 0; // seconds, since the last line
  let asked = started;
  try {
    for await (const batch of batches) {
      waited += (performance.now() - asked) / 1000;
      await setImmediate(); // lets signals in, which a native call holds back
      const stop = watch.stopRequested();
      if (stop !== null) {
        const path = watch.checkpoint('last', modelNow(step));
        throw new GqaError(stop, `stopped after step ${step} of ${totalSteps}; the model is in ${path}`);
      }
      const inStep = batchIndex % train.gradAccumSteps;
      const last = inStep === train.gradAccumSteps - 1 || batchIndex === lastBatch;
      const refresh = inStep === 0 && (step - firstStep) % model.windowSize === 0;
      const mix = drawMix(config.data, model.imageSize, draws(config.seed, 'mix', epoch, batchIndex));
      trainer.train(batch, { step, lr: rate(step), refresh, last, mix });
      batchIndex++;
      if (last) step++;

      if (last && (step % train.logEvery === 0 || step === lastStep)) {
        const sums = trainer.readSums(); // host sync
        if (sums.badStep > 0) throw notFinite(sums.badStep, rate(sums.badStep - 1));
        const seconds = (performance.now() - started) / 1000;
        const { images } = sums;
        watch.logged({
          epoch,
          step,
          lr: rate(step - 1),
          loss: sums.loss / images,
          top1: sums.top1 / images,
          imagesPerSecond: images / seconds,
          dataWait: waited / seconds,
        });
        inEpoch.loss += sums.loss;
        inEpoch.top1 += sums.top1;
        inEpoch.images += images;
        inEpoch.seconds += seconds;
        inEpoch.waited += waited;
        bar.update(inEpoch.images, { imagesPerSecond: inEpoch.images / inEpoch.seconds, ...meansOf(inEpoch) });
        started = performance.now();
        waited = 0;
      }
      if (step === lastStep) break;
      asked = performance.now();
    }
  } finally {
    bar.stop();
  }
  return { step, lr: rate(step - 1), means: meansOf(inEpoch), images: inEpoch.images, seconds: inEpoch.seconds, waited: inEpoch.waited };
}

const meansOf = ({ loss, top1, images }: { loss: number; top1: number; images: number }): { loss: number; top1: number } => ({
  loss: loss / images,
  top1: top1 / images,
});

function notFinite(step: number, lr: number): GqaError {
  return new GqaError('training', `the loss is not finite at step ${step}, learning rate ${lr}`, {
    hint: 'Lower train.lr, or add train.warmup_steps. The last checkpoint that was saved is still good.',
  });
}

/** What a trainer is built from. */
export function trainerOptions(config: Config, { model: { shape, variant } }: BuiltModel, part: Part): TrainerOptions {
  const { height, width } = pictureForm(config, part);
  return { ...stepOptions(config), shape, variant, evalBatchSize: config.eval.batchSize, height, width };
}

/** Size at which a part's pictures come to the trainer, and how they are brought to it. */
function pictureForm({ data, model }: Config, { split }: Part): { height: number; width: number; fit: Fit } {
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
  const { labelSmoothing, batchSize, clipGrad, gradAccumSteps, emaDecay, freeze, precision } = train;
  return {
    windowSize,
    labelSmoothing,
    adamw: train,
    clipGrad,
    emaDecay,
    freeze,
    distill: train.distillFrom === null ? null : { weight: train.distillWeight, temperature: train.distillTemperature },
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
 * A trainer that holds the model as evaluation needs it: a key-driven variant without a saved state is calibrated on training pictures, drawn at random since many data sets are sorted
 * by class. The model's tensors are disposed.
 * @param part whose pictures' size the trainer takes
 */
export async function readyTrainer(
  config: Config,
  built: BuiltModel,
  pipeline: Pipeline,
  { train }: Parts,
  part: Part,
  mode: TrainerMode,
): Promise<Trainer> {
  const { model } = built;
  const trainer = TRAINERS[mode](trainerOptions(config, built, part));
  try {
    trainer.load(model, null);
    tf.dispose(model.params);
    if (variantOf(model.variant).allocation !== undefined && !built.attentionSaved) {
      const indices = shuffle(train.indices.slice(), draws(config.seed, 'calibration')).slice(0, config.model.calibrationImages);
      const attention = await calibrate(trainer, model, model.attention, testBatches(config, pipeline, { split: train.split, indices }));
      trainer.loadAttention(attention);
      tf.dispose(attention);
    }
    tf.dispose(model.attention);
    return trainer;
  } catch (error) {
    trainer.dispose();
    throw error;
  }
}

/** A part's pictures in order, with the test transform. */
export function testBatches(config: Config, pipeline: Pipeline, part: Part): AsyncIterable<Batch> {
  return pipeline.batches(part.split, part.indices, {
    ...pictureForm(config, part),
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
  watch: Pick<Watch, 'progress'>,
  onLogits: ((logits: Float32Array, labels: Int32Array) => void) | null = null,
): Promise<Metrics> {
  const bar = watch.progress(label, part.indices.length);
  const started = performance.now();
  const show = ({ images, loss, top1 }: Metrics): void =>
    bar.update(images, { loss, top1, imagesPerSecond: images / ((performance.now() - started) / 1000) });
  try {
    return await evaluate(trainer, numClasses, testBatches(config, pipeline, part), show, onLogits);
  } finally {
    bar.stop();
  }
}
