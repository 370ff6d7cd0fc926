/** What a trainer holds, read out for tests. */
import { parameterSpecs } from '../../src/model/params.js';
import type { Model } from '../../src/train/model.js';
import { evaluatedModel } from '../../src/train/snapshot.js';
import type { Trainer, TrainerOptions } from '../../src/train/trainer.js';

/** What evaluation reads: moving averages where they are kept. Copies. */
export function modelOf(
  trainer: Pick<Trainer, 'snapshot'>,
  { shape, variant }: Pick<TrainerOptions, 'shape' | 'variant'>,
): Pick<Model, 'values' | 'attention'> {
  const snapshot = trainer.snapshot();
  const { read, attention } = evaluatedModel(snapshot, shape.depth);
  const values = Object.fromEntries(
    Object.keys(parameterSpecs(shape, variant)).map((name) => [name, read(name).slice()]),
  );
  snapshot.dispose();
  return { values, attention };
}
