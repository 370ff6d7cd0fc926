/** `gqa predict`: what a run's best model sees in pictures of the user's own. */
import path from 'node:path';
import { readModelCard } from '../checkpoint/model-file.js';
import { openCheckpoint } from '../checkpoint/open.js';
import { readConfig } from '../config/load.js';
import { deviceOverride } from '../config/overrides.js';
import { filesSplit } from '../data/dataset.js';
import { openPipeline } from '../data/pipeline/pipeline.js';
import { GqaError } from '../errors.js';
import { startBackend } from '../native/backend.js';
import type { Stop } from '../run/interrupt.js';
import { progress } from '../run/progress.js';
import { type Column, formatTable, percent } from '../run/table.js';
import { buildModel, forEvaluation } from '../train/model.js';
import { evaluateWithProgress, gatherOn, readyTrainer } from '../train/ready.js';
import { modeOf } from './data-and-backend.js';
import { say, sayNext } from './say.js';
import { foundSource } from './weights.js';

export interface PredictOptions {
  run: string;
  pictures: string[];
  device?: string;
  json: boolean;
}

interface Prediction {
  picture: string;
  /** The likeliest first, five at most. */
  classes: { class: string; probability: number }[];
}

const SHOWN = 5;

/** @throws GqaError `usage` without pictures; `data` naming a picture that cannot be read */
export async function predict({ run, pictures, device, json }: PredictOptions, stop: Stop): Promise<void> {
  if (pictures.length === 0) throw new GqaError('usage', 'predict needs pictures: gqa predict RUN PICTURE…');
  const source = await foundSource({ run }, 'predict');
  const { config } = readConfig(source.config, deviceOverride(device));
  const classes = readModelCard(openCheckpoint(source.checkpoint))?.classes ?? [];
  const backend = await startBackend(config.device, config.train.compiler);
  if (backend.notice !== null) say(backend.notice);
  const mode = modeOf(backend, config.train.compiler, false);
  const pipeline = openPipeline(config.data.workers, { ...config.data, onBadImage: 'error', cache: null });
  try {
    const split = filesSplit(
      'test',
      pictures.map((picture) => ({ path: path.resolve(picture), label: 0 })),
    );
    const part = { split, indices: Int32Array.from(pictures, (_, i) => i) };
    const watch = { progress, stop };
    const built = await buildModel(source.checkpoint, config, classes, gatherOn(config, pipeline, null, mode, watch));
    const trainer = await readyTrainer(config, forEvaluation(built), pipeline, null, part, mode, watch);
    const found: Prediction[] = [];
    const keep = (logits: Float32Array): void => {
      for (let at = 0; at < logits.length; at += classes.length)
        found.push({
          picture: pictures[found.length] as string,
          classes: likeliest(logits.subarray(at, at + classes.length), classes),
        });
    };
    await evaluateWithProgress(config, trainer, classes.length, pipeline, part, 'predicting', watch, keep);
    trainer.dispose();
    process.stdout.write(json ? `${JSON.stringify(found)}\n` : tableOf(found));
    if (!json) sayNext(`export ${run} --format timm --expand --out exported`);
  } finally {
    await pipeline.close();
  }
}

/** Softmax in float64, the likeliest classes first; of equal ones the first. */
export function likeliest(logits: Float32Array, classes: readonly string[]): Prediction['classes'] {
  const most = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const shares = Array.from(logits, (logit) => Math.exp(logit - most));
  const sum = shares.reduce((a, b) => a + b, 0);
  return shares
    .map((share, i) => ({ class: classes[i] ?? String(i), probability: share / sum }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, SHOWN);
}

function tableOf(found: readonly Prediction[]): string {
  const columns: Column[] = [
    { title: 'picture' },
    ...Array.from(
      { length: Math.max(...found.map(({ classes }) => classes.length)) },
      (_, i): Column => ({
        title: i === 0 ? 'likeliest' : `${i + 1}.`,
      }),
    ),
  ];
  return formatTable(
    columns,
    found.map(({ picture, classes }) => [
      picture,
      ...classes.map(({ class: name, probability }) => `${name} ${percent(probability)}`),
    ]),
  );
}
