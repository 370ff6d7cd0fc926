import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { DEFAULT_PREPROCESSING } from '../../src/config/preprocessing.js';
import { attentionTensors, attentionValues, initialAttention } from '../../src/model/attention-state.js';
import { neighbours } from '../../src/model/grouping.js';
import { initialModel, paramsFrom } from '../../src/model/params.js';
import type { ModelShape } from '../../src/model/sizes.js';
import type { VariantName } from '../../src/model/variants.js';
import { startBackend } from '../../src/native/backend.js';
import { draws } from '../../src/random.js';
import { correctSums, crossEntropySum } from '../../src/train/loss.js';
import { uniformNoise } from '../../src/train/noise.js';
import { differentiate, type PassInputs, plain, type StepOptions } from '../../src/train/step.js';
import { createTrainer, type Trainer, type TrainerOptions } from '../../src/train/trainer.js';
import { modelOf } from './models.js';

before(async () => {
  await startBackend('auto');
});

const shape: ModelShape = {
  imageSize: 16,
  patchSize: 8,
  embedDim: 24,
  depth: 2,
  heads: 6,
  grouping: neighbours(2, 6, 3),
  mlpRatio: 2,
  numClasses: 7,
};
const adamw = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01 };

/** A trainer that has begun; its steps take three images. */
function begun(variant: VariantName): { trainer: Trainer; options: TrainerOptions } {
  const options: TrainerOptions = {
    ...plain,
    ...{ shape, variant, windowSize: 2, labelSmoothing: 0.1, adamw, seed: 3, pixels: DEFAULT_PREPROCESSING },
    ...{ batchSize: 3, evalBatchSize: 3, height: 16, width: 16, gradAccumSteps: 1, mix: false, precision: 'float32' },
    ...{ evalAllocation: 'frozen', evalNoise: 'off' },
  };
  const trainer = createTrainer(options, 'eager');
  trainer.begin({ values: initialModel(shape, variant, 1), attention: initialAttention(shape, variant) });
  return { trainer, options };
}

function step(trainer: Trainer, index: number): void {
  const from = draws(2, 'images', index);
  const batch = {
    pixels: Uint8Array.from({ length: 3 * 16 * 16 * 3 }, () => from.below(256)),
    ...{ height: 16, width: 16, images: 3, weights: new Float32Array(3).fill(1) },
    labels: Int32Array.from([0, 1, 2], (i) => (i * 3 + index) % 7),
  };
  trainer.train(batch, { step: index, lr: 1e-3, refresh: index % 2 === 0 });
}

/** Real images first, then `padding` zero-weight ones full of rubbish. */
function inputs(variant: VariantName, step: number, real: number, padding = 0): PassInputs {
  const from = draws(2, 'images', step);
  const pixels = Float32Array.from({ length: (real + padding) * 16 * 16 * 3 }, () => 2 * from.uniform() - 1);
  return {
    images: tf.tensor(pixels, [real + padding, 16, 16, 3]),
    labels: tf.tensor1d(
      Array.from({ length: real + padding }, (_, i) => (i * 3 + step) % 7),
      'int32',
    ),
    weights: tf.tensor1d(Array.from({ length: real + padding }, (_, i) => (i < real ? 1 : 0))),
    refresh: tf.scalar(step % 2 === 0 ? 1 : 0),
    noise: uniformNoise(shape, variant, 3, 'train', tf.scalar(step, 'int32')),
    teacher: null,
    mix: null,
  };
}

for (const variant of ['mha', 'gqa', 'kdgqa', 'dgqa-diff', 'dgqa-ema', 'pgqa'] as const) {
  test(`padding changes neither loss nor gradient nor state: ${variant}`, () => {
    const widened = variant === 'mha' ? { ...shape, grouping: neighbours(2, 6, 6) } : shape;
    const values = initialModel(widened, variant, 1);
    const state = {
      trained: paramsFrom(widened, (name) => values[name] as Float32Array, variant),
      frozen: {},
      attention: attentionTensors(initialAttention(widened, variant)),
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
    const { trainer } = begun(variant);
    const counts: number[] = [];
    for (let index = 0; index < 4; index++) {
      step(trainer, index);
      counts.push(tf.memory().numTensors);
    }
    assert.deepEqual(new Set(counts).size, 1, `${variant}: ${counts.join(', ')}`);
    trainer.dispose();
  }
});

test('dgqa allocates at the beginning of a window only, and then adds to its cache as the paper’s code does', () => {
  const { trainer, options } = begun('dgqa-ema');
  const caches: number[][] = [];
  for (let index = 0; index < 3; index++) {
    step(trainer, index);
    caches.push(modelOf(trainer, options).attention[0]?.cache as number[]);
  }
  trainer.dispose();
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
