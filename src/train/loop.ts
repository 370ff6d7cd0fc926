/**
 * The experiment, from top to bottom: split the data, take the model as it was built, evaluate it as converted, train,
 * evaluate and save after every epoch, and measure the best checkpoint on the test split at the end. It computes; what
 * it finds goes to the `Watch` it is given.
 */
import * as tf from '@tensorflow/tfjs-core';
import { preprocessingOf } from '../config/preprocessing.js';
import type { Config } from '../config/schema.js';
import { counted } from '../counted.js';
import { bytesOfMean } from '../data/images/erase.js';
import type { Pipeline } from '../data/pipeline/pipeline.js';
import { GqaError, withAfterthought } from '../errors.js';
import type { Values } from '../model/params.js';
import { draws } from '../random.js';
import type { EpochEnd } from '../run/epoch-line.js';
import { interruption, isInterruption } from '../run/interrupt.js';
import type { EpochResult } from '../run/run-folder.js';
import type { Metrics } from './evaluate.js';
import { drawMix } from './mix.js';
import { type BuiltModel, buildModel, modelFile } from './model.js';
import type { Part, Parts } from './parts.js';
import { planOf } from './plan.js';
import { evaluateWithProgress, imageForm, type Onlooker, readyTrainer } from './ready.js';
import { runClock } from './run-clock.js';
import { requireMostSteps, requireScale } from './scaling.js';
import { learningRate } from './schedule.js';
import { evaluatedModel, teacherEntries } from './snapshot.js';
import type { LossScaling, Trainer, TrainerMode } from './trainer.js';

/** Means over the images since the last such line. */
export interface LogLine {
  epoch: number;
  step: number;
  lr: number;
  loss: number;
  top1: number;
  imagesPerSecond: number;
  /** Part of the time that steps waited for images. */
  dataWait: number;
  /** With float16. */
  float16: LossScaling | null;
}

/** Who listens. */
export interface Watch extends Onlooker {
  notice(line: string): void;
  logged(line: LogLine): void;
  epochDone(result: EpochResult, end: EpochEnd): void;
  /** Saves a model file; returns its path. */
  checkpoint(which: 'last' | 'best', bytes: Buffer): string;
  /** After every optimizer step, and when an epoch begins. */
  reached(at: { epoch: number; step: number }): void;
}

export interface Outcome {
  /** Null from scratch and with a fresh head, which measures nothing before it is trained. */
  converted: Metrics | null;
  best: { epoch: number; step: number; top1: number; loss: number };
  /** null: the data set has no test split. */
  test: Metrics | null;
  steps: number;
  /** How many of them float16 left out; null with other precisions. */
  stepsLeftOut: number | null;
  trainImagesPerSecond: number | null;
}

/**
 * @param classes names, for the checkpoints. @param parts as `splitParts` gives them. @param teacher as `buildTeacher`
 *   gives it; freed once it is taken over
 * @throws GqaError `training` when the loss is not finite or float16 left out most steps; the interruption when asked
 *   to stop. Whatever ends it in the middle of an epoch, the model as it is then is saved first
 *   (unless it is no longer finite), and the error tells which checkpoints there are
 */
export async function runExperiment(
  config: Config,
  classes: string[],
  parts: Parts,
  pipeline: Pipeline,
  built: BuiltModel,
  teacher: Values | null,
  mode: TrainerMode,
  watch: Watch,
): Promise<Outcome> {
  const standing: Standing = {
    doing: 'before the first step',
    step: 0,
    totalSteps: 0,
    last: null,
    best: null,
    notSaved: null,
  };
  try {
    return await experiment(config, classes, parts, pipeline, built, teacher, mode, watch, standing);
  } catch (error) {
    const models = savedModels(standing);
    if (isInterruption(error)) {
      const steps = standing.step === 0 ? '' : ` after step ${standing.step} of ${standing.totalSteps}`;
      throw interruption(watch.stop.signal, `${steps} (${standing.doing})`, models);
    }
    throw standing.step === 0 ? error : withAfterthought(error, models);
  }
}

/** How far an experiment is, for what is told when it ends early. */
interface Standing {
  doing: string;
  step: number;
  totalSteps: number;
  /** Checkpoints that are on the disk. */
  last: SavedModel | null;
  best: SavedModel | null;
  /** Why the model as it is was not saved. */
  notSaved: string | null;
}

interface SavedModel {
  step: number;
  path: string;
}

/** True whatever ended the run: which model lies where. */
function savedModels({ step, last, best, notSaved }: Standing): string {
  const lacking = notSaved === null ? [] : [`The model after step ${step} was not saved: ${notSaved}`];
  const saved = [last, best].filter((model) => model !== null);
  const places = saved.map(({ step, path }, i) =>
    i === 0 ? `The model after step ${step} is in ${path}` : `the best one, after step ${step}, in ${path}`,
  );
  return [...lacking, saved.length === 0 ? 'No model was saved.' : `${places.join('; ')}.`].join('\n');
}

async function experiment(
  config: Config,
  classes: string[],
  parts: Parts,
  pipeline: Pipeline,
  built: BuiltModel,
  teacher: Values | null,
  mode: TrainerMode,
  watch: Watch,
  standing: Standing,
): Promise<Outcome> {
  const { shape, variant } = built.model;
  const { train } = config;
  const onTest = train.protocol === 'paper';
  parts.notices.forEach(watch.notice);
  const others =
    parts.test === null
      ? counted(parts.selection.indices.length, 'validation image')
      : `${parts.selection.indices.length} validation, ${counted(parts.test.indices.length, 'test image')}`;
  watch.notice(
    `${parts.train.indices.length} training, ${onTest ? `${counted(parts.selection.indices.length, 'test image')}, on which the best epoch is chosen too (protocol paper)` : others}`,
  );
  const { stepsPerEpoch, totalSteps } = planOf(train, parts.train.indices.length);
  const epochs = Math.ceil(totalSteps / stepsPerEpoch);
  const clock = runClock(watch.progress, {
    train: Math.min(epochs * parts.train.indices.length, totalSteps * train.batchSize * train.gradAccumSteps),
    evaluate:
      ((built.fromKvHeads === null || built.freshHead !== null ? 0 : 1) + epochs) * parts.selection.indices.length +
      (onTest ? 0 : (parts.test?.indices.length ?? 0)),
  });

  const trainer = await readyTrainer(config, built, pipeline, parts.train, parts.train, mode, watch);
  const measure = (part: Part, label: string): Promise<Metrics> => {
    standing.doing = label;
    const { stop } = watch;
    return evaluateWithProgress(config, trainer, shape.numClasses, pipeline, part, label, {
      stop,
      progress: clock.timed('evaluate'),
    });
  };
  const epochEnd = (begun: number, best: boolean): EpochEnd => ({
    epochs,
    best,
    seconds: (performance.now() - begun) / 1000,
    secondsLeft: clock.left(),
  });
  /** @returns its path */
  const save = (which: 'last' | 'best'): string => {
    const { step } = standing;
    const snapshot = trainer.snapshot();
    try {
      const path = watch.checkpoint(
        which,
        modelFile(built.model, evaluatedModel(snapshot, shape.depth), classes, step, {
          warnings: built.warnings,
          images: preprocessingOf(config.data),
        }),
      );
      standing[which] = { step, path };
      return path;
    } finally {
      snapshot.dispose();
    }
  };
  /**
   * In the middle of an epoch: what was trained since the last checkpoint is kept, unless that would put a bad model in
   * the place of a good one.
   */
  const saveUnfinished = (): void => {
    if (standing.step === (standing.last?.step ?? 0)) return;
    try {
      const { badStep } = trainer.readSums();
      if (badStep > 0) standing.notSaved = `the loss was not finite at step ${badStep}`;
      else save('last');
    } catch (error) {
      standing.notSaved = error instanceof Error ? error.message : String(error);
    }
  };
  try {
    if (teacher !== null) {
      trainer.restore(teacherEntries(teacher));
    }
    let converted: Metrics | null = null;
    if (built.fromKvHeads !== null) {
      const begun = performance.now();
      converted = built.freshHead === null ? await measure(parts.selection, 'as converted') : null;
      watch.epochDone(
        { epoch: 0, step: 0, lr: null, train: null, selection: converted, imagesPerSecond: null },
        epochEnd(begun, false),
      );
    }

    standing.totalSteps = totalSteps;
    const timed = { images: 0, seconds: 0 }; // training alone, without evaluation
    let stepsLeftOut = train.precision === 'float16' ? 0 : null;
    let best: { epoch: number; step: number; selection: Metrics; path: string } | null = null;
    for (let epoch = 1; standing.step < totalSteps; epoch++) {
      const begun = performance.now();
      standing.doing = `epoch ${epoch}`;
      watch.reached({ epoch, step: standing.step });
      const stepDone = (step: number): void => {
        standing.step = step;
        watch.reached({ epoch, step });
      };
      const trained = await trainEpoch(
        config,
        trainer,
        pipeline,
        parts.train,
        { epoch, step: standing.step, stepsPerEpoch, totalSteps },
        { ...watch, progress: clock.timed('train') },
        stepDone,
      ).catch((error: unknown) => {
        if (!isDivergence(error)) saveUnfinished();
        throw error;
      });
      const { step } = trained;
      save('last'); // before anything else can go wrong: a image of the validation part, a full disk
      timed.images += trained.images;
      timed.seconds += trained.seconds;
      const { leftOut } = trained;
      if (leftOut !== null) stepsLeftOut = (stepsLeftOut ?? 0) + leftOut;
      const selection = await measure(parts.selection, `epoch ${epoch}/${epochs} ${onTest ? 'test' : 'validation'}`);
      if (best === null || isBetter(selection, best.selection)) best = { epoch, step, selection, path: save('best') };
      const { lr, means, images, seconds, waited } = trained;
      const pace = { imagesPerSecond: images / seconds, dataWait: waited / seconds };
      watch.epochDone(
        { epoch, step, lr, train: means, selection, ...pace, tensors: tf.memory().numTensors, stepsLeftOut: leftOut },
        epochEnd(begun, best.epoch === epoch),
      );
    }
    requireMostSteps(stepsLeftOut ?? 0, standing.step);
    if (best === null) {
      // Nothing was trained: the model as it came is the best there is.
      const selection = converted ?? (await measure(parts.selection, 'untrained'));
      best = { epoch: 0, step: 0, selection, path: save('best') };
    }

    let test: Metrics | null = onTest ? best.selection : null; // measured already: the same weights on the same images
    if (test === null && parts.test !== null) {
      // what the file holds, not what memory holds
      const { model: saved } = buildModel(best.path, shape, variant, config.seed, classes);
      trainer.begin(saved);
      test = await measure(parts.test, `test, best epoch (${best.epoch})`);
    }
    const { epoch, step, selection } = best;
    return {
      converted,
      best: { epoch, step, top1: selection.top1, loss: selection.loss },
      test,
      steps: standing.step,
      stepsLeftOut,
      trainImagesPerSecond: timed.seconds > 0 ? timed.images / timed.seconds : null,
    };
  } finally {
    trainer.dispose();
  }
}

/** The higher top-1; the lower loss decides a tie. */
const isBetter = (a: Metrics, b: Metrics): boolean => a.top1 > b.top1 || (a.top1 === b.top1 && a.loss < b.loss);

/** Whether training itself went wrong, so that its model is not worth saving. */
const isDivergence = (error: unknown): boolean => error instanceof GqaError && error.code === 'training';

/** Where in the run an epoch begins. */
interface Clock {
  epoch: number;
  /** Optimizer steps done. */
  step: number;
  stepsPerEpoch: number;
  totalSteps: number;
}

interface TrainedEpoch {
  /** Optimizer steps done, in all. */
  step: number;
  lr: number;
  means: { loss: number; top1: number };
  images: number;
  seconds: number;
  waited: number;
  /** Steps of this epoch that float16 left out; null with other precisions. */
  leftOut: number | null;
}

/**
 * One pass over the training images, or what is left of the run's steps.
 * @param stepDone called after every optimizer step with the number of steps done
 */
async function trainEpoch(
  config: Config,
  trainer: Trainer,
  pipeline: Pipeline,
  part: Part,
  { epoch, step: firstStep, stepsPerEpoch, totalSteps }: Clock,
  watch: Watch,
  stepDone: (step: number) => void,
): Promise<TrainedEpoch> {
  const { train, model } = config;
  const lastStep = Math.min(totalSteps, firstStep + stepsPerEpoch);
  const bar = watch.progress(
    `epoch ${epoch}/${Math.ceil(totalSteps / stepsPerEpoch)}`,
    Math.min(part.indices.length, (lastStep - firstStep) * train.batchSize * train.gradAccumSteps),
  );
  const batches = pipeline.batches(part.split, part.indices, {
    ...imageForm(config, part),
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
  let seen = 0; // images
  let step = firstStep;
  let started = performance.now();
  let waited = 0; // seconds, since the last line
  let asked = started;
  let leftOut: number | null = null;
  try {
    for await (const batch of watch.stop.each(batches)) {
      waited += (performance.now() - asked) / 1000;
      const inStep = batchIndex % train.gradAccumSteps;
      const last = inStep === train.gradAccumSteps - 1 || batchIndex === lastBatch;
      const refresh = inStep === 0 && (step - firstStep) % model.windowSize === 0;
      const mix = drawMix(config.data, model.imageSize, draws(config.seed, 'mix', epoch, batchIndex));
      trainer.train(batch, { step, lr: rate(step), refresh, last, mix });
      seen += batch.images;
      bar.tick(seen);
      batchIndex++;
      if (last) stepDone(++step);

      if (last && (step % train.logEvery === 0 || step === lastStep)) {
        const sums = trainer.readSums(); // host sync
        if (sums.badStep > 0) throw notFinite(sums.badStep, rate(sums.badStep - 1), train.precision);
        const seconds = (performance.now() - started) / 1000;
        const { images, float16 } = sums;
        watch.logged({
          epoch,
          step,
          lr: rate(step - 1),
          loss: sums.loss / images,
          top1: sums.top1 / images,
          imagesPerSecond: images / seconds,
          dataWait: waited / seconds,
          float16,
        });
        if (float16 !== null) leftOut = (leftOut ?? 0) + float16.leftOut;
        inEpoch.loss += sums.loss;
        inEpoch.top1 += sums.top1;
        inEpoch.images += images;
        inEpoch.seconds += seconds;
        inEpoch.waited += waited;
        bar.update(inEpoch.images, { imagesPerSecond: inEpoch.images / inEpoch.seconds, ...meansOf(inEpoch) });
        if (float16 !== null) requireScale(float16.scale, step);
        started = performance.now();
        waited = 0;
      }
      if (step === lastStep) break;
      asked = performance.now();
    }
  } finally {
    bar.stop();
  }
  const { images, seconds } = inEpoch;
  return { step, lr: rate(step - 1), means: meansOf(inEpoch), images, seconds, waited: inEpoch.waited, leftOut };
}

const meansOf = ({
  loss,
  top1,
  images,
}: {
  loss: number;
  top1: number;
  images: number;
}): { loss: number; top1: number } => ({
  loss: loss / images,
  top1: top1 / images,
});

function notFinite(step: number, lr: number, precision: Config['train']['precision']): GqaError {
  const wider = precision === 'float16' ? 'Use train.precision: bfloat16 or float32, lower' : 'Lower';
  return new GqaError('training', `the loss is not finite at step ${step}, learning rate ${lr}`, {
    hint: `${wider} train.lr, or add train.warmup_steps.`,
  });
}
