/** What train and eval begin with: a config's data, its pipeline and a running backend. */

import type { Config } from '../config/schema.js';
import { counted } from '../counted.js';
import { type Dataset, type Evaluable, type SplitName, splitsOf } from '../data/dataset.js';
import type { WantedSplit } from '../data/formats/image-folder.js';
import { openDataset, openSplit } from '../data/open.js';
import { openPipeline, type Pipeline } from '../data/pipeline/pipeline.js';
import { takeLimited } from '../data/take.js';
import { requireUsable } from '../data/usable.js';
import { type Backend, startBackend } from '../native/backend.js';
import type { Stop } from '../run/interrupt.js';
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

/** How a step runs here: operation by operation where that is asked for, or nothing else is there. */
export function modeOf(backend: Backend, compiler: Config['train']['compiler'], eager: boolean): TrainerMode {
  if (backend.name !== 'tensorflow' || eager) return 'eager';
  if (compiler !== 'auto' || !('threads' in backend.fused)) return 'compiled';
  return backend.fused.products === 'openblas' ? 'fused-openblas' : 'fused';
}

/** As reports name a step: who multiplies in it, `gqa doctor` says. */
export const stepName = (mode: TrainerMode): Exclude<TrainerMode, 'fused-openblas'> =>
  mode === 'fused-openblas' ? 'fused' : mode;

/** Checks come first that need no computing, so that nothing is on disk yet when they fail. */
export async function prepare(config: Config, eager: boolean, stop: Stop): Promise<Prepared> {
  await stop.check();
  return prepared(
    config,
    eager,
    await stop.during(openDataset(config.data, takeLimited(config.data.limit, config.seed), config.data)),
    stop,
  );
}

/** The same for an evaluation of one split, which needs no other. */
export async function prepareSplit(
  config: Config,
  eager: boolean,
  split: WantedSplit,
  stop: Stop,
): Promise<Prepared<Evaluable>> {
  await stop.check();
  return prepared(
    config,
    eager,
    await stop.during(openSplit(config.data, split, takeLimited(config.data.limit, config.seed), config.data)),
    stop,
  );
}

async function prepared<Data extends Evaluable>(
  config: Config,
  eager: boolean,
  dataset: Data,
  stop: Stop,
): Promise<Prepared<Data>> {
  const notices = [...dataset.notices, ...requireUsable(dataset)];
  await stop.check();
  const backend = await startBackend(config.device, config.train.compiler);
  await stop.check();
  if (backend.notice !== null) say(backend.notice);
  say(`${dataset.name}: ${counted(dataset.classes.length, 'class')}, ${numbersOf(dataset)} in ${dataset.from}`);
  notices.forEach(say);
  if (config.data.cache !== null && splitsOf(dataset).every(({ source }) => source.kind === 'raw'))
    say(`data.cache has no effect: the images of ${dataset.name} are no image files, and need no decoding`);
  const mode = modeOf(backend, config.train.compiler, eager);
  requirePrecision(config.train.precision, mode);
  return { dataset, backend, mode, pipeline: openPipeline(config.data.workers, config.data) };
}

const CALLED: Record<SplitName, string> = { train: 'training', val: 'validation', test: 'test' };

/** `900 training, 100 validation and 200 test images` */
function numbersOf(dataset: Evaluable): string {
  const splits = splitsOf(dataset);
  const counts = splits.map(({ name, labels }, i) =>
    i === splits.length - 1 ? counted(labels.length, `${CALLED[name]} image`) : `${labels.length} ${CALLED[name]}`,
  );
  return counts.length === 1 ? counts.join() : `${counts.slice(0, -1).join(', ')} and ${counts.at(-1)}`;
}
