/**
 * The trainer on the native runtime: a whole step (bytes to images, forward, backward, update, sums) is one graph and
 * one native call; parameters, moments, attention state and sums are variables inside it. The formulas are those of
 * step.ts and evaluate.ts, traced.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Batch } from '../data/dataset.js';
import { normalise } from '../model/pixels.js';
import type { ModelShape } from '../model/sizes.js';
import type { BlockState } from '../model/variants/key-driven.js';
import { forward, type Pass } from '../model/vit.js';
import { bytes, compile, type Feed, float32, int32, type Program, type TensorSpec, traced } from '../trace/compile.js';
import { type StepSizes, stepSizeValues } from './adamw.js';
import { rateAfter } from './average.js';
import {
  accumulators,
  assignAll,
  clear,
  declareState,
  evaluatedParams,
  feeds,
  prefixed,
  readAll,
  type State,
  shapesOf,
  specsOf,
  tensorsOf,
  unprefixed,
  type Variables,
  valuesOf,
} from './device-state.js';
import { accumulation, INITIAL_LOSS_SCALE, trainingPass, update } from './device-step.js';
import { isTrained } from './freeze.js';
import { evaluationSums } from './loss.js';
import { type MixInputs, mixed, mixValues, UNMIXED } from './mix.js';
import type { Model } from './model.js';
import { tracedNoise } from './noise.js';
import { requirePrecision } from './precision.js';
import { meanOf, type PassInputs } from './step.js';
import { teacherShape } from './teacher.js';
import type { Trainer, TrainerOptions } from './trainer.js';

/** Has no values until `load`. @throws TraceError without the native backend */
export function createCompiledTrainer(options: TrainerOptions): Trainer & Pick<Program<never>, 'phases'> {
  const { shape, variant, adamw, ema } = options;
  const state = declareState(options);
  requirePrecision(options.precision, 'compiled');
  const program = compile(entryPoints(options, state), { precision: options.precision });
  const { run } = program;
  let evaluated = 0; // batches since beginEvaluation
  let momentsAreSet = false;
  let leftOutBefore = 0; // steps, when the sums were last read
  /**
   * Zeros come when they are first needed: evaluation alone goes without their memory, which is twice that of the
   * parameters.
   */
  const setMoments = (): void => {
    if (!momentsAreSet) run.clearMoments({});
    momentsAreSet = true;
  };

  const feedBatch = ({ pixels, labels, weights }: Batch): { pixels: Feed; labels: Feed; weights: Feed } => ({
    pixels,
    labels,
    weights,
  });
  const read = (sums: tf.Tensor): number[] => {
    const values = Array.from(sums.dataSync());
    sums.dispose();
    return values;
  };
  const attentionFeeds = (attention: BlockState[]): Record<string, tf.Tensor> =>
    Object.assign({}, ...state.attention.map((block, i) => feeds(block, attention[i] as BlockState)));
  /** [depth, K] → [depth][K] */
  const byBlock = (values: number[]): number[][] =>
    Array.from({ length: shape.depth }, (_, i) => values.slice(i * shape.kvHeads, (i + 1) * shape.kvHeads));
  return {
    phases: program.phases,
    train(batch, { step, lr, refresh, last = true, mix = UNMIXED }) {
      setMoments();
      const averaging = ema === null ? {} : { emaRate: rateAfter(step + 1, ema) };
      const sizes = {
        ...stepSizeValues(lr, step + 1, adamw),
        ...averaging,
        ...(state.lossScale === null ? {} : { done: step + 1 }),
      };
      const mixing = options.mix ? mixValues(mix, batch.weights) : {};
      const pass = { ...feedBatch(batch), refresh: refresh ? 1 : 0, step, ...mixing };
      if ('train' in run) run.train({ ...pass, ...sizes });
      else {
        run.accumulate(pass);
        if (last) run.finish(sizes);
      }
    },
    readSums() {
      const [loss, top1, images, badStep, scale, , leftOut] = read(run.readSums({}).sums) as [
        number,
        number,
        number,
        number,
        ...number[],
      ];
      if (scale === undefined || leftOut === undefined) return { loss, top1, images, badStep, float16: null };
      const float16 = { leftOut: leftOut - leftOutBefore, scale };
      leftOutBefore = leftOut;
      return { loss, top1, images, badStep, float16 };
    },
    readCounts() {
      if (state.counts === null) return null;
      return byBlock(read(run.readCounts({})[state.counts.name] as tf.Tensor));
    },
    beginEvaluation() {
      run.beginEvaluation({});
      evaluated = 0;
    },
    evaluate: (batch) => run.evaluate({ ...feedBatch(batch), position: evaluated++ }).logits,
    readEvaluation() {
      const [loss, top1, top5, images] = read(run.readEvaluation({}).sums) as [number, number, number, number];
      return { loss, top1, top5, images };
    },
    keyNorms(batch) {
      if (!('keyNorms' in run)) throw unallocated();
      return byBlock(read(run.keyNorms(feedBatch(batch)).norms));
    },
    loadAttention(attention) {
      if (!('loadAttention' in run)) throw unallocated();
      run.loadAttention(attentionFeeds(attention));
    },
    model(): Model {
      const found = run.readModel({});
      return {
        shape,
        variant,
        params: unprefixed('params', found),
        attention: state.attention.map((block) => tensorsOf(block, found)),
      };
    },
    moments() {
      setMoments();
      const found = run.readMoments({});
      return { first: unprefixed('first', found), second: unprefixed('second', found) };
    },
    load({ params, attention }, moments) {
      run.loadModel({ ...prefixed('params', params), ...attentionFeeds(attention) });
      momentsAreSet = moments !== null;
      if (moments !== null)
        run.loadMoments({ ...prefixed('first', moments.first), ...prefixed('second', moments.second) });
      run.clearSums({});
      leftOutBefore = 0;
    },
    loadTeacher(params) {
      run.loadTeacher(prefixed('teacher', params));
    },
    dispose: program.dispose,
  };
}

function entryPoints(options: TrainerOptions, state: State) {
  const { shape, batchSize, evalBatchSize, height, width } = options;
  const batch = (size: number): { pixels: TensorSpec; labels: TensorSpec; weights: TensorSpec } => ({
    pixels: bytes(size, height, width, 3),
    labels: int32(size),
    weights: float32(size),
  });
  const attention = state.attention.flatMap((block) => Object.values(block));
  const like = (
    kind: string,
    of: ModelShape,
    wanted: (name: string) => boolean = () => true,
  ): Record<string, TensorSpec> =>
    Object.fromEntries(
      Object.entries(shapesOf(of)).flatMap(([name, size]) =>
        wanted(name) ? [[`${kind}/${name}`, float32(...size)]] : [],
      ),
    );
  const trained = (name: string): boolean => isTrained(name, options.freeze);
  const mixing: Record<string, TensorSpec> = options.mix
    ? { lambda: float32(), box: int32(4), partners: int32(batchSize) }
    : {};
  return {
    ...stepEntryPoints(options, state, { ...batch(batchSize), refresh: float32(), step: int32(), ...mixing }),
    evaluate: traced({ ...batch(evalBatchSize), position: int32() }, (inputs) => ({
      logits: evaluateBatch(options, state, inputs),
    })),
    ...(state.counts === null
      ? {}
      : {
          keyNorms: traced(batch(evalBatchSize), (inputs) => ({ norms: keyNorms(options, state, inputs) })),
          loadAttention: traced(specsOf(attention), (values) => assignAll(attention, values)),
        }),
    beginEvaluation: traced({}, () => {
      state.evalSums.assign(tf.zeros([4]));
      state.evalAttention.forEach((block, i) => {
        assignAll(Object.values(block), feeds(block, valuesOf(state.attention[i] as Variables)));
      });
      return {};
    }),
    readEvaluation: traced({}, () => ({ sums: state.evalSums.read() })),
    readSums: traced({}, () => {
      const sums = state.sums.read();
      state.sums.assign(tf.zeros([4]));
      return { sums: state.lossScale === null ? sums : tf.concat([sums, state.lossScale.read()]) };
    }),
    clearSums: traced({}, () => clear([state.sums, ...accumulators(state)])),
    readCounts: traced({}, () => readAll(state.counts === null ? [] : [state.counts])),
    readModel: traced({}, () => ({ ...prefixed('params', evaluatedParams(state)), ...readAll(attention) })),
    loadModel: traced({ ...like('params', shape), ...specsOf(attention) }, (values) => {
      const params = unprefixed('params', values);
      for (const place of [state.trained, state.frozen, ...(state.ema === null ? [] : [state.ema])])
        place.assign(params);
      state.lossScale?.assign(tf.tensor1d([INITIAL_LOSS_SCALE, 0, 0]));
      return assignAll(attention, values);
    }),
    loadTeacher: traced(state.teacher === null ? {} : like('teacher', teacherShape(shape)), (values) => {
      state.teacher?.assign(unprefixed('teacher', values));
      return {};
    }),
    readMoments: traced({}, () => ({
      ...prefixed('first', state.first.read()),
      ...prefixed('second', state.second.read()),
    })),
    loadMoments: traced({ ...like('first', shape, trained), ...like('second', shape, trained) }, (values) => {
      state.first.assign(unprefixed('first', values));
      state.second.assign(unprefixed('second', values));
      return {};
    }),
    clearMoments: traced({}, () => clear([...state.first.variables, ...state.second.variables])),
  };
}

const unallocated = (): Error => new Error('the variant allocates nothing by keys');

/** An optimizer step in one call, or with accumulation in one for each batch and one for the update. */
function stepEntryPoints<Pass extends Record<PassInput, TensorSpec>>(
  options: TrainerOptions,
  state: State,
  pass: Pass,
) {
  const done: Record<string, TensorSpec> = state.lossScale === null ? {} : { done: float32() };
  const averaging: Record<string, TensorSpec> = state.ema === null ? {} : { emaRate: float32() };
  const sizes = { keep: float32(), stepSize: float32(), rootCorrection: float32(), ...averaging, ...done };
  const { gradients } = state;
  const train = traced({ ...pass, ...sizes }, (inputs: TracedInputs<PassInput | keyof StepSizes>) => {
    const found = trainingPass(options, state, { ...inputs, ...images(options, inputs) }, meanOf);
    update(options, state, state.trained.pieces(found.gradients), inputs);
    tf.dispose(found);
    return {};
  });
  if (gradients === null) return { train };
  const { ofBatch, ofSum } = accumulation(options);
  const accumulate = traced(pass, (inputs: TracedInputs<PassInput>) => {
    const found = trainingPass(options, state, { ...inputs, ...images(options, inputs) }, ofBatch);
    for (const [i, piece] of state.trained.pieces(found.gradients).entries())
      gradients.sums.variables[i]?.assignAdd(piece);
    gradients.images.assignAdd(found.sums.images);
    tf.dispose(found);
    return {};
  });
  const finish = traced(sizes, (inputs: TracedInputs<keyof StepSizes>) => {
    const factor = ofSum(gradients.images.read());
    update(
      options,
      state,
      gradients.sums.variables.map((each) => tf.mul(each.read(), factor)),
      inputs,
    );
    return clear(accumulators(state));
  });
  return { accumulate, finish };
}

type PassInput = 'pixels' | 'labels' | 'weights' | 'refresh' | 'step';
type TracedInputs<Names extends string> = Record<Names, tf.Tensor>;

/** What the model sees of a training batch. */
function images(
  { shape, mix, pixels }: TrainerOptions,
  inputs: TracedInputs<PassInput>,
): Pick<PassInputs, 'images' | 'mix'> {
  const images = normalise(inputs.pixels, shape.imageSize, pixels);
  return mix ? mixed(images, inputs.labels, inputs as TracedInputs<PassInput> & MixInputs) : { images, mix: null };
}

/** @returns [depth, K] */
function keyNorms(
  { shape, variant, pixels: scale }: TrainerOptions,
  state: State,
  { pixels, weights }: TracedInputs<'pixels' | 'labels' | 'weights'>,
): tf.Tensor {
  const pass: Pass = {
    shape,
    variant,
    state: state.attention.map(valuesOf),
    allocation: { by: 'state' },
    noise: null,
    weights,
  };
  return tf.stack(forward(evaluatedParams(state), normalise(pixels, shape.imageSize, scale), pass).keyNorms);
}

/** Adds a batch to the sums of the evaluation; returns its logits. */
function evaluateBatch(
  options: TrainerOptions,
  state: State,
  { pixels, labels, weights, position }: TracedInputs<'pixels' | 'labels' | 'weights' | 'position'>,
): tf.Tensor {
  const { shape, variant, seed, evalAllocation, evalNoise } = options;
  const byBatch = evalAllocation === 'batch';
  const blocks = byBatch ? state.evalAttention : state.attention;
  const noise = {
    off: () => null,
    fixed: () => tracedNoise(shape, variant, seed, 'eval', tf.scalar(0, 'int32')),
    paper: () => tracedNoise(shape, variant, seed, 'eval-paper', position),
  }[evalNoise]();
  const pass: Pass = {
    shape,
    variant,
    state: blocks.map(valuesOf),
    allocation: { by: byBatch ? 'batch' : 'state' },
    noise,
    weights,
  };
  const { logits, state: next } = forward(
    evaluatedParams(state),
    normalise(pixels, shape.imageSize, options.pixels),
    pass,
  );
  if (byBatch) {
    blocks.forEach((block, i) => {
      assignAll(Object.values(block), feeds(block, next[i] as BlockState));
    });
  }
  state.evalSums.assign(tf.add(state.evalSums.read(), evaluationSums(logits, labels, weights)));
  return logits;
}
