/**
 * What a trainer's program can be asked to do, as functions on its variables: the same whether they are compiled into a
 * graph or run operation by operation.
 */
import * as tf from '@tensorflow/tfjs-core';
import { normalise } from '../model/pixels.js';
import type { BlockState } from '../model/variants/key-driven.js';
import { variantOf } from '../model/variants.js';
import { forward, type Pass } from '../model/vit.js';
import { bytes, float32, int32, type TensorSpec, type TracedFunction, traced } from '../trace/function.js';
import type { StepSizes } from './adamw.js';
import { layersInUse } from './fused-layers.js';
import { evaluationSums } from './loss.js';
import { type MixInputs, mixed } from './mix.js';
import { uniformNoise } from './noise.js';
import type { Held } from './packed.js';
import { accumulation, trainingPass } from './pass.js';
import { meanOf, type PassInputs } from './step.js';
import type { TrainerOptions } from './trainer.js';
import { INITIAL_LOSS_SCALE, update } from './update.js';
import {
  accumulators,
  assignAll,
  assignNamed,
  clear,
  evaluatedParams,
  heldGroups,
  readAll,
  specsOf,
  type TrainingVariables,
  valuesOf,
} from './variables.js';

/** The entry points, for `compile` or `interpret`; those that options do without are left out. */
export function entryPoints(options: TrainerOptions, variables: TrainingVariables) {
  const { batchSize, evalBatchSize, height, width } = options;
  const { evaluation, lossScale, sums } = variables;
  const batch = (size: number): { pixels: TensorSpec; labels: TensorSpec; weights: TensorSpec } => ({
    pixels: bytes(size, height, width, 3),
    labels: int32(size),
    weights: float32(size),
  });
  const mixing: Record<string, TensorSpec> = options.mix
    ? { lambda: float32(), box: int32(4), partners: int32(batchSize) }
    : {};
  return {
    ...stepEntryPoints(options, variables, { ...batch(batchSize), refresh: float32(), step: int32(), ...mixing }),
    readSums: traced({}, () => {
      const found = sums.read();
      sums.assign(tf.zeros([4]));
      if (lossScale === null) return { sums: found };
      const scale = lossScale.read();
      const [factor, steps, leftOut] = tf.unstack(scale) as [tf.Tensor, tf.Tensor, tf.Tensor];
      lossScale.assign(tf.stack([factor, steps, leftOut, leftOut]));
      return { sums: tf.concat([found, scale]) };
    }),
    readCounts: traced({}, () => readAll(variables.counts)),
    beginEvaluation: traced({}, () => {
      evaluation.sums.assign(tf.zeros([4]));
      evaluation.batches?.assign(tf.scalar(0));
      evaluation.attention.forEach((block, i) => {
        assignNamed(block, valuesOf(variables.attention[i] ?? {}));
      });
      return {};
    }),
    evaluate: traced(batch(evalBatchSize), (inputs) => ({ logits: evaluateBatch(options, variables, inputs) })),
    readEvaluation: traced({}, () => ({ sums: evaluation.sums.read() })),
    keyNorms: traced(batch(evalBatchSize), (inputs) => keyNorms(options, variables, inputs)),
    ...stateEntryPoints(variables),
  };
}

/** What fills variables and reads them back: `read/params`, `read/first` and so on. */
export function stateEntryPoints(variables: TrainingVariables) {
  const { trained, ema, lossScale, sums, first, second } = variables;
  return {
    /** Everything but parameters, attention state and moments as before any training. */
    begin: traced({}, () => {
      ema?.assign(trained.read());
      lossScale?.assign(tf.tensor1d(INITIAL_LOSS_SCALE));
      return clear([sums, ...variables.counts, ...accumulators(variables)]);
    }),
    clearMoments: traced({}, () => clear([...first.variables, ...second.variables])),
    ...Object.fromEntries(
      Object.entries(heldGroups(variables)).map(([kind, held]) => [
        `read/${kind}`,
        traced({}, () => readAll(heldVariables(held))),
      ]),
    ),
  };
}

const heldVariables = (held: Held[]) => held.map(({ variable }) => variable);

/** Elements that are fed at once when variables are filled: 64 MB. */
const FED_AT_ONCE = 2 ** 24;

/** The variables of a group, some at a time; `write/first/0` and so on fill them. */
export function writeEntryPoints(variables: TrainingVariables): Record<string, WriteEntryPoint> {
  return Object.fromEntries(
    Object.entries(heldGroups(variables)).flatMap(([kind, held]) =>
      portions(held).map((portion, i) => {
        const list = heldVariables(portion);
        const body = (values: Record<string, tf.Tensor>): Record<string, never> => assignAll(list, values);
        return [`write/${kind}/${i}`, { ...traced(specsOf(list), body), held: portion }];
      }),
    ),
  );
}

export type WriteEntryPoint = TracedFunction<Record<string, TensorSpec>, never> & { held: Held[] };

function portions(held: Held[]): Held[][] {
  const found: Held[][] = [];
  let room = 0;
  for (const each of held) {
    const size = each.variable.shape.reduce((product, length) => product * length, 1);
    if (found.length === 0 || size > room) {
      found.push([]);
      room = FED_AT_ONCE;
    }
    found.at(-1)?.push(each);
    room -= size;
  }
  return found;
}

/** An optimizer step in one call, or with accumulation in one for each batch and one for the update. */
function stepEntryPoints<Fed extends Record<PassInput, TensorSpec>>(
  options: TrainerOptions,
  variables: TrainingVariables,
  pass: Fed,
) {
  const done: Record<string, TensorSpec> = variables.lossScale === null ? {} : { done: float32() };
  const averaging: Record<string, TensorSpec> = variables.ema === null ? {} : { emaRate: float32() };
  const sizes = { keep: float32(), stepSize: float32(), rootCorrection: float32(), ...averaging, ...done };
  const { gradients } = variables;
  const train = traced({ ...pass, ...sizes }, (inputs: Inputs<PassInput | keyof StepSizes>) => {
    const found = trainingPass(options, variables, { ...inputs, ...seen(options, inputs) }, meanOf);
    update(options, variables, variables.trained.pieces(found.gradients), inputs);
    tf.dispose(found);
    return {};
  });
  if (gradients === null) return { train };
  const { ofBatch, ofSum } = accumulation(options);
  const accumulate = traced(pass, (inputs: Inputs<PassInput>) => {
    const found = trainingPass(options, variables, { ...inputs, ...seen(options, inputs) }, ofBatch);
    for (const [i, piece] of variables.trained.pieces(found.gradients).entries())
      gradients.sums.variables[i]?.assignAdd(piece);
    gradients.images.assignAdd(found.sums.images);
    tf.dispose(found);
    return {};
  });
  const finish = traced(sizes, (inputs: Inputs<keyof StepSizes>) => {
    const factor = ofSum(gradients.images.read());
    const means = gradients.sums.variables.map((each) => tf.mul(each.read(), factor));
    update(options, variables, means, inputs);
    return clear(accumulators(variables));
  });
  return { accumulate, finish };
}

type PassInput = 'pixels' | 'labels' | 'weights' | 'refresh' | 'step';
type Inputs<Names extends string> = Record<Names, tf.Tensor>;

/** What the model sees of a training batch. */
function seen({ shape, mix, pixels }: TrainerOptions, inputs: Inputs<PassInput>): Pick<PassInputs, 'images' | 'mix'> {
  const images = normalise(inputs.pixels, shape.imageSize, pixels);
  return mix ? mixed(images, inputs.labels, inputs as Inputs<PassInput> & MixInputs) : { images, mix: null };
}

/** Mean norms of a batch's key heads by the state that is, `norms/0` [K] and so on; none for other variants. */
function keyNorms(
  { shape, variant, pixels: scale }: TrainerOptions,
  variables: TrainingVariables,
  { pixels, weights }: Inputs<'pixels' | 'labels' | 'weights'>,
): Record<string, tf.Tensor> {
  if (variantOf(variant).allocate === undefined) return {};
  const pass: Pass = {
    shape,
    variant,
    state: variables.attention.map(valuesOf),
    allocation: { by: 'state' },
    noise: null,
    weights,
    layers: layersInUse(),
  };
  const { keyNorms: norms } = forward(evaluatedParams(variables), normalise(pixels, shape.imageSize, scale), pass);
  return Object.fromEntries(norms.map((each, i) => [`norms/${i}`, each]));
}

/** Adds a batch to the sums of the evaluation; returns its logits. */
function evaluateBatch(
  options: TrainerOptions,
  variables: TrainingVariables,
  { pixels, labels, weights }: Inputs<'pixels' | 'labels' | 'weights'>,
): tf.Tensor {
  const { shape, variant, seed, evalAllocation, evalNoise } = options;
  const { evaluation } = variables;
  const byBatch = evalAllocation === 'batch';
  const blocks = byBatch ? evaluation.attention : variables.attention;
  const done = evaluation.batches?.read(); // batches before this one
  const noise = {
    off: () => null,
    fixed: () => uniformNoise(shape, variant, seed, 'eval', tf.scalar(0, 'int32')),
    paper: () => uniformNoise(shape, variant, seed, 'eval-paper', tf.cast(done as tf.Tensor, 'int32')),
  }[evalNoise]();
  const pass: Pass = {
    shape,
    variant,
    state: blocks.map(valuesOf),
    allocation: { by: byBatch ? 'batch' : 'state' },
    noise,
    weights,
    layers: layersInUse(),
  };
  const images = normalise(pixels, shape.imageSize, options.pixels);
  const { logits, state: next } = forward(evaluatedParams(variables), images, pass);
  if (byBatch) {
    blocks.forEach((block, i) => {
      assignNamed(block, next[i] as BlockState);
    });
  }
  if (done !== undefined) evaluation.batches?.assign(tf.add(done, 1));
  evaluation.sums.assign(tf.add(evaluation.sums.read(), evaluationSums(logits, labels, weights)));
  return logits;
}
