import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { DEFAULT_PREPROCESSING } from '../../src/config/preprocessing.js';
import type { Batch } from '../../src/data/dataset.js';
import { initialAttention } from '../../src/model/attention-state.js';
import { neighbours } from '../../src/model/grouping.js';
import { initialModel } from '../../src/model/params.js';
import type { ModelShape } from '../../src/model/sizes.js';
import type { VariantName } from '../../src/model/variants.js';
import { startBackend } from '../../src/native/backend.js';
import { draws } from '../../src/random.js';
import { calibrate } from '../../src/train/calibrate.js';
import { evaluate } from '../../src/train/evaluate.js';
import { attentionEntries } from '../../src/train/snapshot.js';
import { plain } from '../../src/train/step.js';
import { createTrainer, type Trainer, type TrainerOptions } from '../../src/train/trainer.js';
import { modelOf } from './models.js';

let native = false;
before(async () => {
  native = (await startBackend('auto')).name === 'tensorflow';
});

const shape: ModelShape = {
  imageSize: 16,
  patchSize: 8,
  embedDim: 24,
  depth: 3,
  heads: 6,
  grouping: neighbours(3, 6, 3),
  mlpRatio: 2,
  numClasses: 7,
};
const IMAGES = 20;

const optionsOf = (variant: VariantName, evalBatchSize: number): TrainerOptions => ({
  ...plain,
  pixels: DEFAULT_PREPROCESSING,
  ...{
    shape,
    variant,
    windowSize: 1,
    labelSmoothing: 0,
    adamw: { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0 },
    seed: 1,
  },
  ...{ batchSize: 4, evalBatchSize, gradAccumSteps: 1, mix: false, precision: 'float32', height: 16, width: 16 },
  ...{ evalAllocation: 'frozen', evalNoise: 'fixed' },
});

/** The same images in batches of any size, the last one padded with rubbish. */
async function* batches(batchSize: number): AsyncGenerator<Batch> {
  const from = draws(4, 'images');
  const all = Uint8Array.from(
    { length: IMAGES * 16 * 16 * 3 },
    (_, i) => (from.below(256) * (1 + Math.floor(i / 768))) / IMAGES,
  );
  for (let first = 0; first < IMAGES; first += batchSize) {
    const images = Math.min(batchSize, IMAGES - first);
    const pixels = new Uint8Array(batchSize * 768).fill(255);
    pixels.set(all.subarray(first * 768, (first + images) * 768));
    const labels = Int32Array.from({ length: batchSize }, (_, i) => (i < images ? (first + i) % 7 : 0));
    yield { pixels, height: 16, width: 16, labels, weights: new Float32Array(batchSize).fill(1, 0, images), images };
  }
}

for (const variant of ['kdgqa', 'dgqa-diff', 'dgqa-ema'] as const) {
  test(`calibration fills the state of ${variant}, and depends neither on how images are batched nor on how the trainer runs`, async () => {
    const model = {
      shape,
      variant,
      values: initialModel(shape, variant, 2),
      attention: initialAttention(shape, variant),
    };
    const states = [];
    for (const batchSize of [1, 6, 20]) {
      for (const mode of ['eager', ...(native ? (['compiled'] as const) : [])] as const) {
        const trainer = createTrainer(optionsOf(variant, batchSize), mode);
        trainer.begin(model);
        const attention = await calibrate(trainer, model, model.attention, batches(batchSize));
        trainer.restore(attentionEntries(attention));
        states.push(modelOf(trainer, model).attention);
        assert.deepEqual(states.at(-1), attention);
        trainer.dispose();
      }
    }
    const round = (value: number): number => Number(value.toPrecision(5));
    const [first, ...others] = states.map((state) =>
      state.map((block) => Object.fromEntries(Object.entries(block).map(([name, of]) => [name, of.map(round)]))),
    );
    for (const other of others) assert.deepEqual(other, first);
    for (const block of first as Record<string, number[]>[]) {
      const filled = block.norms ?? block.allocation ?? [];
      assert.equal(filled.length, 3);
      assert.ok(filled.every((value) => value >= 0) && filled.some((value) => value > 0));
    }
  });
}

test('evaluation counts real images only, whatever the batch size, and by batch leaves the model’s state as it was', async () => {
  const model = {
    shape,
    variant: 'dgqa-ema' as const,
    values: initialModel(shape, 'dgqa-ema', 2),
    attention: initialAttention(shape, 'dgqa-ema'),
  };
  const trainer = (evalBatchSize: number, evalAllocation: 'frozen' | 'batch'): Trainer => {
    const made = createTrainer({ ...optionsOf(model.variant, evalBatchSize), evalAllocation }, 'eager');
    made.begin(model);
    return made;
  };
  const whole = await evaluate(trainer(20, 'frozen'), 7, batches(20));
  const padded = await evaluate(trainer(6, 'frozen'), 7, batches(6));
  assert.equal(padded.images, IMAGES);
  assert.deepEqual([padded.top1, padded.top5], [whole.top1, whole.top5]);
  assert.ok(Math.abs(padded.loss - whole.loss) < 1e-6);
  const byBatch = trainer(6, 'batch');
  const before = modelOf(byBatch, model).attention;
  await evaluate(byBatch, 7, batches(6));
  assert.deepEqual(modelOf(byBatch, model).attention, before);
});
