/** What train, eval and quickstart share: from a config to data and a running backend. */

import type { Config } from '../config/schema.js';
import { counted } from '../counted.js';
import { withCommonSize } from '../data/common-size.js';
import type { Dataset } from '../data/dataset.js';
import { openDataset } from '../data/open.js';
import { openPipeline, type Pipeline } from '../data/pipeline/pipeline.js';
import { type Backend, startBackend } from '../native/backend.js';
import type { Stop } from '../run/interrupt.js';
import { requirePrecision } from '../train/precision.js';
import type { TrainerMode } from '../train/trainer.js';
import { say } from './say.js';

export interface Prepared {
  dataset: Dataset;
  backend: Backend;
  /** Compiled on the native runtime, unless asked otherwise. */
  mode: TrainerMode;
  pipeline: Pipeline;
}

/** Checks come first that need no computing, so that nothing is on disk yet when they fail. */
export async function prepare(config: Config, eager: boolean, stop: Stop): Promise<Prepared> {
  await stop.check();
  const opened = await stop.during(openDataset(config.data));
  const dataset = await stop.during(withCommonSize(opened, config.data));
  await stop.check();
  const backend = await startBackend(config.device);
  await stop.check();
  if (backend.notice !== null) say(backend.notice);
  say(
    `${dataset.name}: ${counted(dataset.classes.length, 'class')}, ${dataset.train.labels.length} training and ${counted(dataset.test.labels.length, 'test picture')} in ${dataset.from}`,
  );
  const mode = backend.name === 'tensorflow' && !eager ? 'compiled' : 'eager';
  requirePrecision(config.train.precision, mode);
  return { dataset, backend, mode, pipeline: openPipeline(config.data.workers, config.data) };
}
