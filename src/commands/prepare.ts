/** What train, eval and quickstart share: from a config to data and a running backend. */
import type { Config } from '../config/schema.js';
import { withCommonSize } from '../data/common-size.js';
import { type Dataset, type Evaluable, type SplitName, splitsOf } from '../data/dataset.js';
import type { WantedSplit } from '../data/formats/image-folder.js';
import { openDataset, openSplit } from '../data/open.js';
import { openPipeline, type Pipeline } from '../data/pipeline/pipeline.js';
import { takeLimited } from '../data/take.js';
import { requireUsable } from '../data/usable.js';
import { type Backend, startBackend } from '../native/backend.js';
import { requirePrecision } from '../train/precision.js';
import type { TrainerMode } from '../train/trainer.js';
import { say } from './say.js';

export interface Prepared<Data extends Evaluable = Dataset> {
  dataset: Data;
  backend: Backend;
  /** Compiled on the native runtime, unless asked otherwise. */
  mode: TrainerMode;
  pipeline: Pipeline;
}

/** Checks come first that need no computing, so that nothing is on disk yet when they fail. */
export async function prepare(config: Config, eager: boolean): Promise<Prepared> {
  return prepared(config, eager, await openDataset(config.data, takeLimited(config.data.limit, config.seed)));
}

/** The same for an evaluation of one split, which needs no other. */
export async function prepareSplit(config: Config, eager: boolean, split: WantedSplit): Promise<Prepared<Evaluable>> {
  return prepared(config, eager, await openSplit(config.data, split, takeLimited(config.data.limit, config.seed)));
}

async function prepared<Data extends Evaluable>(config: Config, eager: boolean, opened: Data): Promise<Prepared<Data>> {
  const notices = [...opened.notices, ...requireUsable(opened)];
  const dataset = await withCommonSize(opened, config.data);
  const backend = await startBackend(config.device);
  if (backend.notice !== null) say(backend.notice);
  say(`${dataset.name}: ${dataset.classes.length} classes, ${counted(dataset)} pictures in ${dataset.from}`);
  notices.forEach(say);
  const mode = backend.name === 'tensorflow' && !eager ? 'compiled' : 'eager';
  requirePrecision(config.train.precision, mode);
  return { dataset, backend, mode, pipeline: openPipeline(config.data.workers, config.data) };
}

const CALLED: Record<SplitName, string> = { train: 'training', val: 'validation', test: 'test' };

/** `900 training, 100 validation and 200 test` */
function counted(dataset: Evaluable): string {
  const counts = splitsOf(dataset).map(({ name, labels }) => `${labels.length} ${CALLED[name]}`);
  return counts.length === 1 ? counts.join() : `${counts.slice(0, -1).join(', ')} and ${counts.at(-1)}`;
}
