/**
 * The experiment, from top to bottom: split the data, take the model as it was built, evaluate it as converted, train, evaluate and save after every epoch,
 * and measure the best checkpoint on the test split at the end. It computes; what it finds goes to the `Watch` it is given.
 */
import { setImmediate } from 'node:timers/promises';
import * as tf from '@tensorflow/tfjs-core';
import type { Config } from '../config/schema.js';
import type { Batch, Dataset, Split } from '../data/dataset.js';
import { inputSize, type Pipeline } from '../data/pipeline.js';
import { holdOut, takeStratified } from '../data/subset.js';
import { GqaError } from '../errors.js';
import { variantOf } from '../model/variants.js';
import { draws, shuffle } from '../random.js';
import type { Progress } from '../run/progress.js';
import type { EpochResult } from '../run/run-folder.js';
import { initialMoments, stepSizes } from './adamw.js';
import { calibrate } from './calibrate.js';
import { deviceBatch } from './device-batch.js';
import { evaluate, type Metrics } from './evaluate.js';
import { type BuiltModel, buildModel, type Model, modelFile } from './model.js';
import { uniformNoise } from './noise.js';
import { learningRate } from './schedule.js';
import { type StepOptions, type StepSums, type TrainState, trainStep } from './step.js';

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

/** @throws GqaError `training` when the loss is not finite, `sigint` or `sigterm` when asked to stop (the last checkpoint is saved first) */
export async function runExperiment(
  config: Config,
  dataset: Dataset,
  pipeline: Pipeline,
  built: BuiltModel,
  watch: Watch,
): Promise<Outcome> {
  const parts = splitParts(config, dataset);
  const { shape, variant } = built.model;
  const { train } = config;
  const measure = (model: Model, part: Part, label: string): Promise<Metrics> =>
    evaluateWithProgress(config, model, pipeline, part, label, watch);
  watch.notice(
    `${parts.train.indices.length} training, ${parts.selection.indices.length} ${train.protocol === 'paper' ? 'test pictures, on which the best epoch is chosen too (protocol paper)' : `validation, ${parts.test.indices.length} test pictures`}`,
  );

  const model = await readyToEvaluate(config, built, pipeline, parts);
  let converted: Metrics | null = null;
  if (built.fromKvHeads !== null) {
    converted = await measure(model, parts.selection, 'as converted');
    watch.epochDone({ epoch: 0, step: 0, lr: null, train: null, selection: converted, imagesPerSecond: null });
  }

  let state: TrainState = { params: model.params, moments: tf.tidy(() => initialMoments(model.params)), attention: model.attention };
  const current = (): Model => ({ shape, variant, params: state.params, attention: state.attention });
  const options: StepOptions = { shape, variant, windowSize: config.model.windowSize, labelSmoothing: train.labelSmoothing, adamw: train };
  const stepsPerEpoch = Math.ceil(parts.train.indices.length / train.batchSize);
  const totalSteps = Math.min(train.steps ?? Number.POSITIVE_INFINITY, train.epochs * stepsPerEpoch);
  const timed = { images: 0, seconds: 0 }; // training alone, over the run
  let step = 0;
  let best: (Outcome['best'] & { path: string }) | null = null;

  for (let epoch = 1; step < totalSteps; epoch++) {
    const epochImages = Math.min(parts.train.indices.length, (totalSteps - step) * train.batchSize);
    const bar = watch.progress(`epoch ${epoch}/${Math.ceil(totalSteps / stepsPerEpoch)}`, epochImages);
    const sums = runningSums();
    const inEpoch = { images: 0, seconds: 0 };
    let imagesSinceLog = 0;
    let lr = 0;
    let started = performance.now();
    const batches = pipeline.batches(parts.train.split, parts.train.indices, {
      ...inputSize(parts.train.split.source, shape.imageSize),
      batchSize: train.batchSize,
      seed: config.seed,
      epoch,
      augment: augmentation(config),
    });
    let stepInEpoch = 0;
    for await (const batch of batches) {
      await setImmediate(); // lets signals in, which a native call holds back
      const stop = watch.stopRequested();
      if (stop !== null) {
        bar.stop();
        const path = watch.checkpoint('last', modelFile(current(), dataset.classes, step));
        throw new GqaError(stop, `stopped after step ${step} of ${totalSteps}; the model is in ${path}`);
      }
      lr = learningRate(train.schedule, train.lr, step, totalSteps, train.warmupSteps);
      const inputs = {
        ...deviceBatch(batch, shape.imageSize),
        sizes: stepSizes(lr, step + 1, train),
        refresh: tf.scalar(stepInEpoch % config.model.windowSize === 0 ? 1 : 0),
        noise: uniformNoise(shape, variant, config.seed, 'train', step),
      };
      const next = trainStep(state, inputs, options);
      tf.dispose([state, inputs, next.counts] as unknown as tf.TensorContainer);
      state = next.state;
      sums.add(step + 1, lr, next.sums);
      step++;
      stepInEpoch++;
      imagesSinceLog += batch.images;

      if (step % train.logEvery === 0 || stepInEpoch === stepsPerEpoch || step === totalSteps) {
        const means = sums.read(); // host sync
        const seconds = (performance.now() - started) / 1000;
        const imagesPerSecond = imagesSinceLog / seconds;
        watch.logged({ epoch, step, lr, ...means.recent, imagesPerSecond });
        inEpoch.images += imagesSinceLog;
        inEpoch.seconds += seconds;
        bar.update(inEpoch.images, { imagesPerSecond: inEpoch.images / inEpoch.seconds, ...means.epoch });
        imagesSinceLog = 0;
        started = performance.now();
      }
      if (step === totalSteps) break;
    }
    bar.stop();
    timed.images += inEpoch.images;
    timed.seconds += inEpoch.seconds;
    const selection = await measure(
      current(),
      parts.selection,
      train.protocol === 'paper' ? `test after epoch ${epoch}` : `validation after epoch ${epoch}`,
    );
    const bytes = modelFile(current(), dataset.classes, step);
    watch.checkpoint('last', bytes);
    if (best === null || selection.top1 > best.top1 || (selection.top1 === best.top1 && selection.loss < best.loss)) {
      best = { epoch, step, top1: selection.top1, loss: selection.loss, path: watch.checkpoint('best', bytes) };
    }
    watch.epochDone({
      epoch,
      step,
      lr,
      train: sums.epochMeans(),
      selection,
      imagesPerSecond: inEpoch.images / inEpoch.seconds,
      tensors: tf.memory().numTensors,
    });
  }
  if (best === null) {
    // Nothing was trained: the model as it came is the best there is.
    const selection = converted ?? (await measure(current(), parts.selection, 'untrained'));
    best = {
      epoch: 0,
      step: 0,
      top1: selection.top1,
      loss: selection.loss,
      path: watch.checkpoint('best', modelFile(current(), dataset.classes, 0)),
    };
  }
  tf.dispose(state as unknown as tf.TensorContainer);

  const { model: saved } = buildModel(best.path, shape, variant, config.seed); // what the file holds, not what memory holds
  const test = await measure(saved, parts.test, `test, best epoch (${best.epoch})`);
  tf.dispose([saved.params, saved.attention]);
  const { path: _, ...chosen } = best;
  return { converted, best: chosen, test, steps: step, trainImagesPerSecond: timed.seconds > 0 ? timed.images / timed.seconds : null };
}

/**
 * The model as evaluation needs it: a key-driven variant without a saved state is calibrated on training pictures, drawn at random since many data sets are sorted by class.
 * The old state is disposed.
 */
export async function readyToEvaluate(config: Config, built: BuiltModel, pipeline: Pipeline, { train }: Parts): Promise<Model> {
  if (variantOf(built.model.variant).allocation === undefined || built.attentionSaved) return built.model;
  const indices = shuffle(train.indices.slice(), draws(config.seed, 'calibration')).slice(0, config.model.calibrationImages);
  const attention = await calibrate(built.model, testBatches(config, pipeline, { split: train.split, indices }));
  tf.dispose(built.model.attention);
  return { ...built.model, attention };
}

/** A part's pictures in order, with the test transform. */
export function testBatches(config: Config, pipeline: Pipeline, part: Part): AsyncIterable<Batch> {
  return pipeline.batches(part.split, part.indices, {
    ...inputSize(part.split.source, config.model.imageSize),
    batchSize: Math.min(config.eval.batchSize, part.indices.length),
    seed: config.seed,
    epoch: null,
    augment: 'none',
  });
}

/** Evaluates a model on a part under the config's rules, with progress. */
export async function evaluateWithProgress(
  config: Config,
  model: Model,
  pipeline: Pipeline,
  part: Part,
  label: string,
  watch: Pick<Watch, 'progress'>,
  onLogits: (logits: Float32Array, labels: Int32Array) => void = () => {},
): Promise<Metrics> {
  const bar = watch.progress(label, part.indices.length);
  const started = performance.now();
  try {
    return await evaluate(model, testBatches(config, pipeline, part), { ...config.model, seed: config.seed }, (soFar, logits, labels) => {
      onLogits(logits, labels);
      bar.update(soFar.images, {
        loss: soFar.loss,
        top1: soFar.top1,
        imagesPerSecond: soFar.images / ((performance.now() - started) / 1000),
      });
    });
  } finally {
    bar.stop();
  }
}

/** The preset under which pictures are disturbed in training. @throws GqaError for the one that this version does not have */
export function augmentation(config: Config): 'none' | 'light' {
  if (config.data.augment !== 'paper') return config.data.augment;
  throw new GqaError('usage', 'data.augment is paper (RandAugment), which this version does not have yet', {
    hint: 'Use --set data.augment=light (flip, padded crop) or none.',
  });
}

/** Sums of steps, left on the device until they are read. */
function runningSums(): {
  add(step: number, lr: number, sums: StepSums): void;
  read(): { recent: { loss: number; top1: number }; epoch: { loss: number; top1: number } };
  epochMeans(): { loss: number; top1: number };
} {
  let pending: { step: number; lr: number; sums: StepSums }[] = [];
  const epoch = { loss: 0, top1: 0, images: 0 };
  const means = (of: typeof epoch): { loss: number; top1: number } => ({ loss: of.loss / of.images, top1: of.top1 / of.images });
  return {
    add: (step, lr, sums) => pending.push({ step, lr, sums }),
    read() {
      const recent = { loss: 0, top1: 0, images: 0 };
      const values = tf.tidy(() => tf.stack(pending.flatMap(({ sums }) => [sums.loss, sums.top1, sums.images])).dataSync());
      pending.forEach(({ step, lr, sums }, i) => {
        const [loss, top1, images] = [values[3 * i] as number, values[3 * i + 1] as number, values[3 * i + 2] as number];
        if (!Number.isFinite(loss)) {
          throw new GqaError('training', `the loss is ${loss / images} at step ${step}, learning rate ${lr}`, {
            hint: 'Lower train.lr, or add train.warmup_steps. The last checkpoint that was saved is still good.',
          });
        }
        recent.loss += loss;
        recent.top1 += top1;
        recent.images += images;
        tf.dispose(sums);
      });
      pending = [];
      epoch.loss += recent.loss;
      epoch.top1 += recent.top1;
      epoch.images += recent.images;
      return { recent: means(recent), epoch: means(epoch) };
    },
    epochMeans: () => means(epoch),
  };
}
