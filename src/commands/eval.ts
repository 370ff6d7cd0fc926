/** `gqa eval`: measures a run's best checkpoint, or any checkpoint under a config (converted first where need be). */
import path from 'node:path';
import { readModelCard } from '../checkpoint/model-file.js';
import { openCheckpoint } from '../checkpoint/open.js';
import { resolvePreprocessing } from '../checkpoint/preprocessing.js';
import { encodeSafetensors } from '../checkpoint/write-safetensors.js';
import { requireEffect } from '../config/idle.js';
import { deviceOverride } from '../config/overrides.js';
import { counted } from '../counted.js';
import type { Evaluable } from '../data/dataset.js';
import { GqaError, withAfterthought } from '../errors.js';
import { checkFile, writeFileAtomic } from '../files/atomic.js';
import { command } from '../invocation.js';
import { sharingRecord } from '../model/grouping.js';
import { checkEvaluation, writeEvaluation } from '../run/evaluation.js';
import type { Stop } from '../run/interrupt.js';
import { confusionCsv, confusionOf, gatherPredictions, predictionsCsv } from '../run/predictions.js';
import { progress } from '../run/progress.js';
import { percent } from '../run/table.js';
import { type BuiltModel, buildModel, forEvaluation } from '../train/model.js';
import { evaluatedPart, namesOf } from '../train/parts.js';
import { evaluateWithProgress, gatherOn, readyTrainer } from '../train/ready.js';
import { changesInData } from './changes.js';
import { prepareSplit, stepName } from './data-and-backend.js';
import { sayFlawed } from './flawed-images.js';
import { requirePaths } from './require-paths.js';
import { say, sayNext, warn, warningLine } from './say.js';
import { modelIn } from './source.js';
import { foundSource, readConfigAndWeights } from './weights.js';

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
  /** Where to write what was predicted for every image, as CSV. */
  predictions?: string;
  device?: string;
  /** Operation by operation instead of compiled. */
  eager: boolean;
}

/**
 * Prints the metrics (with `json` as one document), then writes: a run keeps them in `eval/<split>/metrics.json`.
 * @throws GqaError `io` before anything is computed when a file cannot be written, or after the metrics were printed
 *   when that shows only then
 */
export async function evaluate(options: EvalOptions, stop: Stop): Promise<void> {
  const source = await foundSource(options);
  checkPlaces(options);
  const read = await readConfigAndWeights(
    source.config,
    [...options.set, ...deviceOverride(options.device)],
    stop,
    source.checkpoint,
  );
  [...read.notices, ...requireEffect(source.config, [read], 'eval')].forEach(say);
  await requirePaths(
    source.config,
    read,
    ['data.root'],
    options.checkpoint === undefined ? {} : { '--checkpoint': source.checkpoint },
  );
  const { config, notices, warnings: doubts } = resolvePreprocessing(read.config, source.checkpoint);
  const wantedSplit = {
    split: options.split,
    classes: readModelCard(openCheckpoint(source.checkpoint))?.classes ?? null,
  };
  const { dataset, backend, mode, pipeline } = await prepareSplit(config, options.eager, wantedSplit, stop);
  try {
    const { part, train } = evaluatedPart(config, dataset, options.split);
    const gather = gatherOn(config, pipeline, train, mode, { progress, stop });
    const built = await buildModel(source.checkpoint, config, dataset.classes, gather);
    const { shape, variant } = built.model;
    requireItsHead(source.checkpoint, built, dataset);
    [...built.notices, ...notices].forEach(say);
    const warnings = [...built.warnings, ...doubts, ...changesInData(source.config, dataset)];
    warnings.forEach(warn);
    const kept = options.logits === undefined ? null : keptLogits(part.indices.length, dataset.classes.length);
    const predictions = gatherPredictions(dataset.classes.length);
    const trainer = await readyTrainer(config, forEvaluation(built), pipeline, train, part, mode, { progress, stop });
    const metrics = await evaluateWithProgress(
      config,
      trainer,
      dataset.classes.length,
      pipeline,
      part,
      options.split,
      { progress, stop },
      (logits, labels) => {
        kept?.add(logits, labels);
        predictions.add(logits, labels);
      },
    );
    trainer.dispose();
    sayFlawed(pipeline, null);
    const report = {
      ...metrics,
      skipped: pipeline.skipped.length,
      damaged: pipeline.damaged.length,
      split: options.split,
      overrides: options.set,
      variant: variant,
      ...sharingRecord(shape),
      checkpoint: source.checkpoint,
      device: `${backend.name} ${backend.device} ${stepName(mode)}`,
      warnings,
    };
    process.stdout.write(
      options.json
        ? `${JSON.stringify(report)}\n`
        : `${options.split}: top-1 ${percent(metrics.top1)}, top-5 ${percent(metrics.top5)}, loss ${metrics.loss.toFixed(4)}, ${counted(metrics.images, 'image')}\n${warnings.map((line) => `${warningLine(line)}\n`).join('')}`,
    );
    const confusion = confusionCsv(confusionOf(predictions.all, dataset.classes.length), dataset.classes);
    if (options.run !== undefined) writeEvaluation(options.run, options.split, report, { 'confusion.csv': confusion });
    if (options.logits !== undefined && kept !== null) writeFileAtomic(options.logits, kept.file());
    if (options.predictions !== undefined)
      writeFileAtomic(options.predictions, predictionsCsv(predictions.all, dataset.classes, namesOf(part, pipeline)));
    if (!options.json && options.run !== undefined) sayNext(`predict ${options.run} PICTURE…`);
  } finally {
    await pipeline.close();
  }
}

function checkPlaces({ run, split, logits, predictions }: EvalOptions): void {
  if (logits !== undefined) checkFile(logits);
  if (predictions !== undefined) checkFile(predictions);
  if (run === undefined) return;
  try {
    checkEvaluation(run, split);
  } catch (error) {
    throw withAfterthought(
      error,
      `To measure it without keeping the figures: ${command(`eval --checkpoint ${modelIn(run, 'best')} --config ${path.join(run, 'config.yaml')}`)}`,
    );
  }
}

/** Logits and labels of so many images at most, in order, and their file. */
function keptLogits(
  most: number,
  classes: number,
): { add(logits: Float32Array, labels: Int32Array): void; file(): Uint8Array } {
  const logits = new Float32Array(most * classes);
  const labels = new Int32Array(most);
  let images = 0;
  return {
    add(batchLogits, batchLabels) {
      logits.set(batchLogits, images * classes);
      labels.set(batchLabels, images);
      images += batchLabels.length;
    },
    file: () =>
      encodeSafetensors({
        logits: { shape: [images, classes], data: logits.subarray(0, images * classes) },
        labels: { shape: [images], data: labels.subarray(0, images) },
      }),
  };
}

/** A head that was drawn afresh measures nothing. */
function requireItsHead(checkpoint: string, { freshHead }: BuiltModel, { name, classes }: Evaluable): void {
  if (freshHead === null) return;
  throw new GqaError(
    'usage',
    `${checkpoint} has no head for the ${counted(classes.length, 'class')} of ${name}: ${freshHead}`,
    {
      hint: `Evaluate on the data set that it was trained on, or train it on this one first: see ${command('train --help')}`,
    },
  );
}
