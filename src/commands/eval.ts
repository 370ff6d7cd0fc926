/** `gqa eval`: measures a run's best checkpoint, or any checkpoint under a config (converted first where need be). */
import fs from 'node:fs';
import path from 'node:path';
import { settlePreprocessing } from '../checkpoint/preprocessing.js';
import { encodeSafetensors } from '../checkpoint/safetensors.js';
import { readConfig } from '../config/load.js';
import { deviceOverride } from '../config/overrides.js';
import type { Config } from '../config/schema.js';
import type { Dataset } from '../data/dataset.js';
import { GqaError } from '../errors.js';
import { writeFileAtomic } from '../run/atomic.js';
import { progress } from '../run/progress.js';
import { percent } from '../run/table.js';
import { evaluateWithProgress, type Part, type Parts, readyTrainer, splitParts } from '../train/loop.js';
import { type BuiltModel, buildModel, shapeOf } from '../train/model.js';
import { prepare } from './prepare.js';
import { say } from './say.js';

export interface EvalOptions {
  /** A run folder; or `checkpoint` and `config`. */
  run?: string;
  checkpoint?: string;
  config?: string;
  set: string[];
  split: 'train' | 'val' | 'test';
  json: boolean;
  /** Where to write the logits, as safetensors. */
  logits?: string;
  device?: string;
  /** Operation by operation instead of compiled. */
  eager: boolean;
}

/** Prints the metrics (with `json` as one document). A run keeps them in `eval/<split>/metrics.json`. */
export async function evaluate(options: EvalOptions): Promise<void> {
  const source = sourceOf(options);
  const read = readConfig(source.config, [...options.set, ...deviceOverride(options.device)]);
  read.notices.forEach(say);
  const { config, notices, warnings } = settlePreprocessing(read.config, source.checkpoint);
  const { dataset, backend, mode, pipeline } = await prepare(config, options.eager);
  try {
    const { model: settings } = config;
    const built = buildModel(source.checkpoint, shapeOf(settings, dataset.classes.length), settings.variant, config.seed);
    requireSameClasses(source.checkpoint, built, dataset);
    for (const notice of [...built.notices, ...notices, ...warnings]) say(notice);
    const parts = splitParts(config, dataset);
    const part = partOf(options.split, parts, config);
    const logits: number[] = [];
    const labels: number[] = [];
    const keep = (batchLogits: Float32Array, batchLabels: Int32Array): void => {
      logits.push(...batchLogits);
      labels.push(...batchLabels);
    };
    const trainer = await readyTrainer(config, built, pipeline, parts, part, mode);
    const wanted = options.logits === undefined ? null : keep;
    const metrics = await evaluateWithProgress(
      config,
      trainer,
      dataset.classes.length,
      pipeline,
      part,
      options.split,
      { progress },
      wanted,
    );
    trainer.dispose();
    const skipped = pipeline.skipped.length;
    if (skipped > 0) say(`${skipped} pictures could not be read and were left out (data.on_bad_image: skip)`);
    const report = {
      ...metrics,
      skipped,
      split: options.split,
      overrides: options.set,
      variant: settings.variant,
      kvHeads: settings.kvHeads,
      checkpoint: source.checkpoint,
      device: `${backend.name} ${backend.device} ${mode}`,
    };
    if (options.logits !== undefined) {
      const shape = [metrics.images, dataset.classes.length];
      writeFileAtomic(
        options.logits,
        encodeSafetensors({
          logits: { shape, data: Float32Array.from(logits) },
          labels: { shape: [metrics.images], data: Int32Array.from(labels) },
        }),
      );
    }
    if (options.run !== undefined) {
      const folder = path.join(options.run, 'eval', options.split);
      fs.mkdirSync(folder, { recursive: true });
      writeFileAtomic(path.join(folder, 'metrics.json'), `${JSON.stringify(report, null, 2)}\n`);
    }
    process.stdout.write(
      options.json
        ? `${JSON.stringify(report)}\n`
        : `${options.split}: top-1 ${percent(metrics.top1)}, top-5 ${percent(metrics.top5)}, loss ${metrics.loss.toFixed(4)}, ${metrics.images} images\n`,
    );
  } finally {
    await pipeline.close();
  }
}

function sourceOf({ run, checkpoint, config }: EvalOptions): { config: string; checkpoint: string } {
  if (run !== undefined && checkpoint === undefined && config === undefined) {
    const best = path.join(run, 'checkpoints', 'best', 'model.safetensors');
    if (!fs.existsSync(path.join(run, 'config.yaml'))) {
      throw new GqaError('usage', `${run}: not a run folder: it holds no config.yaml`, {
        hint: 'Give runs/<name>/<run>, or --checkpoint FILE --config FILE.',
      });
    }
    if (!fs.existsSync(best))
      throw new GqaError('io', `${best}: there is no such checkpoint`, { hint: 'The run ended before its first epoch did.' });
    return { config: path.join(run, 'config.yaml'), checkpoint: best };
  }
  if (run === undefined && checkpoint !== undefined && config !== undefined) return { config, checkpoint };
  throw new GqaError('usage', 'eval takes either a run folder, or --checkpoint FILE and --config FILE', {
    hint: 'gqa eval --help shows both.',
  });
}

function partOf(split: EvalOptions['split'], parts: Parts, config: Config): Part {
  if (split === 'val' && config.train.protocol === 'paper') {
    throw new GqaError('usage', 'there is no validation part under train.protocol: paper', {
      hint: 'Use --split test, or --set train.protocol=validation.',
    });
  }
  return { train: parts.train, val: parts.selection, test: parts.test }[split];
}

/** A head that was drawn afresh or whose outputs mean other classes measures nothing. */
function requireSameClasses(checkpoint: string, { fresh, card }: BuiltModel, { name, classes }: Dataset): void {
  if (fresh.length > 0) {
    throw new GqaError('usage', `${checkpoint} has no head for the ${classes.length} classes of ${name}`, {
      hint: 'Train it on this data set first: gqa train.',
    });
  }
  const differing = card?.classes.findIndex((of, i) => of !== classes[i]) ?? -1;
  if (differing >= 0) {
    throw new GqaError(
      'usage',
      `${checkpoint} and ${name} do not agree on the classes: class ${differing} is “${card?.classes[differing]}” in the checkpoint, “${classes[differing]}” in the data`,
      {
        hint: 'Evaluate on the data set that the checkpoint was trained on.',
      },
    );
  }
}
