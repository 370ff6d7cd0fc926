/**
 * `gqa convert`: an MHA checkpoint to the config's variant, as a file; nothing is trained, and images are read only
 * where grouping or merge look at what the model makes of them.
 */
import fs from 'node:fs';
import { writeModel } from '../checkpoint/model-file.js';
import { resolvePreprocessing } from '../checkpoint/preprocessing.js';
import { requireEffect } from '../config/idle.js';
import { preprocessingOf } from '../config/preprocessing.js';
import type { Config } from '../config/schema.js';
import type { Gather, LayerRecord } from '../convert/checkpoint.js';
import type { Pipeline } from '../data/pipeline/pipeline.js';
import { GqaError } from '../errors.js';
import { checkFile, writeFileAtomic } from '../files/atomic.js';
import { figureInWords, kvHeadsOf, sharingInWords, sharingRecord } from '../model/grouping.js';
import { variantOf } from '../model/variants.js';
import { layerRecords } from '../run/conversion.js';
import type { Stop } from '../run/interrupt.js';
import { progress } from '../run/progress.js';
import { type Column, formatTable, percent } from '../run/table.js';
import { buildModel } from '../train/model.js';
import { splitParts } from '../train/parts.js';
import { gatherOn } from '../train/ready.js';
import { prepare } from './data-and-backend.js';
import { say, warningLine } from './say.js';
import { readConfigAndWeights, weightsFile } from './weights.js';

/** @param options.out must not exist. @param options.report also the error of each layer */
export async function convert(
  options: { checkpoint: string; config: string; set: string[]; out: string; report: boolean; json: boolean },
  stop: Stop,
): Promise<void> {
  const checkpoint = await weightsFile(options.checkpoint, stop);
  const read = await readConfigAndWeights(options.config, options.set, stop, checkpoint);
  [...read.notices, ...requireEffect(options.config, [read], 'convert')].forEach(say);
  if (fs.existsSync(options.out))
    throw new GqaError('usage', `${options.out} exists already`, { hint: 'Remove it, or give another --out.' });
  checkFile(options.out);
  const { config, notices, warnings: doubts } = resolvePreprocessing(read.config, checkpoint);
  const { variant } = config.model;
  const { gather, close } = gatherWhenAsked(config, stop);
  try {
    const built = await buildModel(checkpoint, config, null, gather, options.report);
    const { shape, values } = built.model;
    const warnings = [...built.warnings, ...doubts];
    const found = [...built.notices.slice(1), ...notices]; // the first counts tensors
    const classes = built.classes;
    const steps = built.card?.steps ?? 0;
    const images = preprocessingOf(config.data);
    const valuesOf = (name: string): Float32Array => values[name] as Float32Array;
    writeFileAtomic(options.out, (write) =>
      writeModel(write, valuesOf, { variant, model: shape, classes, state: null, steps, warnings, images }),
    );
    found.forEach(say);
    if (shape.numClasses === 0) say('no head that can be taken over: the file has none either, and training draws one');
    if (variantOf(variant).allocate)
      say(`${variant}: the file holds no allocation; until train or eval calibrates it, the even split counts`);
    const report = {
      out: options.out,
      variant,
      from_kv_heads: built.fromKvHeads,
      ...sharingRecord(shape),
      classes: shape.numClasses,
      notices: found,
      warnings,
      ...(options.report ? { layers: layerRecords(built.layers ?? []) } : {}),
    };
    const from = figureInWords(built.fromKvHeads ?? 0).replace(/ KV heads?/, '');
    process.stdout.write(
      options.json
        ? `${JSON.stringify(report)}\n`
        : [
            `${options.out}: ${variant}, ${from} → ${sharingInWords(shape)}\n`,
            options.report && built.layers !== null ? reportTable(built.layers) : '',
            ...warnings.map((line) => `${warningLine(line)}\n`),
          ].join(''),
    );
  } finally {
    await close();
  }
}

/** Data and backend are opened when something of the conversion first asks for them. */
function gatherWhenAsked(config: Config, stop: Stop): { gather: Gather; close(): Promise<void> } {
  let opened: Promise<{ gather: Gather; pipeline: Pipeline }> | null = null;
  const open = async () => {
    const { dataset, mode, pipeline } = await prepare(config, false, stop);
    const { train } = splitParts(config, dataset);
    return { pipeline, gather: gatherOn(config, pipeline, train, mode, { progress, stop }) };
  };
  const asked = (): Promise<{ gather: Gather; pipeline: Pipeline }> => {
    opened ??= open();
    return opened;
  };
  return {
    gather: {
      statistics: async (...of) => (await asked()).gather.statistics(...of),
      outputs: async (...of) => (await asked()).gather.outputs(...of),
      distances: async (...of) => (await asked()).gather.distances(...of),
    },
    close: async () => {
      const found = await opened?.catch(() => null);
      await found?.pipeline.close();
    },
  };
}

/** A row for each layer: what its conversion costs. */
function reportTable(layers: readonly LayerRecord[]): string {
  const right = (title: string): Column => ({ title, align: 'right' });
  const columns = [
    right('layer'),
    right('KV heads'),
    right('error of logits'),
    right('error of outputs'),
    right('refit'),
  ];
  return `${formatTable(
    columns,
    layers.map(({ groups, error, refit }, i) => [
      String(i),
      groups.keys === groups.values
        ? String(kvHeadsOf(groups.keys))
        : `${kvHeadsOf(groups.keys)}, ${kvHeadsOf(groups.values)}`,
      percent(error?.keys),
      percent(error?.values),
      refit === null ? '–' : `${percent(refit.before)} → ${percent(refit.after)}`,
    ]),
    Number.POSITIVE_INFINITY,
  )}\nErrors are squares in parts of the MHA layer’s own, by calibration images where the merge looks at them, else by weights.\n`;
}
