/** The trainer operation by operation: on wasm, and for looking into a step (`--eager`). The same interface and numbers as compiled.ts. */
import * as tf from '@tensorflow/tfjs-core';
import { parameterSpecs } from '../model/params.js';
import type { BlockState } from '../model/variants/key-driven.js';
import { forward, type Pass } from '../model/vit.js';
import { initialMoments, type Moments, stepSizes } from './adamw.js';
import { deviceBatch } from './device-batch.js';
import { evaluationSums } from './loss.js';
import { uniformNoise } from './noise.js';
import { addedSums, keepAll, type TrainState, trainStep } from './step.js';
import type { Trainer, TrainerOptions } from './trainer.js';

/** Has no values until `load`. */
export function createEagerTrainer(options: TrainerOptions): Trainer {
  const { shape, variant, seed, adamw, evalAllocation, evalNoise } = options;
  const fixedNoise = evalNoise === 'fixed' ? uniformNoise(shape, variant, seed, 'eval', 0) : null;
  let state: TrainState | undefined;
  let counts: tf.Tensor[] = [];
  let running = tf.keep(tf.zeros([4])); // sums of steps, left on the device until they are read
  let evaluation = { attention: [] as BlockState[], sums: tf.keep(tf.zeros([4])) as tf.Tensor, batches: 0 };

  const loaded = (): TrainState => {
    if (state === undefined) throw new Error('the trainer was used before `load`');
    return state;
  };
  const clearSums = (): void => {
    running.dispose();
    running = tf.keep(tf.zeros([4]));
  };
  const endEvaluation = (): void => {
    if (evaluation.attention !== state?.attention) tf.dispose(evaluation.attention);
    tf.dispose(evaluation.sums);
    evaluation = { attention: [], sums: tf.keep(tf.zeros([4])), batches: 0 };
  };

  return {
    train(batch, { step, lr, refresh }) {
      const before = loaded();
      const inputs = {
        ...deviceBatch(batch, shape.imageSize),
        sizes: stepSizes(lr, step + 1, adamw),
        refresh: tf.scalar(refresh ? 1 : 0),
        noise: uniformNoise(shape, variant, seed, 'train', step),
      };
      const { state: after, sums, counts: allocated } = trainStep(before, inputs, options);
      const sumsBefore = running;
      running = tf.tidy(() => addedSums(sumsBefore, sums, tf.scalar(step, 'int32')));
      tf.dispose([before, inputs, sums, counts, sumsBefore] as unknown as tf.TensorContainer);
      state = after;
      counts = allocated;
      keepAll([state, counts, running]); // a caller's tidy must not take them
    },
    readSums() {
      const [loss, top1, images, badStep] = running.dataSync() as unknown as [number, number, number, number];
      clearSums();
      return { loss, top1, images, badStep };
    },
    readCounts: () => (counts.length === 0 ? null : counts.map((block) => Array.from(block.dataSync()))),
    beginEvaluation() {
      endEvaluation();
      evaluation.attention = loaded().attention;
    },
    evaluate(batch) {
      const { params, attention } = loaded();
      const byBatch = evalAllocation === 'batch';
      const noise = evalNoise === 'paper' ? uniformNoise(shape, variant, seed, 'eval-paper', evaluation.batches) : fixedNoise;
      const { logits, sums, next } = tf.tidy(() => {
        const { images, labels, weights } = deviceBatch(batch, shape.imageSize);
        const blocks = byBatch ? evaluation.attention : attention;
        const pass: Pass = { shape, variant, state: blocks, allocation: { by: byBatch ? 'batch' : 'state' }, noise, weights };
        const result = forward(params, images, pass);
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
    model: () => ({ shape, variant, params: clonedMap(loaded().params), attention: cloned(loaded().attention) }),
    moments: () => ({ first: clonedMap(loaded().moments.first), second: clonedMap(loaded().moments.second) }),
    load({ params, attention }, moments) {
      const next: TrainState = {
        params: Object.fromEntries(Object.keys(parameterSpecs(shape)).map((name) => [name, (params[name] as tf.Tensor).clone()])),
        moments: moments === null ? tf.tidy(() => initialMoments(params)) : copyOf(moments),
        attention: cloned(attention),
      };
      endEvaluation();
      tf.dispose((state ?? []) as unknown as tf.TensorContainer);
      clearSums();
      state = next;
      keepAll(state);
    },
    dispose() {
      endEvaluation();
      tf.dispose([state ?? [], running, evaluation.sums, counts, fixedNoise ?? []] as unknown as tf.TensorContainer);
      state = undefined;
    },
  };
}

const clonedMap = (tensors: Record<string, tf.Tensor>): Record<string, tf.Tensor> =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, tensor.clone()]));

const cloned = (blocks: BlockState[]): BlockState[] => blocks.map(clonedMap);

const copyOf = ({ first, second }: Moments): Moments => ({ first: clonedMap(first), second: clonedMap(second) });
