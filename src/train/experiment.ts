/**
 * The experiment, from top to bottom: take the model as it was built, evaluate it as converted, train, evaluate and
 * save after every epoch, and measure the best checkpoint on the test split at the end. How far it is stands in a
 * `RunState`, from which it can go on. It computes; what it finds goes to the `Watch` it is given.
 */
import * as tf from '@tensorflow/tfjs-core';
import { readCheckpoint } from '../checkpoint/read.js';
import type { Write } from '../checkpoint/write-safetensors.js';
import { preprocessingOf } from '../config/preprocessing.js';
import type { Config } from '../config/schema.js';
import { counted } from '../counted.js';
import type { Pipeline } from '../data/pipeline/pipeline.js';
import { GqaError, withAfterthought } from '../errors.js';
import { initialAttention } from '../model/attention-state.js';
import type { Values } from '../model/params.js';
import type { EpochEnd } from '../run/epoch-line.js';
import { interruption, isInterruption } from '../run/interrupt.js';
import type { EpochResult } from '../run/results.js';
import { type LogLine, lastRate } from './epoch.js';
import type { Metrics } from './evaluate.js';
import { badStepOf, entriesIn, type KeptRun, keepState } from './kept-state.js';
import { type BuiltModel, writeTrainedModel } from './model.js';
import type { Part, Parts } from './parts.js';
import { planOf } from './plan.js';
import { evaluateWithProgress, type Onlooker, readyTrainer, resumedTrainer } from './ready.js';
import { trainWithRollbacks } from './rollback.js';
import { type RunClock, runClock, workOf } from './run-clock.js';
import { emptySums, freshState, type RunState, savedModels } from './run-state.js';
import { requireMostSteps } from './scaling.js';
import { EVALUATED, evaluatedModel, teacherEntries } from './snapshot.js';
import type { Trainer, TrainerMode } from './trainer.js';

/** Who listens. */
export interface Watch extends Onlooker {
  notice(line: string): void;
  logged(line: LogLine): void;
  epochDone(result: EpochResult, end: EpochEnd): void;
  /** Saves a model file, which `content` writes; returns its path. */
  checkpoint(which: 'last' | 'best', content: (write: Write) => void): string;
  /** Keeps all that the run goes on from; training may go on before it is on the disk, where `beside`. */
  keep(kept: Kept, beside: boolean): Promise<void>;
  /** The file of the newest kept state that is whole, and its step; null: there is none. */
  kept(): Promise<{ file: string; step: number } | null>;
  /** After every optimizer step, and when an epoch begins. */
  reached(at: { epoch: number; step: number }): void;
  /** Logits [images · classes] and labels of the test at the end, batch by batch. */
  tested?(logits: Float32Array, labels: Int32Array): void;
}

/** What `keep` is given. */
export interface Kept {
  step: number;
  /** Of what `content` writes before `keep` returns. */
  bytes: number;
  content(write: Write): void;
  run: KeptRun;
}

/** What an experiment is made of. */
export interface Experiment {
  config: Config;
  /** Names, for the checkpoints. */
  classes: string[];
  /** As `splitParts` gives them. */
  parts: Parts;
  pipeline: Pipeline;
  built: BuiltModel;
  /** As `buildTeacher` gives it. */
  teacher: Values | null;
  mode: TrainerMode;
  watch: Watch;
  /** Left out: from the beginning. */
  from?: { state: RunState; file: string } | undefined;
}

/** The same with what runs it. */
export interface Running extends Experiment {
  trainer: Trainer;
  clock: RunClock;
  stepsPerEpoch: number;
  epochs: number;
  /** When the state was kept last: after which step, and by the clock of `performance.now`. */
  kept: { step: number; at: number };
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
  /** As the state has them. */
  rollbacks: RunState['rollbacks'];
}

/**
 * @throws GqaError `training` when the loss is not finite or float16 left out most steps; the interruption when asked
 *   to stop. Whatever ends it in the middle of an epoch, the model as it is then is saved first
 *   (unless it is no longer finite), and the error says which checkpoints there are
 */
export async function runExperiment(experiment: Experiment): Promise<Outcome> {
  const { config, parts, watch, mode, built, pipeline, teacher, from } = experiment;
  announce(experiment);
  const { stepsPerEpoch, totalSteps } = planOf(config.train, parts.train.indices.length);
  const epochs = Math.ceil(totalSteps / stepsPerEpoch);
  const state =
    from === undefined ? freshState(totalSteps, config.train.precision === 'float16') : { ...from.state, totalSteps };
  const clock = runClock(watch.progress, workOf(experiment, epochs, state));
  let trainer: Trainer | null = null;
  try {
    if (from === undefined) {
      trainer = await readyTrainer(config, built, pipeline, parts.train, parts.train, mode, watch);
      if (teacher !== null) trainer.restore(teacherEntries(teacher));
    } else trainer = resumedTrainer(config, built, parts.train, mode, entriesIn(from.file));
    const kept = { step: state.step, at: performance.now() };
    return await proceed({ ...experiment, trainer, clock, stepsPerEpoch, epochs, kept }, state);
  } catch (error) {
    throw explained(error, state, watch);
  } finally {
    trainer?.dispose();
  }
}

/** From any state on, which is changed as the run goes: the trainer holds what belongs to it. */
export async function proceed(run: Running, state: RunState): Promise<Outcome> {
  const { config, built, watch, trainer, parts } = run;
  if (state.epoch === 0 && state.phase === 'between') await measureConverted(run, state);
  while (state.step < state.totalSteps || state.phase === 'measuring') {
    const begun = performance.now();
    if (state.phase === 'between')
      Object.assign(state, {
        ...{ phase: 'training', epoch: state.epoch + 1, batch: 0 },
        inEpoch: emptySums(config.train.precision === 'float16'),
      });
    if (state.phase === 'training') {
      state.doing = `epoch ${state.epoch}`;
      watch.reached({ epoch: state.epoch, step: state.step });
      await trainWithRollbacks(run, state).catch(async (error: unknown) => {
        if (!isDivergence(error)) await saveUnfinished(run, state);
        throw error;
      });
      save(run, state, 'last'); // before anything else can go wrong: an image of the validation part, a full disk
      state.phase = 'measuring';
      await keepState(run, state, true);
    }
    await measureEpoch(run, state, begun);
    state.phase = 'between';
  }
  requireMostSteps(state.stepsLeftOut ?? 0, state.step);
  if (state.best === null) {
    // Nothing was trained: the model as it came is the best there is.
    const selection = state.converted ?? (await measure(run, state, parts.selection, 'untrained'));
    state.best = { epoch: 0, step: 0, selection, path: save(run, state, 'best') };
  }
  const { epoch, step, selection, path } = state.best;
  let test: Metrics | null = null;
  if (isOnTest(config))
    test = selection; // measured already: the same weights on the same images
  else if (parts.test !== null) {
    trainer.begin(savedModel(path, built, config.seed, run.classes)); // what the file holds, not what memory holds
    test = await measure(run, state, parts.test, `test, best epoch (${epoch})`, watch.tested);
  }
  const { trained, stepsLeftOut, converted, rollbacks } = state;
  return {
    converted,
    rollbacks,
    best: { epoch, step, top1: selection.top1, loss: selection.loss },
    test,
    steps: state.step,
    stepsLeftOut,
    trainImagesPerSecond: trained.seconds > 0 ? trained.images / trained.seconds : null,
  };
}

export const isOnTest = ({ train }: Config): boolean => train.protocol === 'paper';

function announce({ config, parts, watch }: Experiment): void {
  const selection = parts.selection.indices.length;
  parts.notices.forEach(watch.notice);
  const onSelection = isOnTest(config)
    ? `${counted(selection, 'test image')}, on which the best epoch is chosen too (protocol paper)`
    : parts.test === null
      ? counted(selection, 'validation image')
      : `${selection} validation, ${counted(parts.test.indices.length, 'test image')}`;
  watch.notice(`${parts.train.indices.length} training, ${onSelection}`);
}

/** A row for the model before training, where it came from a checkpoint; figures unless its head is a fresh one. */
async function measureConverted(run: Running, state: RunState): Promise<void> {
  const { built, parts, watch } = run;
  if (built.fromKvHeads === null) return;
  const begun = performance.now();
  if (built.freshHead === null) state.converted = await measure(run, state, parts.selection, 'as converted');
  const row = { epoch: 0, step: 0, lr: null, train: null, selection: state.converted, imagesPerSecond: null };
  watch.epochDone(row, epochEnd(run, begun, false));
}

/** @param begun when the epoch did, on the clock of `performance.now` */
async function measureEpoch(run: Running, state: RunState, begun: number): Promise<void> {
  const { config, parts, watch, epochs } = run;
  const { epoch, step, inEpoch } = state;
  const { images, seconds, waited, stepsLeftOut } = inEpoch;
  state.trained.images += images;
  state.trained.seconds += seconds;
  if (stepsLeftOut !== null) state.stepsLeftOut = (state.stepsLeftOut ?? 0) + stepsLeftOut;
  const label = `epoch ${epoch}/${epochs} ${isOnTest(config) ? 'test' : 'validation'}`;
  const selection = await measure(run, state, parts.selection, label);
  const isBest = state.best === null || isBetter(selection, state.best.selection);
  if (isBest) state.best = { epoch, step, selection, path: save(run, state, 'best') };
  watch.epochDone(
    {
      ...{ epoch, step, selection, stepsLeftOut },
      lr: lastRate(run, state),
      train: { loss: inEpoch.loss / images, top1: inEpoch.top1 / images },
      imagesPerSecond: images / seconds,
      dataWait: waited / seconds,
      tensors: tf.memory().numTensors,
    },
    epochEnd(run, begun, isBest),
  );
}

function epochEnd({ clock, epochs }: Running, begun: number, best: boolean): EpochEnd {
  return { epochs, best, seconds: (performance.now() - begun) / 1000, secondsLeft: clock.left() };
}

function measure(run: Running, state: RunState, part: Part, label: string, seen: Watch['tested'] = undefined) {
  state.doing = label;
  const { config, trainer, built, pipeline, watch, clock } = run;
  const { stop } = watch;
  const progress = clock.timed('evaluate');
  const { numClasses } = built.model.shape;
  return evaluateWithProgress(config, trainer, numClasses, pipeline, part, label, { stop, progress }, seen ?? null);
}

/** @returns its path */
function save({ trainer, built, classes, config, watch }: Running, state: RunState, which: 'last' | 'best'): string {
  const { step } = state;
  const snapshot = trainer.snapshot(EVALUATED);
  try {
    const record = { warnings: built.warnings, images: preprocessingOf(config.data) };
    const model = evaluatedModel(snapshot, built.model.shape.depth);
    const path = watch.checkpoint(which, (write) =>
      writeTrainedModel(write, built.model, model, classes, step, record),
    );
    state.saved[which] = { step, path };
    return path;
  } finally {
    snapshot.dispose();
  }
}

/**
 * In the middle of an epoch: what was trained since the last checkpoint is kept, unless that would put a bad model in
 * the place of a good one.
 */
async function saveUnfinished(run: Running, state: RunState): Promise<void> {
  if (state.step === (state.saved.last?.step ?? 0) && state.batch === 0) return;
  try {
    const badStep = badStepOf(run.trainer);
    if (badStep > 0) {
      state.notSaved = `the loss was not finite at step ${badStep}`;
      return;
    }
    if (state.step !== (state.saved.last?.step ?? 0)) save(run, state, 'last');
    await keepState(run, state, false);
  } catch (error) {
    state.notSaved = error instanceof Error ? error.message : String(error);
  }
}

/** A model of this run, as its file has it. */
function savedModel(path: string, { model }: BuiltModel, seed: number, classes: string[]) {
  const { values, card } = readCheckpoint(path, model.shape, seed, classes);
  return { values, attention: card?.state ?? initialAttention(model.shape, model.variant) };
}

/** The higher top-1; the lower loss decides a tie. */
const isBetter = (a: Metrics, b: Metrics): boolean => a.top1 > b.top1 || (a.top1 === b.top1 && a.loss < b.loss);

/** Whether training itself went wrong, so that its model is not worth saving. */
const isDivergence = (error: unknown): boolean => error instanceof GqaError && error.code === 'training';

/** The error that ended the run, with what is left of it. */
function explained(error: unknown, state: RunState, watch: Watch): unknown {
  const models = savedModels(state);
  if (isInterruption(error)) {
    const steps = state.step === 0 ? '' : ` after step ${state.step} of ${state.totalSteps}`;
    return interruption(watch.stop.signal, `${steps} (${state.doing})`, models);
  }
  return state.step === 0 ? error : withAfterthought(error, models);
}
