/** What train, eval and quickstart share: from a config to data and a running backend. */
import type { Config } from '../config/schema.js';
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
    `${dataset.name}: ${dataset.classes.length} classes, ${dataset.train.labels.length} training and ${dataset.test.labels.length} test pictures in ${dataset.from}`,
  );
  if (config.data.cache !== null && dataset.train.source.kind === 'raw')
    say(`data.cache has no effect: the pictures of ${dataset.name} are no picture files, and need no decoding`);
  const mode = backend.name === 'tensorflow' && !eager ? 'compiled' : 'eager';
  requirePrecision(config.train.precision, mode);
  return { dataset, backend, mode, pipeline: openPipeline(config.data.workers, config.data) };
}
