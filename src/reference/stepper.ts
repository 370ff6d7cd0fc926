/**
 * A model that reference cases are put through, step by step, compiled or operation by operation: the two halves of a
 * trainer's step, on its variables, with everything shown that a trainer keeps to itself.
 */
import * as tf from '@tensorflow/tfjs-core';
import { DEFAULT_PREPROCESSING } from '../config/preprocessing.js';
import { type AttentionValues, attentionTensors } from '../model/attention-state.js';
import type { Params, Values } from '../model/params.js';
import { forward, type Pass } from '../model/vit.js';
import { type Feed, float32, int32, traced } from '../trace/function.js';
import { stepSizeValues } from '../train/adamw.js';
import { stateEntryPoints, writeEntryPoints } from '../train/entry-points.js';
import { layersInUse } from '../train/fused-layers.js';
import { trainingPass } from '../train/pass.js';
import { fill, modelEntries } from '../train/snapshot.js';
import { meanOf, type StepOptions } from '../train/step.js';
import { MODES, type TrainerMode, type TrainerOptions } from '../train/trainer.js';
import { update } from '../train/update.js';
import { declareVariables, readAll } from '../train/variables.js';

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

/**
 * @param values    of every parameter
 * @param attention the state that the case begins with
 * @param batch     images a step
 */
export function openStepper(
  step: StepOptions,
  values: Values,
  attention: AttentionValues,
  batch: number,
  mode: TrainerMode,
): Stepper {
  const { shape, variant, adamw } = step;
  const options: TrainerOptions = {
    ...step,
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
  };
  const variables = declareVariables(options, mode !== 'eager');
  const images = float32(batch, shape.imageSize, shape.imageSize, 3);
  const logitsBy = (by: 'state' | 'batch') =>
    traced({ images }, ({ images }) => {
      const weights = tf.ones([batch]);
      const pass: Pass = {
        shape,
        variant,
        state: attentionTensors(attention),
        allocation: { by },
        noise: null,
        weights,
        layers: layersInUse(),
      };
      return { logits: forward(variables.trained.read(), images, pass).logits };
    });
  const scalars = {
    refresh: float32(),
    step: int32(),
    keep: float32(),
    stepSize: float32(),
    rootCorrection: float32(),
  };
  const { begin, clearMoments } = stateEntryPoints(variables);
  const writers = writeEntryPoints(variables);
  const program = MODES[mode](
    {
      begin,
      clearMoments,
      ...writers,
      step: traced({ images, labels: int32(batch), weights: float32(batch), ...scalars }, (inputs) => {
        const found = trainingPass(options, variables, { ...inputs, mix: null }, meanOf);
        update(options, variables, variables.trained.pieces(found.gradients), inputs);
        const shown = {
          logits: found.logits,
          loss: found.sums.loss,
          ...named('gradients', found.gradients),
          ...readAll(variables.counts),
          ...readAll(variables.attention.flatMap((block) => Object.values(block))),
        };
        tf.dispose([found.sums.top1, found.sums.images, found.attention, found.counts]);
        return shown;
      }),
      logitsByState: logitsBy('state'),
      logitsByBatch: logitsBy('batch'),
      params: traced({}, () => variables.trained.read()),
    },
    'float32',
  );
  const run = program.run as unknown as Record<string, (feeds: Record<string, Feed>) => Record<string, tf.Tensor>>;
  fill(writers, run, modelEntries({ values, attention }));
  run.begin?.({});
  run.clearMoments?.({});
  return {
    step({ images, labels, lr, step, refresh }) {
      const weights = new Float32Array(labels.length).fill(1);
      const sizes = stepSizeValues(lr, step + 1, adamw);
      const found = run.step?.({ images, labels, weights, refresh: refresh ? 1 : 0, step, ...sizes }) ?? {};
      const under = (kind: string): Record<string, Float32Array> =>
        onHost(
          Object.fromEntries(
            Object.entries(found).flatMap(([name, tensor]) =>
              name.startsWith(`${kind}/`) ? [[name.slice(kind.length + 1), tensor]] : [],
            ),
          ),
        );
      const vectors = (held: Record<string, Float32Array>): Record<string, number[]> =>
        Object.fromEntries(Object.entries(held).map(([name, vector]) => [name, Array.from(vector)]));
      const seen: Seen = {
        logits: found.logits?.dataSync() as Float32Array,
        loss: (found.loss?.dataSync()[0] as number) / labels.length,
        gradients: under('gradients'),
        counts: Object.values(under('counts')).map((counts) => Array.from(counts)),
        attention: attention.map((_, i) => vectors(under(`attention/${i}`))),
      };
      tf.dispose(found);
      return seen;
    },
    evaluate(images, by) {
      const logits = run[by === 'state' ? 'logitsByState' : 'logitsByBatch'] as (typeof run)[string];
      const size = images.shape[0] as number;
      const parts = Array.from({ length: size / batch }, (_, i) =>
        tf.tidy(
          () =>
            logits({
              images: tf.slice(images, [i * batch, 0, 0, 0], [batch, -1, -1, -1]),
            }).logits?.dataSync() as never as Float32Array,
        ),
      );
      return Float32Array.from(parts.flatMap((part) => Array.from(part)));
    },
    params() {
      const found = run.params?.({}) ?? {};
      const read = onHost(found);
      tf.dispose(found);
      return read;
    },
    dispose: program.dispose,
  };
}

const named = (kind: string, values: Params): Params =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [`${kind}/${name}`, value]));

const onHost = (tensors: Params): Record<string, Float32Array> =>
  Object.fromEntries(Object.entries(tensors).map(([name, value]) => [name, value.dataSync() as Float32Array]));
