import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import type { VariantName } from '../../src/config/names.js';
import { initialParams } from '../../src/model/params.js';
import type { ModelShape } from '../../src/model/sizes.js';
import { startBackend } from '../../src/native/backend.js';
import { draws } from '../../src/random.js';
import { initialMoments, type StepSizes, stepSizes } from '../../src/train/adamw.js';
import { correctSums, crossEntropySum } from '../../src/train/loss.js';
import { uniformNoise } from '../../src/train/noise.js';
import { attentionValues, initialAttention } from '../../src/train/state.js';
import {
  differentiate,
  type PassInputs,
  plain,
  type StepOptions,
  type StepSums,
  type TrainState,
  updated,
} from '../../src/train/step.js';

before(async () => {
  await startBackend('auto');
});

const shape: ModelShape = {
  imageSize: 16,
  patchSize: 8,
  embedDim: 24,
  depth: 2,
  heads: 6,
  kvHeads: 3,
  mlpRatio: 2,
  numClasses: 7,
};
const adamw = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01 };

type StepInputs = PassInputs & { sizes: StepSizes };

/** One step; the caller owns the old state and everything returned. */
function trainStep(
  state: TrainState,
  inputs: StepInputs,
  options: StepOptions,
): { state: TrainState; sums: StepSums; counts: tf.Tensor[] } {
  return tf.tidy(() => {
    const { gradients, sums, attention, counts, logits } = differentiate(state, inputs, options);
    logits.dispose();
    return { state: { ...updated(state, gradients, inputs.sizes, options), attention }, sums, counts };
  });
}

function begin(variant: VariantName): { state: TrainState; options: StepOptions } {
  const params = initialParams(shape, 1);
  return {
    state: {
      params,
      moments: tf.tidy(() => initialMoments(params)),
      attention: initialAttention(shape, variant),
      ema: {},
    },
    options: { shape, variant, windowSize: 2, labelSmoothing: 0.1, adamw, ...plain },
  };
}

/** Real images first, then `padding` zero-weight ones full of rubbish. */
function inputs(variant: VariantName, step: number, real: number, padding = 0): StepInputs {
  const from = draws(2, 'images', step);
  const pixels = Float32Array.from({ length: (real + padding) * 16 * 16 * 3 }, () => 2 * from.uniform() - 1);
  return {
    images: tf.tensor(pixels, [real + padding, 16, 16, 3]),
    labels: tf.tensor1d(
      Array.from({ length: real + padding }, (_, i) => (i * 3 + step) % 7),
      'int32',
    ),
    weights: tf.tensor1d(Array.from({ length: real + padding }, (_, i) => (i < real ? 1 : 0))),
    sizes: stepSizes(1e-3, step + 1, adamw),
    refresh: tf.scalar(step % 2 === 0 ? 1 : 0),
    noise: uniformNoise(shape, variant, 3, 'train', step),
    teacher: null,
    mix: null,
  };
}

for (const variant of ['mha', 'gqa', 'kdgqa', 'dgqa-diff', 'dgqa-ema', 'pgqa'] as const) {
  test(`padding changes neither loss nor gradient nor state: ${variant}`, () => {
    const widened = variant === 'mha' ? { ...shape, kvHeads: 6 } : shape;
    const params = initialParams(widened, 1);
    const state: TrainState = {
      params,
      moments: initialMoments(params),
      attention: initialAttention(widened, variant),
      ema: {},
    };
    const options: StepOptions = { shape: widened, variant, windowSize: 2, labelSmoothing: 0.1, adamw, ...plain };
    const short = differentiate(state, inputs(variant, 0, 3), options);
    const padded = differentiate(state, inputs(variant, 0, 3, 2), options);
    const close = (a: tf.Tensor, b: tf.Tensor, what: string): void => {
      const difference = tf.max(tf.abs(tf.sub(a, b))).dataSync()[0] as number;
      assert.ok(difference <= 1e-5, `${what} differs by ${difference}`);
    };
    close(short.sums.loss, padded.sums.loss, 'loss');
    for (const [name, gradient] of Object.entries(short.gradients))
      close(gradient, padded.gradients[name] as tf.Tensor, name);
    close(short.sums.images, padded.sums.images, 'number of images');
    close(short.sums.top1, padded.sums.top1, 'top-1');
    // DGQA sums key norms over the batch, and so scales the mean with its size; shares do not change.
    if (variant === 'kdgqa')
      assert.deepEqual(attentionValues(short.attention).map(rounded), attentionValues(padded.attention).map(rounded));
    assert.deepEqual(
      short.counts.map((block) => [...block.dataSync()]),
      padded.counts.map((block) => [...block.dataSync()]),
    );
  });
}

const rounded = (block: Record<string, number[]>): Record<string, number[]> =>
  Object.fromEntries(
    Object.entries(block).map(([name, values]) => [name, values.map((value) => Number(value.toPrecision(4)))]),
  );

test('no tensor is left behind from step to step, for any variant', () => {
  for (const variant of ['gqa', 'kdgqa', 'dgqa-ema', 'pgqa'] as const) {
    let { state, options } = begin(variant);
    const counts: number[] = [];
    for (let step = 0; step < 4; step++) {
      const fed = inputs(variant, step, 3);
      const next = trainStep(state, fed, options);
      tf.dispose([state, fed, next.sums, next.counts] as unknown as tf.TensorContainer);
      state = next.state;
      counts.push(tf.memory().numTensors);
    }
    assert.deepEqual(new Set(counts).size, 1, `${variant}: ${counts.join(', ')}`);
  }
});

test('dgqa allocates at the beginning of a window only, and then adds to its cache as the paper’s code does', () => {
  let { state, options } = begin('dgqa-ema');
  const caches: number[][] = [];
  for (let step = 0; step < 3; step++) {
    state = trainStep(state, inputs('dgqa-ema', step, 3), options).state;
    caches.push(attentionValues(state.attention)[0]?.cache as number[]);
  }
  assert.ok((caches[0] as number[]).every((value) => value > 0));
  assert.deepEqual(caches[1], caches[0]);
  assert.notDeepEqual(caches[2], caches[0]);
});

test('cross-entropy with label smoothing is torch’s: worked by hand for two classes', () => {
  // logits (2, 0), label 0, ε = 0.2: targets 0.9 and 0.1; log-softmax −0.126928, −2.126928
  const value = tf.tidy(
    () =>
      crossEntropySum(tf.tensor2d([[2, 0]]), tf.tensor1d([0], 'int32'), tf.tensor1d([1]), 0.2).dataSync()[0] as number,
  );
  assert.ok(Math.abs(value - (0.9 * 0.126928 + 0.1 * 2.126928)) < 1e-5);
});

test('the gradient of the cross-entropy agrees with finite differences, weights included', () => {
  tf.tidy(() => {
    const logits = tf.tensor2d([
      [0.3, -1, 2],
      [1, 1.5, -0.5],
      [5, -5, 0],
    ]);
    const labels = tf.tensor1d([2, 0, 1], 'int32');
    const weights = tf.tensor1d([1, 0.5, 0]);
    const value = (z: tf.Tensor): tf.Scalar => crossEntropySum(z, labels, weights, 0.1) as tf.Scalar;
    const gradient = tf.grad(value)(logits).arraySync() as number[][];
    for (let b = 0; b < 3; b++)
      for (let c = 0; c < 3; c++) {
        const nudge = tf.buffer([3, 3]);
        nudge.set(1e-2, b, c);
        const difference = tf
          .sub(value(tf.add(logits, nudge.toTensor())), value(tf.sub(logits, nudge.toTensor())))
          .dataSync()[0] as number;
        assert.ok(Math.abs(difference / 2e-2 - (gradient[b]?.[c] as number)) < 1e-3);
      }
  });
});

test('top-1 and top-5 count weighted examples, and the lower index wins a tie', () => {
  const logits = tf.tensor2d([
    [1, 1, 0, 0, 0, 0],
    [1, 1, 0, 0, 0, 0],
    [6, 5, 4, 3, 2, 1],
    [6, 5, 4, 3, 2, 1],
    [0, 9, 0, 0, 0, 0],
  ]);
  const { top1, top5 } = correctSums(logits, tf.tensor1d([0, 1, 4, 5, 1], 'int32'), tf.tensor1d([1, 1, 1, 1, 0]));
  assert.equal(top1.dataSync()[0], 1);
  assert.equal(top5.dataSync()[0], 3);
});
