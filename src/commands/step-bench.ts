/** A config’s model on random images of its own size, ready to be timed. */
import type { Config } from '../config/schema.js';
import type { Batch } from '../data/dataset.js';
import { initialAttention } from '../model/attention-state.js';
import { initialModel } from '../model/params.js';
import { draws } from '../random.js';
import { type Stop, unstoppable } from '../run/interrupt.js';
import { type Operation, recordedOperations } from '../trace/profile.js';
import { requireFitting, scratchShape } from '../train/model.js';
import { stepOptions } from '../train/ready.js';
import { teacherEntries } from '../train/snapshot.js';
import { teacherShape } from '../train/teacher.js';
import { createTrainer, type TrainerMode } from '../train/trainer.js';

/** A head of ten classes; the image size is the model's. */
export const CLASSES = 10;

export interface StepBench {
  /** Building the trainer: tracing, loading the graph, fresh weights. */
  startMs: number;
  /** TensorFlow optimises the graph then, XLA compiles it, and the operating system hands out memory. */
  firstStepMs: number;
  /** Milliseconds of a step; the sums are read at the end, as at a log line. */
  train(steps: number): Promise<number>;
  /** Milliseconds of a batch. */
  evaluate(batches: number): Promise<number>;
  /** The operations of one step; null where they are not recorded. */
  profile(): Operation[] | null;
  dispose(): void;
}

/**
 * A config's model on random images of its own size, ready to be timed: one step is done. The backend is started.
 * @param stop asked before every batch
 */
export async function openStepBench(
  config: Config,
  mode: TrainerMode,
  batchSize: number,
  stop: Stop = unstoppable(),
): Promise<StepBench> {
  const started = performance.now();
  const { variant } = config.model;
  const shape = scratchShape(config, CLASSES);
  requireFitting(shape, variant, null);
  const batch = syntheticBatch(batchSize, shape.imageSize, config.seed);
  const trainer = createTrainer(
    {
      ...stepOptions(config),
      evalAllocation: 'frozen',
      shape,
      variant,
      batchSize,
      evalBatchSize: batchSize,
      height: shape.imageSize,
      width: shape.imageSize,
    },
    mode,
  );
  trainer.begin({ values: initialModel(shape, variant, config.seed), attention: initialAttention(shape, variant) });
  if (config.train.distillFrom !== null)
    trainer.restore(teacherEntries(initialModel(teacherShape(shape), 'mha', config.seed)));
  const { gradAccumSteps } = config.train;
  let step = 0;
  const train = async (steps: number): Promise<number> => {
    const begun = performance.now();
    for (const end = step + steps; step < end; step++) {
      for (let i = 0; i < gradAccumSteps; i++) {
        await stop.check();
        trainer.train(batch, { step, lr: 1e-5, refresh: i === 0 && step % 10 === 0, last: i === gradAccumSteps - 1 });
      }
    }
    trainer.readSums();
    return (performance.now() - begun) / steps;
  };
  const startMs = performance.now() - started;
  const firstStepMs = await train(1);
  return {
    startMs,
    firstStepMs,
    train,
    async evaluate(batches) {
      const begun = performance.now();
      trainer.beginEvaluation();
      for (let i = 0; i < batches; i++) {
        await stop.check();
        trainer.evaluate(batch).dispose();
      }
      trainer.readEvaluation();
      return (performance.now() - begun) / batches;
    },
    profile: () =>
      recordedOperations(() => trainer.train(batch, { step, lr: 1e-5, refresh: true, last: gradAccumSteps === 1 })),
    dispose: trainer.dispose,
  };
}

/** Random bytes, as the device gets them. */
function syntheticBatch(batchSize: number, side: number, seed: number): Batch {
  const from = draws(seed, 'bench');
  return {
    pixels: Uint8Array.from({ length: batchSize * side * side * 3 }, () => from.bits() & 255),
    height: side,
    width: side,
    labels: Int32Array.from({ length: batchSize }, () => from.below(CLASSES)),
    weights: new Float32Array(batchSize).fill(1),
    images: batchSize,
  };
}
