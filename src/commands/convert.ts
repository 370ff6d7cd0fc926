/** `gqa convert`: an MHA checkpoint to the config's variant, as a file; nothing is trained and no image is read. */

import fs from 'node:fs';
import { writeModel } from '../checkpoint/model-file.js';
import { resolvePreprocessing } from '../checkpoint/preprocessing.js';
import { requireEffect } from '../config/idle.js';
import { readConfig } from '../config/load.js';
import { preprocessingOf } from '../config/preprocessing.js';
import { convertCheckpoint } from '../convert/checkpoint.js';
import { GqaError } from '../errors.js';
import { checkFile, writeFileAtomic } from '../files/atomic.js';
import { kvHeadsFigure, kvHeadsInWords } from '../model/grouping.js';
import { variantOf } from '../model/variants.js';
import { shapeOf } from '../train/model.js';
import { say, warningLine } from './say.js';

/** @param options.out must not exist */
export async function convert(options: {
  checkpoint: string;
  config: string;
  set: string[];
  out: string;
  json: boolean;
}): Promise<void> {
  const read = readConfig(options.config, options.set);
  [...read.notices, ...requireEffect(options.config, [read], 'convert')].forEach(say);
  if (fs.existsSync(options.out))
    throw new GqaError('usage', `${options.out} exists already`, { hint: 'Remove it, or give another --out.' });
  checkFile(options.out);
  const { config, notices, warnings: doubts } = resolvePreprocessing(read.config, options.checkpoint);
  const { variant } = config.model;
  const wanted = { ...shapeOf(config.model, 0), numClasses: null };
  const converted = convertCheckpoint(options.checkpoint, wanted, config.seed);
  const { values, shape, classes, fromKvHeads, card } = converted;
  const valuesOf = (name: string): Float32Array => values[name] as Float32Array;
  const warnings = [...converted.warnings, ...doubts];
  const found = [...converted.notices, ...notices];
  const steps = card?.steps ?? 0;
  const images = preprocessingOf(config.data);
  writeFileAtomic(options.out, (write) =>
    writeModel(write, valuesOf, { variant, model: shape, classes, state: null, steps, warnings, images }),
  );
  found.forEach(say);
  if (shape.numClasses === 0) say('no head that can be taken over: the file has none either, and training draws one');
  if (variantOf(variant).allocate)
    say(
      `${variant}: no image was read, so the file holds no allocation; until train or eval calibrates it, the even split counts`,
    );
  const report = {
    out: options.out,
    variant,
    from_kv_heads: fromKvHeads,
    kv_heads: kvHeadsFigure(shape.grouping),
    classes: shape.numClasses,
    notices: found,
    warnings,
  };
  process.stdout.write(
    options.json
      ? `${JSON.stringify(report)}\n`
      : `${options.out}: ${variant}, ${fromKvHeads} → ${kvHeadsInWords(shape.grouping)}\n${warnings.map((line) => `${warningLine(line)}\n`).join('')}`,
  );
}
