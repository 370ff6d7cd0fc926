/**
 * Compiled against eager training in one process, taking turns: milliseconds a step and pictures a second. Needs a build (npm run build) and the native runtime.
 *
 *   node scripts/bench-step.mjs [MODEL] [--variant NAME] [--kv-heads K] [--batch-size B] [--steps N] [--rounds R] [--no-eager]
 *
 * MODEL: micro (the 32-pixel ViT, batch 32) · overhead (12 blocks that compute almost nothing, batch 2) · small, base, large (timm's at 224, batch 8)
 */

import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { initialParams } from '../dist/src/model/params.js';
import { SIZES } from '../dist/src/model/sizes.js';
import { startBackend } from '../dist/src/native/backend.js';
import { draws } from '../dist/src/random.js';
import { createCompiledTrainer } from '../dist/src/train/compiled.js';
import { createEagerTrainer } from '../dist/src/train/eager.js';
import { initialAttention } from '../dist/src/train/state.js';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    variant: { type: 'string', default: 'gqa' },
    'kv-heads': { type: 'string' },
    'batch-size': { type: 'string' },
    steps: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '5' },
    'no-eager': { type: 'boolean', default: false },
  },
});

const OVERHEAD = { imageSize: 32, patchSize: 8, embedDim: 48, depth: 12, heads: 6, mlpRatio: 4 };
const name = positionals[0] ?? 'micro';
const backbone = { ...SIZES, overhead: OVERHEAD }[name];
const defaults = { micro: { kvHeads: 4, batch: 32 }, overhead: { kvHeads: 3, batch: 2 }, small: { kvHeads: 3, batch: 8 } };
const { kvHeads, batch: defaultBatch } = defaults[name] ?? { kvHeads: backbone.heads / 2, batch: 8 };
const batchSize = Number(flags['batch-size'] ?? defaultBatch);
const shape = { ...backbone, kvHeads: flags.variant === 'mha' ? backbone.heads : Number(flags['kv-heads'] ?? kvHeads), numClasses: 10 };
const side = Math.min(32, shape.imageSize);

const { device, version } = await startBackend('native');
const options = {
  shape,
  variant: flags.variant,
  windowSize: 10,
  labelSmoothing: 0,
  adamw: { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01 },
  seed: 1,
  batchSize,
  evalBatchSize: batchSize,
  height: side,
  width: side,
  evalAllocation: 'frozen',
  evalNoise: 'fixed',
};

const from = draws(1, 'pixels');
const batch = {
  pixels: Uint8Array.from({ length: batchSize * side * side * 3 }, () => from.below(256)),
  height: side,
  width: side,
  labels: Int32Array.from({ length: batchSize }, () => from.below(10)),
  weights: new Float32Array(batchSize).fill(1),
  images: batchSize,
};

const started = performance.now();
const compiled = createCompiledTrainer(options);
const trainers = { compiled, ...(flags['no-eager'] ? {} : { eager: createEagerTrainer(options) }) };
const params = initialParams(shape, 1);
const attention = initialAttention(shape, flags.variant);
for (const trainer of Object.values(trainers)) trainer.load({ params, attention }, null);
tf.dispose([params, attention]);

let step = 0;
const plan = () => ({ step, lr: 1e-5, refresh: step++ % options.windowSize === 0 });
const timed = (work) => {
  const before = performance.now();
  work();
  return performance.now() - before;
};
/** Milliseconds of one step, the sums read at the end as a log line does. */
function train(trainer, steps) {
  return (
    timed(() => {
      for (let i = 0; i < steps; i++) trainer.train(batch, plan());
      trainer.readSums();
    }) / steps
  );
}
function evaluate(trainer, batches) {
  return (
    timed(() => {
      trainer.beginEvaluation();
      for (let i = 0; i < batches; i++) trainer.evaluate(batch).dispose();
      trainer.readEvaluation();
    }) / batches
  );
}

const firstStepMs = train(compiled, 1);
const readyMs = performance.now() - started;
const found = Object.fromEntries(Object.keys(trainers).map((mode) => [mode, { train: [], evaluate: [] }]));
for (const trainer of Object.values(trainers)) {
  train(trainer, 2);
  evaluate(trainer, 1);
}
const growth = [];
for (let round = 0; round < Number(flags.rounds); round++) {
  for (const [mode, trainer] of Object.entries(trainers)) {
    found[mode].train.push(train(trainer, Number(flags.steps)));
    found[mode].evaluate.push(evaluate(trainer, Math.ceil(Number(flags.steps) / 2)));
  }
  growth.push(Math.round(process.memoryUsage.rss() / 1e6));
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
const rounded = (number) => Number(number.toPrecision(4));
const summary = Object.fromEntries(
  Object.entries(found).map(([mode, { train, evaluate }]) => [
    mode,
    {
      trainMsPerStep: rounded(median(train)),
      bestTrainMsPerStep: rounded(Math.min(...train)),
      trainImagesPerSecond: rounded((1000 * batchSize) / median(train)),
      evalImagesPerSecond: rounded((1000 * batchSize) / median(evaluate)),
    },
  ]),
);
console.log(
  JSON.stringify(
    {
      model: name,
      variant: flags.variant,
      kvHeads: shape.kvHeads,
      batchSize,
      device,
      libtensorflow: version,
      ...Object.fromEntries(Object.entries(compiled.phases).map(([key, value]) => [key, Math.round(value)])),
      firstStepMs: Math.round(firstStepMs),
      readyMs: Math.round(readyMs),
      ...summary,
      trainRatio: summary.eager === undefined ? undefined : rounded(summary.eager.trainMsPerStep / summary.compiled.trainMsPerStep),
      rssMbByRound: growth,
      peakRssMb: Math.round(process.resourceUsage().maxRSS / 1024),
    },
    null,
    2,
  ),
);
