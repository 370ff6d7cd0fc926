/** What the two processes of snapshot.test.ts have in common. */
import { encodeSafetensors } from '../../src/checkpoint/write-safetensors.js';
import type { Trainer, TrainerMode, TrainerOptions } from '../../src/train/trainer.js';
import { batchOf } from './models.js';

export interface ResumeJob {
  options: TrainerOptions;
  mode: TrainerMode;
  /** File of the state to begin with. */
  state: string;
  /** Batches done. */
  from: number;
  /** Where the state after five more batches goes. */
  result: string;
}

/** Batches `first` to `end`, exclusive, of a run. */
export function trainBatches(trainer: Trainer, { gradAccumSteps }: TrainerOptions, first: number, end: number): void {
  for (let i = first; i < end; i++) {
    const inStep = i % gradAccumSteps;
    const step = Math.floor(i / gradAccumSteps);
    trainer.train(batchOf(i), {
      step,
      lr: 1e-3,
      refresh: inStep === 0 && step % 3 === 0,
      last: inStep === gradAccumSteps - 1,
    });
  }
}

/** Everything that a trainer holds, as the bytes of a file. */
export function encodedSnapshot(trainer: Trainer): Buffer {
  const snapshot = trainer.snapshot();
  const tensors = snapshot.values.map(({ name, shape, data }) => [name, { shape: [...shape], data: data().slice() }]);
  snapshot.dispose();
  return encodeSafetensors(Object.fromEntries(tensors));
}
