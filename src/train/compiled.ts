/**
 * The trainer on the native runtime: a whole step (bytes to pictures, forward, backward, update, sums) is one graph and one native call; parameters, moments, attention state
 * and sums are variables inside it. The formulas are those of step.ts and evaluate.ts, traced.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Batch } from '../data/dataset.js';
import { type Params, parameterSpecs } from '../model/params.js';
import { normalise } from '../model/pixels.js';
import type { BlockState } from '../model/variants/key-driven.js';
import { variantOf } from '../model/variants.js';
import { forward, type Pass } from '../model/vit.js';
import { bytes, compile, type Feed, float32, int32, type Program, type TensorSpec, traced } from '../trace/compile.js';
import { applyAdam, type Variable, variable } from '../trace/variable.js';
import { type AdamWOptions, type StepSizes, stepSizeValues } from './adamw.js';
import { evaluationSums } from './loss.js';
import type { Model } from './model.js';
import { tracedNoise } from './noise.js';
import { type Packed, packed } from './packed.js';
import { addedSums, differentiate } from './step.js';
import type { Trainer, TrainerOptions } from './trainer.js';

/** Has no values until `load`. @throws TraceError without the native backend */
export function createCompiledTrainer(options: TrainerOptions): Trainer & Pick<Program<never>, 'phases'> {
  const { shape, variant, adamw } = options;
  const state = declareState(options);
  const program = compile(entryPoints(options, state));
  const { run } = program;
  let evaluated = 0; // batches since beginEvaluation

  const feedBatch = ({ pixels, labels, weights }: Batch): { pixels: Feed; labels: Feed; weights: Feed } => ({ pixels, labels, weights });
  const read = (sums: tf.Tensor): number[] => {
    const values = Array.from(sums.dataSync());
    sums.dispose();
    return values;
  };
  return {
    phases: program.phases,
    train(batch, { step, lr, refresh }) {
      run.train({ ...feedBatch(batch), ...stepSizeValues(lr, step + 1, adamw), refresh: refresh ? 1 : 0, step });
    },
    readSums() {
      const [loss, top1, images, badStep] = read(run.readSums({}).sums) as [number, number, number, number];
      return { loss, top1, images, badStep };
    },
    readCounts() {
      if (state.counts === null) return null;
      const values = read(run.readCounts({})[state.counts.name] as tf.Tensor);
      return Array.from({ length: shape.depth }, (_, i) => values.slice(i * shape.kvHeads, (i + 1) * shape.kvHeads));
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
    model(): Model {
      const found = run.readModel({});
      return { shape, variant, params: unprefixed('params', found), attention: state.attention.map((block) => tensorsOf(block, found)) };
    },
    moments() {
      const found = run.readMoments({});
      return { first: unprefixed('first', found), second: unprefixed('second', found) };
    },
    load({ params, attention }, moments) {
      const blocks = state.attention.map((block, i) => feeds(block, attention[i] as BlockState));
      run.loadModel(Object.assign(prefixed('params', params), ...blocks));
      if (moments === null) run.clearMoments({});
      else run.loadMoments({ ...prefixed('first', moments.first), ...prefixed('second', moments.second) });
      run.clearSums({});
    },
    dispose: program.dispose,
  };
}

/** Variables by the name of what they hold. */
type Variables = Record<string, Variable>;

interface State {
  params: Packed;
  first: Packed;
  second: Packed;
  /** One for each block. */
  attention: Variables[];
  /** A copy that evaluation batch by batch changes; empty under the frozen rule. */
  evalAttention: Variables[];
  /** [depth, K] of the last step; null for variants that do not allocate. */
  counts: Variable | null;
  /** Loss, top-1, images, first step whose loss was not finite. */
  sums: Variable;
  /** Loss, top-1, top-5, images. */
  evalSums: Variable;
}

function declareState({ shape, variant, evalAllocation }: TrainerOptions): State {
  const { depth, heads, kvHeads } = shape;
  const rule = variantOf(variant).allocation;
  const shapes = Object.fromEntries(Object.entries(parameterSpecs(shape)).map(([name, spec]) => [name, spec.shape]));
  const likeAttention = (kind: string): Variables[] =>
    Array.from({ length: depth }, (_, i) =>
      Object.fromEntries(
        Object.keys(rule?.initialState(heads, kvHeads) ?? {}).map((name) => [name, variable(`${kind}/${i}/${name}`, [kvHeads])]),
      ),
    );
  return {
    params: packed('params', shapes),
    first: packed('first', shapes),
    second: packed('second', shapes),
    attention: likeAttention('attention'),
    evalAttention: evalAllocation === 'batch' ? likeAttention('eval-attention') : [],
    counts: rule === undefined ? null : variable('counts', [depth, kvHeads]),
    sums: variable('sums', [4]),
    evalSums: variable('eval-sums', [4]),
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
  const like = (kind: string): Record<string, TensorSpec> =>
    Object.fromEntries(Object.entries(parameterSpecs(shape)).map(([name, spec]) => [`${kind}/${name}`, float32(...spec.shape)]));
  return {
    train: traced(
      { ...batch(batchSize), keep: float32(), stepSize: float32(), rootCorrection: float32(), refresh: float32(), step: int32() },
      (inputs) => {
        trainStep(options, state, { ...inputs, images: normalise(inputs.pixels, shape.imageSize) });
        return {};
      },
    ),
    evaluate: traced({ ...batch(evalBatchSize), position: int32() }, (inputs) => ({ logits: evaluateBatch(options, state, inputs) })),
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
      return { sums };
    }),
    clearSums: traced({}, () => {
      state.sums.assign(tf.zeros([4]));
      return {};
    }),
    readCounts: traced({}, () => readAll(state.counts === null ? [] : [state.counts])),
    readModel: traced({}, () => ({ ...prefixed('params', state.params.read()), ...readAll(attention) })),
    loadModel: traced({ ...like('params'), ...specsOf(attention) }, (values) => {
      state.params.assign(unprefixed('params', values));
      return assignAll(attention, values);
    }),
    readMoments: traced({}, () => ({ ...prefixed('first', state.first.read()), ...prefixed('second', state.second.read()) })),
    loadMoments: traced({ ...like('first'), ...like('second') }, (values) => {
      state.first.assign(unprefixed('first', values));
      state.second.assign(unprefixed('second', values));
      return {};
    }),
    clearMoments: traced({}, () => {
      for (const each of [...state.first.variables, ...state.second.variables]) each.assign(tf.fill([...each.shape], 0));
      return {};
    }),
  };
}

type TracedInputs<Names extends string> = Record<Names, tf.Tensor>;

/** One optimizer step on the variables. */
function trainStep(
  options: TrainerOptions,
  state: State,
  inputs: TracedInputs<'images' | 'labels' | 'weights' | 'keep' | 'stepSize' | 'rootCorrection' | 'refresh' | 'step'>,
): void {
  const { shape, variant, seed, adamw } = options;
  const before = { params: state.params.read(), attention: state.attention.map(valuesOf) };
  const noise = tracedNoise(shape, variant, seed, 'train', inputs.step);
  const { loss, gradients, sums, logits, attention, counts } = differentiate(before, { ...inputs, noise }, options);
  update(state, gradients, inputs, adamw);
  state.attention.forEach((block, i) => {
    assignAll(Object.values(block), feeds(block, attention[i] as BlockState));
  });
  state.counts?.assign(tf.stack(counts));
  state.sums.assign(addedSums(state.sums.read(), sums, inputs.step));
  tf.dispose([loss, gradients, sums, logits, attention, counts]); // differentiate keeps them
}

/** AdamW as in adamw.ts: with a step size and an epsilon multiplied by √(1 − β₂ᵗ), the fused kernel has eps outside the corrected root, as torch does. */
function update({ params, first, second }: State, gradients: Params, sizes: StepSizes, options: AdamWOptions): void {
  const scalars = {
    stepSize: tf.mul(sizes.stepSize, sizes.rootCorrection),
    epsilon: tf.mul(sizes.rootCorrection, options.eps),
    beta1: tf.scalar(options.beta1),
    beta2: tf.scalar(options.beta2),
  };
  for (const [i, gradient] of params.pieces(gradients).entries()) {
    const [target, m, v] = [params.variables[i], first.variables[i], second.variables[i]] as [Variable, Variable, Variable];
    if (options.weightDecay !== 0) target.assign(tf.mul(target.read(), sizes.keep));
    applyAdam(target, { first: m, second: v, ...scalars, gradient });
  }
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
  const pass: Pass = { shape, variant, state: blocks.map(valuesOf), allocation: { by: byBatch ? 'batch' : 'state' }, noise, weights };
  const { logits, state: next } = forward(state.params.read(), normalise(pixels, shape.imageSize), pass);
  if (byBatch) {
    blocks.forEach((block, i) => {
      assignAll(Object.values(block), feeds(block, next[i] as BlockState));
    });
  }
  state.evalSums.assign(tf.add(state.evalSums.read(), evaluationSums(logits, labels, weights)));
  return logits;
}

const prefixed = (kind: string, values: Params): Params =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [`${kind}/${name}`, value]));

const unprefixed = (kind: string, values: Params): Params =>
  Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) => (name.startsWith(`${kind}/`) ? [[name.slice(kind.length + 1), value]] : [])),
  );

const specsOf = (variables: Variable[]): Record<string, TensorSpec> =>
  Object.fromEntries(variables.map(({ name, shape }) => [name, float32(...shape)]));

const readAll = (variables: Variable[]): Record<string, tf.Tensor> => Object.fromEntries(variables.map((each) => [each.name, each.read()]));

function assignAll(variables: Variable[], values: Record<string, tf.Tensor>): Record<string, never> {
  for (const each of variables) each.assign(values[each.name] as tf.Tensor);
  return {};
}

/** What the variables hold, under the names of what they stand for. */
const valuesOf = (variables: Variables): Params => Object.fromEntries(Object.entries(variables).map(([key, each]) => [key, each.read()]));

/** Values under the names of what they stand for → under the variables' names; `tensorsOf` goes back. */
const feeds = (variables: Variables, values: Record<string, tf.Tensor>): Record<string, tf.Tensor> =>
  Object.fromEntries(Object.entries(variables).map(([key, { name }]) => [name, values[key] as tf.Tensor]));

const tensorsOf = (variables: Variables, found: Record<string, tf.Tensor>): Params =>
  Object.fromEntries(Object.entries(variables).map(([key, { name }]) => [key, found[name] as tf.Tensor]));
