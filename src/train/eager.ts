/**
 * The trainer operation by operation: on wasm, and for looking into a step (`--eager`). The same interface and numbers
 * as compiled.ts.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type Params, parameterSpecs } from '../model/params.js';
import type { BlockState } from '../model/variants/key-driven.js';
import { forward, type Pass } from '../model/vit.js';
import { initialMoments, type Moments } from './adamw.js';
import { deviceBatch } from './device-batch.js';
import { isTrained } from './freeze.js';
import { evaluationSums } from './loss.js';
import { type Mix, type MixInputs, mixed, mixValues, UNMIXED } from './mix.js';
import { uniformNoise } from './noise.js';
import { requirePrecision } from './precision.js';
import { addedSums, differentiate, keepAll, mapped, meanOf, type TrainState, updated, updateSizes } from './step.js';
import { teacherPass } from './teacher.js';
import type { Trainer, TrainerOptions } from './trainer.js';

/** Has no values until `load`. @throws GqaError `usage` for another precision than float32 */
export function createEagerTrainer(options: TrainerOptions): Trainer {
  const { shape, variant, seed, evalAllocation, evalNoise, gradAccumSteps, precision } = options;
  requirePrecision(precision, 'eager');
  const fixedNoise = evalNoise === 'fixed' ? uniformNoise(shape, variant, seed, 'eval', 0) : null;
  let state: TrainState | undefined;
  let teacher: Params = {};
  let accumulated: Accumulated;
  let counts: tf.Tensor[] = [];
  let running = tf.keep(tf.zeros([4])); // sums of steps, left on the device until they are read
  let evaluation = { attention: [] as BlockState[], sums: tf.keep(tf.zeros([4])) as tf.Tensor, batches: 0 };

  const loaded = (): TrainState => {
    if (state === undefined) throw new Error('the trainer was used before `load`');
    return state;
  };
  const clearSums = (): void => {
    tf.dispose([running, accumulated]);
    running = tf.keep(tf.zeros([4]));
    accumulated = undefined;
  };
  const endEvaluation = (): void => {
    if (evaluation.attention !== state?.attention) tf.dispose(evaluation.attention);
    tf.dispose(evaluation.sums);
    evaluation = { attention: [], sums: tf.keep(tf.zeros([4])), batches: 0 };
  };

  return {
    train(batch, { step, lr, refresh, last = true, mix = UNMIXED }) {
      const before = { state: loaded(), counts, running, accumulated };
      const after = tf.tidy(() => {
        const { images, labels, weights } = deviceBatch(batch, shape.imageSize, options.pixels);
        const shown = options.mix ? mixed(images, labels, mixTensors(mix, batch.weights)) : { images, mix: null };
        const inputs = {
          ...shown,
          labels,
          weights,
          refresh: tf.scalar(refresh ? 1 : 0),
          noise: uniformNoise(shape, variant, seed, 'train', step),
          teacher: options.distill === null ? null : forward(teacher, shown.images, teacherPass(shape, weights)).logits,
        };
        const factor = gradAccumSteps === 1 ? meanOf : () => tf.scalar(1);
        const { gradients, sums, attention, counts, logits } = differentiate(before.state, inputs, options, factor);
        logits.dispose();
        const running = addedSums(before.running, sums, tf.scalar(step, 'int32'));
        const total = {
          gradients: plus(accumulated?.gradients, gradients),
          images: tf.add(accumulated?.images ?? 0, sums.images),
        };
        tf.dispose(sums);
        if (!last) return { state: { ...before.state, attention }, counts, running, accumulated: total as Accumulated };
        const mean = gradAccumSteps === 1 ? gradients : times(total.gradients, meanOf(total.images));
        const next = updated(before.state, mean, updateSizes(lr, step + 1, options), options);
        return { state: { ...next, attention }, counts, running, accumulated: undefined as Accumulated };
      });
      keepAll(after); // a caller's tidy must not take them
      disposeExcept(before, after);
      ({ state, counts, running, accumulated } = after);
    },
    readSums() {
      const [loss, top1, images, badStep] = running.dataSync() as unknown as [number, number, number, number];
      running.dispose();
      running = tf.keep(tf.zeros([4]));
      return { loss, top1, images, badStep, float16: null };
    },
    readCounts: () => (counts.length === 0 ? null : counts.map((block) => Array.from(block.dataSync()))),
    beginEvaluation() {
      endEvaluation();
      evaluation.attention = loaded().attention;
    },
    evaluate(batch) {
      const { attention } = loaded();
      const byBatch = evalAllocation === 'batch';
      const noise =
        evalNoise === 'paper' ? uniformNoise(shape, variant, seed, 'eval-paper', evaluation.batches) : fixedNoise;
      const { logits, sums, next } = tf.tidy(() => {
        const { images, labels, weights } = deviceBatch(batch, shape.imageSize, options.pixels);
        const blocks = byBatch ? evaluation.attention : attention;
        const pass: Pass = {
          shape,
          variant,
          state: blocks,
          allocation: { by: byBatch ? 'batch' : 'state' },
          noise,
          weights,
        };
        const result = forward(evaluatedParams(loaded()), images, pass);
        const sums = tf.add(evaluation.sums, evaluationSums(result.logits, labels, weights));
        return { logits: result.logits, sums, next: byBatch ? cloned(result.state) : [] };
      });
      if (noise !== fixedNoise) tf.dispose(noise ?? []);
      if (byBatch) {
        if (evaluation.attention !== attention) tf.dispose(evaluation.attention);
        evaluation.attention = next;
      }
      evaluation.sums.dispose();
      evaluation.sums = sums;
      keepAll(evaluation);
      evaluation.batches++;
      return logits;
    },
    readEvaluation() {
      const [loss, top1, top5, images] = evaluation.sums.dataSync() as unknown as [number, number, number, number];
      return { loss, top1, top5, images };
    },
    keyNorms: (batch) =>
      tf.tidy(() => {
        const { images, weights } = deviceBatch(batch, shape.imageSize, options.pixels);
        const pass: Pass = {
          shape,
          variant,
          state: loaded().attention,
          allocation: { by: 'state' },
          noise: null,
          weights,
        };
        return forward(evaluatedParams(loaded()), images, pass).keyNorms.map((norms) => Array.from(norms.dataSync()));
      }),
    loadAttention(attention) {
      endEvaluation();
      const before = loaded();
      state = { ...before, attention: cloned(attention) };
      keepAll(state);
      tf.dispose(before.attention);
    },
    model: () => ({
      shape,
      variant,
      params: clonedMap(evaluatedParams(loaded())),
      attention: cloned(loaded().attention),
    }),
    moments: () => ({ first: clonedMap(loaded().moments.first), second: clonedMap(loaded().moments.second) }),
    load({ params, attention }, moments) {
      const names = Object.keys(parameterSpecs(shape));
      const trained = Object.fromEntries(
        names.flatMap((name) => (isTrained(name, options.freeze) ? [[name, params[name] as tf.Tensor]] : [])),
      );
      const next: TrainState = {
        params: Object.fromEntries(names.map((name) => [name, (params[name] as tf.Tensor).clone()])),
        moments: moments === null ? tf.tidy(() => initialMoments(trained)) : copyOf(moments),
        attention: cloned(attention),
        ema: options.ema === null ? {} : clonedMap(trained),
      };
      endEvaluation();
      tf.dispose(state);
      clearSums();
      state = next;
      keepAll(state);
    },
    loadTeacher(params) {
      tf.dispose(teacher);
      teacher = clonedMap(params);
      keepAll(teacher);
    },
    dispose() {
      endEvaluation();
      tf.dispose([state, teacher, running, accumulated, evaluation.sums, counts, fixedNoise ?? []]);
      state = undefined;
    },
  };
}

/** Sums of an optimizer step so far; undefined before its first batch. */
type Accumulated = { gradients: Params; images: tf.Tensor } | undefined;

function mixTensors(mix: Mix, weights: Float32Array): MixInputs {
  const { lambda, box, partners } = mixValues(mix, weights);
  return { lambda: tf.scalar(lambda), box: tf.tensor1d(box, 'int32'), partners: tf.tensor1d(partners, 'int32') };
}

/** What evaluation reads. */
const evaluatedParams = ({ params, ema }: TrainState): Params => ({ ...params, ...ema });

const plus = (sums: Params | undefined, added: Params): Params =>
  sums === undefined ? added : mapped(added, (value, name) => tf.add(sums[name] as tf.Tensor, value));

const times = (values: Params, factor: tf.Tensor): Params => mapped(values, (value) => tf.mul(value, factor));

/** Frees every tensor of `old` that is not also in `next`. */
function disposeExcept(old: unknown, next: unknown): void {
  const kept = new Set(tensorsIn(next));
  for (const tensor of tensorsIn(old)) if (!kept.has(tensor)) tensor.dispose();
}

function tensorsIn(value: unknown): tf.Tensor[] {
  if (value instanceof tf.Tensor) return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(tensorsIn) : [];
}

const clonedMap = (tensors: Params): Params => mapped(tensors, (tensor) => tensor.clone());

const cloned = (blocks: BlockState[]): BlockState[] => blocks.map(clonedMap);

const copyOf = ({ first, second }: Moments): Moments => ({ first: clonedMap(first), second: clonedMap(second) });
