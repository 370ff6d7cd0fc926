/**
 * A model that reference cases are put through, step by step: operation by operation, or compiled, through the same
 * functions as a trainer's.
 */
import * as tf from '@tensorflow/tfjs-core';
import { DEFAULT_PREPROCESSING } from '../config/preprocessing.js';
import type { Params } from '../model/params.js';
import { forward, type Pass } from '../model/vit.js';
import { compile, float32, int32, traced } from '../trace/compile.js';
import { initialMoments, stepSizes, stepSizeValues } from '../train/adamw.js';
import { clear, declareState, prefixed, unprefixed, valuesOf } from '../train/device-state.js';
import { trainingPass, update } from '../train/device-step.js';
import { type AttentionValues, attentionFrom, attentionValues } from '../train/state.js';
import { differentiate, meanOf, plain, type StepOptions, type TrainState, updated } from '../train/step.js';
import type { TrainerMode } from '../train/trainer.js';

/** What is fed: images [B, S, S, 3], normalised, all of them real. */
export interface ReferenceBatch {
  images: tf.Tensor;
  labels: Int32Array;
  lr: number;
  /** From 0. */
  step: number;
  /** Whether a DGQA window begins. */
  refresh: boolean;
}

/** What a step shows, on the host. */
export interface Seen {
  logits: Float32Array;
  /** Mean over the batch. */
  loss: number;
  gradients: Record<string, Float32Array>;
  counts: number[][];
  /** After the pass. */
  attention: AttentionValues;
}

export interface Stepper {
  step(batch: ReferenceBatch): Seen;
  /** Logits [B, C] without an update, on a copy of the state. */
  evaluate(images: tf.Tensor, by: 'state' | 'batch'): Float32Array;
  params(): Record<string, Float32Array>;
  dispose(): void;
}

/** @param batch images a step. @param attention the state that the case begins with */
type Open = (options: StepOptions, params: Params, attention: AttentionValues, batch: number) => Stepper;

export const STEPPERS: Record<TrainerMode, Open> = { eager: openEager, compiled: openCompiled };

const evaluation = (
  { shape, variant }: StepOptions,
  attention: Pass['state'],
  by: 'state' | 'batch',
  images: tf.Tensor,
): Pass => ({
  shape,
  variant,
  state: attention,
  allocation: { by },
  noise: null,
  weights: tf.ones([images.shape[0] as number]),
});

function openEager(options: StepOptions, params: Params, attention: AttentionValues): Stepper {
  let state: TrainState = tf.tidy(() => ({
    params,
    moments: initialMoments(params),
    attention: attentionFrom(attention),
    ema: {},
  }));
  const initial = attention;
  return {
    step: ({ images, labels, lr, step, refresh }) =>
      tf.tidy(() => {
        const inputs = {
          images,
          labels: tf.tensor1d(labels, 'int32'),
          weights: tf.ones([labels.length]),
          refresh: tf.scalar(refresh ? 1 : 0),
          noise: null,
          teacher: null,
          mix: null,
        };
        const found = differentiate(state, inputs, options);
        const seen: Seen = {
          logits: found.logits.dataSync() as Float32Array,
          loss: (found.sums.loss.dataSync()[0] as number) / labels.length,
          gradients: onHost(found.gradients),
          counts: found.counts.map((counts) => Array.from(counts.dataSync())),
          attention: attentionValues(found.attention),
        };
        state = {
          ...updated(state, found.gradients, stepSizes(lr, step + 1, options.adamw), options),
          attention: found.attention,
        };
        for (const group of [state.params, state.moments.first, state.moments.second])
          for (const tensor of Object.values(group)) tf.keep(tensor);
        return seen as never;
      }),
    evaluate: (images, by) =>
      tf.tidy(
        () =>
          forward(
            state.params,
            images,
            evaluation(options, attentionFrom(initial), by, images),
          ).logits.dataSync() as never,
      ),
    params: () => onHost(state.params),
    dispose: () => tf.dispose(state),
  };
}

function openCompiled(options: StepOptions, params: Params, attention: AttentionValues, batch: number): Stepper {
  const { shape, adamw } = options;
  const trainer = {
    ...options,
    ...plain,
    seed: 0,
    pixels: DEFAULT_PREPROCESSING,
    batchSize: batch,
    evalBatchSize: batch,
    height: shape.imageSize,
    width: shape.imageSize,
    gradAccumSteps: 1,
    mix: false,
    precision: 'float32',
    evalAllocation: 'frozen',
    evalNoise: 'off',
  } as const;
  const state = declareState(trainer);
  const images = float32(batch, shape.imageSize, shape.imageSize, 3);
  const like = Object.fromEntries(
    Object.entries(params).map(([name, value]) => [`params/${name}`, float32(...value.shape)]),
  );
  const logitsBy = (by: 'state' | 'batch') =>
    traced({ images: images }, ({ images }) => ({
      logits: forward(state.trained.read(), images, evaluation(options, attentionFrom(attention), by, images)).logits,
    }));
  const scalars = {
    refresh: float32(),
    step: int32(),
    keep: float32(),
    stepSize: float32(),
    rootCorrection: float32(),
  };
  const program = compile({
    load: traced(like, (values) => {
      state.trained.assign(unprefixed('params', values));
      state.attention.forEach((block, i) => {
        for (const [name, each] of Object.entries(block)) each.assign(tf.tensor1d(attention[i]?.[name] as number[]));
      });
      return clear([...state.first.variables, ...state.second.variables, state.sums]);
    }),
    step: traced({ images: images, labels: int32(batch), weights: float32(batch), ...scalars }, (inputs) => {
      const found = trainingPass(trainer, state, { ...inputs, mix: null }, meanOf);
      const gradients = prefixed('gradients', found.gradients);
      update(trainer, state, state.trained.pieces(found.gradients), inputs);
      const blocks = state.attention.map((block, i) => prefixed(`attention/${i}`, valuesOf(block)));
      const counts = Object.fromEntries(found.counts.map((each, i) => [`counts/${i}`, each]));
      return Object.assign({ logits: found.logits, loss: found.sums.loss }, gradients, counts, ...blocks) as Record<
        string,
        tf.Tensor
      >;
    }),
    logitsByState: logitsBy('state'),
    logitsByBatch: logitsBy('batch'),
    params: traced({}, () => state.trained.read()),
  });
  program.run.load(prefixed('params', params));
  return {
    step({ images, labels, lr, step, refresh }) {
      const sizes = stepSizeValues(lr, step + 1, adamw);
      const weights = new Float32Array(labels.length).fill(1);
      const found: Record<string, tf.Tensor> = program.run.step({
        images,
        labels,
        weights,
        refresh: refresh ? 1 : 0,
        step,
        ...sizes,
      });
      const read = (kind: string): Record<string, Float32Array> => onHost(unprefixed(kind, found));
      const ofBlocks = <T>(kind: string, of: (values: Record<string, Float32Array>) => T): T[] =>
        Array.from({ length: shape.depth }, (_, i) => of(read(`${kind}/${i}`)));
      const plainNumbers = (values: Record<string, Float32Array>): Record<string, number[]> =>
        Object.fromEntries(Object.entries(values).map(([name, vector]) => [name, Array.from(vector)]));
      const seen: Seen = {
        logits: found.logits?.dataSync() as Float32Array,
        loss: (found.loss?.dataSync()[0] as number) / labels.length,
        gradients: read('gradients'),
        counts: Object.keys(found).some((name) => name.startsWith('counts/'))
          ? Array.from({ length: shape.depth }, (_, i) => Array.from((found[`counts/${i}`] as tf.Tensor).dataSync()))
          : [],
        attention: ofBlocks('attention', plainNumbers),
      };
      tf.dispose(found);
      return seen;
    },
    evaluate(images, by) {
      const run = by === 'state' ? program.run.logitsByState : program.run.logitsByBatch;
      const size = images.shape[0] as number;
      const parts = Array.from({ length: size / batch }, (_, i) =>
        tf.tidy(
          () =>
            run({
              images: tf.slice(images, [i * batch, 0, 0, 0], [batch, -1, -1, -1]),
            }).logits.dataSync() as never as Float32Array,
        ),
      );
      return Float32Array.from(parts.flatMap((part) => Array.from(part)));
    },
    params() {
      const found = program.run.params({}) as Params;
      const values = onHost(found);
      tf.dispose(found);
      return values;
    },
    dispose: program.dispose,
  };
}

const onHost = (tensors: Params): Record<string, Float32Array> =>
  Object.fromEntries(Object.entries(tensors).map(([name, value]) => [name, value.dataSync() as Float32Array]));
