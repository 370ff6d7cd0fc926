/** The compiled trainer and the eager one do the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import type { VariantName } from '../../src/config/names.js';
import type { Batch } from '../../src/data/dataset.js';
import { initialParams } from '../../src/model/params.js';
import type { ModelShape } from '../../src/model/sizes.js';
import { startBackend } from '../../src/native/backend.js';
import { draws } from '../../src/random.js';
import { createCompiledTrainer } from '../../src/train/compiled.js';
import { createEagerTrainer } from '../../src/train/eager.js';
import type { Model } from '../../src/train/model.js';
import { initialAttention } from '../../src/train/state.js';
import { plain } from '../../src/train/step.js';
import type { Trainer, TrainerOptions } from '../../src/train/trainer.js';

const native = (await startBackend('auto')).name === 'tensorflow';
const skip = native ? false : 'compiled functions need the native runtime: npm run setup';

const BATCH = 6;
const SIDE = 12; // enlarged to the model's 16
const BASE: ModelShape = { imageSize: 16, patchSize: 4, embedDim: 24, depth: 3, heads: 6, kvHeads: 3, mlpRatio: 2, numClasses: 7 };
const VARIANTS = ['mha', 'gqa', 'kdgqa', 'dgqa-diff', 'dgqa-ema', 'pgqa'] as const;

function optionsOf(variant: VariantName, changes: Partial<TrainerOptions> = {}): TrainerOptions {
  return {
    shape: { ...BASE, kvHeads: variant === 'mha' ? BASE.heads : BASE.kvHeads },
    variant,
    windowSize: 3,
    labelSmoothing: 0.1,
    adamw: { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.05 },
    seed: 11,
    batchSize: BATCH,
    evalBatchSize: BATCH,
    height: SIDE,
    width: SIDE,
    evalAllocation: 'frozen',
    evalNoise: 'fixed',
    gradAccumSteps: 1,
    precision: 'float32',
    ...plain,
    ...changes,
  };
}

/** Real pictures first; the padding is zero-weight rubbish. */
function batchOf(index: number, real = BATCH): Batch {
  const from = draws(3, 'batch', index);
  return {
    pixels: Uint8Array.from({ length: BATCH * SIDE * SIDE * 3 }, () => from.below(256)),
    height: SIDE,
    width: SIDE,
    labels: Int32Array.from({ length: BATCH }, () => from.below(BASE.numClasses)),
    weights: Float32Array.from({ length: BATCH }, (_, i) => (i < real ? 1 : 0)),
    images: real,
  };
}

/** Weights large enough to matter, and keys of which each head is stronger than the one before, so that allocations are uneven. */
function loadInto(trainer: Trainer, { shape, variant }: TrainerOptions): void {
  const { embedDim, heads, kvHeads } = shape;
  tf.tidy(() => {
    const strength = tf.tensor2d(
      Array.from({ length: (kvHeads * embedDim) / heads }, (_, row) => [4 * (1 + Math.floor((row * heads) / embedDim))]),
    );
    const params = Object.fromEntries(
      Object.entries(initialParams(shape, 5)).map(([name, value]) => {
        if (/attn\.k\.weight/.test(name)) return [name, tf.mul(value, strength)];
        return [name, /(attn|mlp).*weight/.test(name) ? tf.mul(value, 10) : value];
      }),
    );
    trainer.load({ params, attention: initialAttention(shape, variant) }, null);
  });
}

/** How far the shares of the first step, which the state tells, are from an edge of rounding: x.5. */
function marginOf({ attention }: Model, { shape, variant }: TrainerOptions): number {
  const shares = attention.flatMap((block) => {
    const norms = read((block.norms ?? block.cache) as tf.Tensor);
    const scores = norms.map((norm) => (variant === 'kdgqa' ? norm - Math.min(...norms) : norm));
    const total = scores.reduce((sum, score) => sum + score, 0);
    return scores.map((score) => (score / total) * shape.heads);
  });
  return Math.min(...shares.map((share) => Math.abs(share - Math.floor(share) - 0.5)));
}

const read = (x: tf.Tensor): number[] => {
  const values = Array.from(x.dataSync());
  x.dispose();
  return values;
};

function assertClose(found: number[], expected: number[], tolerance: number, what: string): void {
  assert.equal(found.length, expected.length);
  const scale = Math.max(...expected.map(Math.abs));
  found.forEach((value, i) => {
    const difference = Math.abs(value - (expected[i] as number));
    assert.ok(difference <= tolerance * scale, `${what}[${i}]: ${value}, not ${expected[i]}`);
  });
}

for (const variant of VARIANTS) {
  test(`compiled = eager over ten steps at lr 1e-4, the last batch short: ${variant}`, { skip }, () => {
    const options = optionsOf(variant);
    const [compiled, eager] = [createCompiledTrainer(options), createEagerTrainer(options)];
    const both = [compiled, eager] as const;
    for (const trainer of both) {
      loadInto(trainer, options);
      trainer.beginEvaluation();
    }
    assertClose(read(compiled.evaluate(batchOf(99))), read(eager.evaluate(batchOf(99))), 1e-5, 'logits of step 0');

    const tensors: number[] = [];
    for (let step = 0; step < 10; step++) {
      const batch = batchOf(step, step === 9 ? 2 : BATCH);
      const plan = { step, lr: 1e-4, refresh: step % options.windowSize === 0 };
      for (const trainer of both) trainer.train(batch, plan);
      const [found, expected] = both.map((trainer) => trainer.readSums()) as [
        ReturnType<Trainer['readSums']>,
        ReturnType<Trainer['readSums']>,
      ];
      assertClose([found.loss], [expected.loss], 1e-5, `loss of step ${step}`);
      assert.deepEqual([found.top1, found.images], [expected.top1, expected.images]);
      assert.deepEqual(compiled.readCounts(), eager.readCounts(), `allocation of step ${step}`);
      if (step === 0 && compiled.readCounts() !== null) {
        const model = eager.model();
        assert.ok(marginOf(model, options) > 1e-3, 'pictures are such that rounding decides alike');
        tf.dispose(model.params);
      }
      tensors.push(tf.memory().numTensors);
    }
    assert.equal(new Set(tensors.slice(1)).size, 1, `tensors: ${tensors}`);
    if (variant.includes('dgqa'))
      assert.ok(
        compiled.readCounts()?.some((block) => new Set(block).size > 1),
        'allocations are uneven somewhere',
      );

    const [found, expected] = both.map((trainer) => trainer.model()) as [ReturnType<Trainer['model']>, ReturnType<Trainer['model']>];
    for (const [name, value] of Object.entries(expected.params))
      assertClose(read(found.params[name] as tf.Tensor), read(value), 1e-4, name);
    expected.attention.forEach((block, i) => {
      for (const [name, value] of Object.entries(block))
        assertClose(read(found.attention[i]?.[name] as tf.Tensor), read(value), 1e-4, name);
    });
    for (const trainer of both) trainer.beginEvaluation();
    for (let i = 0; i < 2; i++) tf.dispose(both.map((trainer) => trainer.evaluate(batchOf(50 + i, i === 1 ? 3 : BATCH))));
    const [sums, expectedSums] = both.map((trainer) => trainer.readEvaluation());
    assertClose([sums?.loss as number], [expectedSums?.loss as number], 1e-5, 'evaluation loss');
    assert.deepEqual({ ...sums, loss: 0 }, { ...expectedSums, loss: 0 });
    assert.equal(sums?.images, BATCH + 3);
    for (const trainer of both) trainer.dispose();
  });
}

test('evaluation batch by batch allocates on a copy of the state: the same eagerly and compiled, and training never sees it', {
  skip,
}, () => {
  for (const variant of ['kdgqa', 'dgqa-ema', 'pgqa'] as const) {
    const options = optionsOf(variant, { evalAllocation: 'batch', evalNoise: 'paper' });
    const both = [createCompiledTrainer(options), createEagerTrainer(options)] as const;
    for (const trainer of both) {
      loadInto(trainer, options);
      trainer.train(batchOf(0), { step: 0, lr: 1e-4, refresh: true });
    }
    for (let round = 0; round < 2; round++) {
      for (const trainer of both) trainer.beginEvaluation();
      for (let i = 0; i < 3; i++) {
        const [found, expected] = both.map((trainer) => read(trainer.evaluate(batchOf(i)))) as [number[], number[]];
        assertClose(found, expected, 1e-4, `${variant}, logits of batch ${i}`);
      }
    }
    for (const trainer of both) trainer.dispose();
  }
});

test('a trainer that takes over another’s model and moments goes on as that one does', { skip }, () => {
  const options = optionsOf('dgqa-ema');
  const [first, second] = [createCompiledTrainer(options), createCompiledTrainer(options)];
  loadInto(first, options);
  for (let step = 0; step < 4; step++) first.train(batchOf(step), { step, lr: 1e-3, refresh: step % 3 === 0 });
  const [model, moments] = [first.model(), first.moments()];
  second.load(model, moments);
  tf.dispose([model.params, model.attention, moments] as unknown as tf.TensorContainer);
  first.readSums();
  for (let step = 4; step < 7; step++) {
    for (const trainer of [first, second]) trainer.train(batchOf(step), { step, lr: 1e-3, refresh: step % 3 === 0 });
    assert.deepEqual(second.readSums(), first.readSums());
  }
  first.dispose();
  second.dispose();
});

test('tensors fed and returned are the caller’s: a model read before a step does not change with it', { skip }, () => {
  const options = optionsOf('gqa');
  const trainer = createCompiledTrainer(options);
  loadInto(trainer, options);
  const model = trainer.model();
  const before = Array.from((model.params['head.weight'] as tf.Tensor).dataSync());
  const copy = trainer.model().params['head.weight'] as tf.Tensor;
  trainer.train(batchOf(0), { step: 0, lr: 0.1, refresh: true });
  assert.deepEqual(read(copy), before);
  assert.notDeepEqual(read(trainer.model().params['head.weight'] as tf.Tensor), before);
  trainer.dispose();
});
