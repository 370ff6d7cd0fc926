/** One epoch of training: batches in, steps, log lines out; what it found stands in the run's state. */
import { preprocessingOf } from '../config/preprocessing.js';
import type { Config } from '../config/schema.js';
import { bytesOfMean } from '../data/images/erase.js';
import { GqaError } from '../errors.js';
import { draws } from '../random.js';
import type { Running } from './experiment.js';
import { drawMix } from './mix.js';
import { imageForm } from './ready.js';
import type { EpochSums, RunState } from './run-state.js';
import { requireScale } from './scaling.js';
import { learningRate } from './schedule.js';
import type { LossScaling, TrainSums } from './trainer.js';

/** Means over the images since the last such line. */
export interface LogLine {
  epoch: number;
  step: number;
  lr: number;
  loss: number;
  top1: number;
  imagesPerSecond: number;
  /** Part of the time that steps waited for images. */
  dataWait: number;
  /** With float16. */
  float16: LossScaling | null;
}

/** Learning rate of a step. @param step steps before it */
const rateOf = ({ train }: Config, { totalSteps }: RunState, step: number): number =>
  learningRate(train.schedule, train.lr, step, totalSteps, train.warmupSteps);

/** Learning rate of the last step that was done. */
export const lastRate = ({ config }: Running, state: RunState): number => rateOf(config, state, state.step - 1);

/** The images that are left of the epoch, or of the run's steps; `state` follows batch by batch. */
export async function trainEpoch(run: Running, state: RunState): Promise<void> {
  const { config, trainer, watch, clock, stepsPerEpoch, epochs } = run;
  const { batchSize, gradAccumSteps, logEvery } = config.train;
  const count = run.parts.train.indices.length;
  const firstStep = (state.epoch - 1) * stepsPerEpoch;
  const lastStep = Math.min(state.totalSteps, firstStep + stepsPerEpoch);
  const lastBatch = Math.ceil(count / batchSize) - 1;
  const total = Math.min(count, (lastStep - firstStep) * batchSize * gradAccumSteps);
  const bar = clock.timed('train')(`epoch ${state.epoch}/${epochs}`, total);
  let seen = Math.min(count, state.batch * batchSize);
  let started = performance.now();
  let waited = 0; // seconds, since the last line
  let asked = started;
  try {
    for await (const batch of watch.stop.each(trainingBatches(run, state))) {
      waited += (performance.now() - asked) / 1000;
      const inStep = state.batch % gradAccumSteps;
      const last = inStep === gradAccumSteps - 1 || state.batch === lastBatch;
      const refresh = inStep === 0 && (state.step - firstStep) % config.model.windowSize === 0;
      const mix = drawMix(config.data, config.model.imageSize, draws(config.seed, 'mix', state.epoch, state.batch));
      trainer.train(batch, { step: state.step, lr: rateOf(config, state, state.step), refresh, last, mix });
      seen += batch.images;
      bar.tick(seen);
      state.batch++;
      if (last) {
        state.step++;
        watch.reached({ epoch: state.epoch, step: state.step });
      }
      if (last && (state.step % logEvery === 0 || state.step === lastStep)) {
        const now = performance.now();
        logLine(run, state, (now - started) / 1000, waited);
        const { images, seconds, loss, top1 } = state.inEpoch;
        bar.update(images, { imagesPerSecond: images / seconds, loss: loss / images, top1: top1 / images });
        started = performance.now();
        waited = 0;
      }
      if (state.step === lastStep) break;
      asked = performance.now();
    }
  } finally {
    bar.stop();
  }
}

function trainingBatches({ config, pipeline, parts }: Running, { epoch, batch }: RunState) {
  const { split, indices } = parts.train;
  return pipeline.batches(split, indices, {
    ...imageForm(config, parts.train),
    batchSize: config.train.batchSize,
    seed: config.seed,
    epoch,
    from: batch,
    augment: config.data.augment,
    randomErasing: config.data.randomErasing,
    erasedTo: bytesOfMean(preprocessingOf(config.data).mean),
  });
}

/**
 * Reads the sums since the last line (host sync), and adds them to the epoch's.
 * @param seconds, waited since the last line
 */
function logLine({ config, trainer, watch }: Running, state: RunState, seconds: number, waited: number): void {
  const { epoch, step, inEpoch } = state;
  const sums = trainer.readSums();
  const { loss, top1, images, badStep, float16 } = sums;
  if (badStep > 0) throw notFinite(badStep, rateOf(config, state, badStep - 1), config.train.precision);
  watch.logged({
    ...{ epoch, step, float16 },
    lr: rateOf(config, state, step - 1),
    loss: loss / images,
    top1: top1 / images,
    imagesPerSecond: images / seconds,
    dataWait: waited / seconds,
  });
  addSums(inEpoch, sums);
  inEpoch.seconds += seconds;
  inEpoch.waited += waited;
  if (float16 !== null) requireScale(float16.scale, step);
}

/** Sums that were read from the device become part of the epoch's. */
export function addSums(inEpoch: EpochSums, { loss, top1, images, float16 }: TrainSums): void {
  if (float16 !== null) inEpoch.stepsLeftOut = (inEpoch.stepsLeftOut ?? 0) + float16.leftOut;
  inEpoch.loss += loss;
  inEpoch.top1 += top1;
  inEpoch.images += images;
}

function notFinite(step: number, lr: number, precision: Config['train']['precision']): GqaError {
  const wider = precision === 'float16' ? 'Use train.precision: bfloat16 or float32, lower' : 'Lower';
  return new GqaError('training', `the loss is not finite at step ${step}, learning rate ${lr}`, {
    hint: `${wider} train.lr, or add train.warmup_steps.`,
  });
}
