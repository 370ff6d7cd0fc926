/** One epoch of training: batches in, steps, log lines out; what it found stands in the run's state. */
import { preprocessingOf } from '../config/preprocessing.js';
import type { Config } from '../config/schema.js';
import { imageName } from '../data/dataset.js';
import { bytesOfMean } from '../data/images/erase.js';
import { epochOrder } from '../data/pipeline/pipeline.js';
import { GqaError } from '../errors.js';
import { draws } from '../random.js';
import type { Running } from './experiment.js';
import { firstNotFinite, keepState } from './kept-state.js';
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
      if (last && isDue(run, state)) await keepState(run, state, true);
      asked = performance.now();
    }
  } finally {
    bar.stop();
  }
}

/** Whether it is time to keep the state, beside every epoch's end. */
function isDue({ config, kept }: Running, { step }: RunState): boolean {
  const every = config.train.checkpointEvery;
  return 'steps' in every ? step - kept.step >= every.steps : performance.now() - kept.at >= every.minutes * 60_000;
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
function logLine(run: Running, state: RunState, seconds: number, waited: number): void {
  const { config, trainer, watch } = run;
  const { epoch, step, inEpoch } = state;
  const sums = trainer.readSums();
  const { loss, top1, images, badStep, float16 } = sums;
  if (badStep > 0) throw notFinite(run, state, badStep);
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

/** A loss that was not finite. */
export class NotFinite extends GqaError {
  /** @param step of the run, from 1 */
  constructor(
    readonly step: number,
    message: string,
    hint: string,
  ) {
    super('training', message, { hint });
  }
}

/** With what a user looks for first: the learning rate, the images of that step, and what is no longer finite. */
function notFinite(run: Running, state: RunState, step: number): NotFinite {
  const { config, trainer, stepsPerEpoch, parts } = run;
  const { batchSize, gradAccumSteps, precision } = config.train;
  const { split, indices } = parts.train;
  const perStep = batchSize * gradAccumSteps;
  const first = (step - 1 - (state.epoch - 1) * stepsPerEpoch) * perStep;
  const images = epochOrder(indices, config.seed, state.epoch).subarray(first, first + perStep);
  const names = [...images.subarray(0, 8)].map((index) => imageName(split, index)).join(', ');
  const tensor = firstNotFinite(trainer);
  const wider = precision === 'float16' ? 'Use train.precision: bfloat16 or float32, lower' : 'Lower';
  return new NotFinite(
    step,
    [
      `the loss is not finite at step ${step}, learning rate ${rateOf(config, state, step - 1)}`,
      `its images: ${names}${images.length > 8 ? `, … (${images.length})` : ''}`,
      tensor === null ? 'all parameters are finite' : `the first parameter that is not finite: ${tensor}`,
    ].join('\n'),
    `${wider} train.lr, or add train.warmup_steps.`,
  );
}
