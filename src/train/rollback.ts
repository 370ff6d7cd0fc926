/** What `train.on_nan: rollback` does with a loss that is not finite. */
import { withAfterthought } from '../errors.js';
import { NotFinite, trainEpoch } from './epoch.js';
import type { Running } from './experiment.js';
import { entriesIn, withoutStep } from './kept-state.js';
import type { RunState } from './run-state.js';

/** A run goes back so often at most. */
const MOST_ROLLBACKS = 3;

/** The epoch; with `on_nan: rollback` from a kept state's weights again, after the batch whose loss was not finite. */
export async function trainWithRollbacks(run: Running, state: RunState): Promise<void> {
  const { config, trainer, watch, stepsPerEpoch, parts } = run;
  for (;;) {
    try {
      return await trainEpoch(run, state);
    } catch (error) {
      if (!(error instanceof NotFinite) || config.train.onNan === 'stop') throw error;
      if (state.rollbacks.length === MOST_ROLLBACKS)
        throw withAfterthought(error, `It had gone back ${MOST_ROLLBACKS} times already.`);
      const good = await watch.kept();
      if (good === null) throw withAfterthought(error, 'There is no checkpoint yet to go back to.');
      trainer.restore(withoutStep(entriesIn(good.file)));
      state.rollbacks.push({ step: error.step, to: good.step });
      const { batchSize, gradAccumSteps } = config.train;
      const batches = Math.ceil(parts.train.indices.length / batchSize);
      const inEpoch = error.step - (state.epoch - 1) * stepsPerEpoch;
      Object.assign(state, { step: error.step, batch: Math.min(batches, inEpoch * gradAccumSteps) });
      watch.notice(
        `${error.message}\nback to the weights after step ${good.step}; on with the images after that batch`,
      );
    }
  }
}
