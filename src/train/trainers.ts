/** The ways in which a step runs. */
import { createCompiledTrainer } from './compiled.js';
import { createEagerTrainer } from './eager.js';
import type { Trainer, TrainerMode, TrainerOptions } from './trainer.js';

/** `compiled` needs the native runtime. */
export const TRAINERS = { compiled: createCompiledTrainer, eager: createEagerTrainer } as const satisfies Record<
  TrainerMode,
  (options: TrainerOptions) => Trainer
>;
