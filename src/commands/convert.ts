/** `gqa convert`: an MHA checkpoint to the config's variant, as a file; nothing is trained and no picture is read. */
import fs from 'node:fs';
import { convertCheckpoint } from '../checkpoint/convert.js';
import { encodeModel } from '../checkpoint/model-file.js';
import { settlePreprocessing } from '../checkpoint/preprocessing.js';
import { openSafetensors } from '../checkpoint/safetensors.js';
import { readConfig } from '../config/load.js';
import { preprocessingOf } from '../config/preprocessing.js';
import { GqaError } from '../errors.js';
import { variantOf } from '../model/variants.js';
import { writeFileAtomic } from '../run/atomic.js';
import { shapeOf } from '../train/model.js';
import { say } from './say.js';

/** @param options.out must not exist */
export async function convert(options: { checkpoint: string; config: string; set: string[]; out: string; json: boolean }): Promise<void> {
  const read = readConfig(options.config, options.set);
  read.notices.forEach(say);
  if (fs.existsSync(options.out))
    throw new GqaError('usage', `${options.out} exists already`, { hint: 'Remove it, or give another --out.' });
  const { config, notices, warnings } = settlePreprocessing(read.config, options.checkpoint);
  for (const line of [...notices, ...warnings]) say(line);
  const head = openSafetensors(options.checkpoint).tensors.get('head.weight');
  if (head === undefined) throw new GqaError('usage', `${options.checkpoint} has no head.weight, so the number of classes is unknown`);
  const shape = shapeOf(config.model, head.shape[0] as number);
  const { values, fromKvHeads, unused, card } = convertCheckpoint(options.checkpoint, shape, config.seed);
  const { variant } = config.model;
  const valuesOf = (name: string): Float32Array => values[name] as Float32Array;
  writeFileAtomic(
    options.out,
    encodeModel(valuesOf, {
      variant,
      model: shape,
      classes: card?.classes ?? [],
      state: null,
      steps: card?.steps ?? 0,
      pictures: preprocessingOf(config.data),
    }),
  );
  if (unused.length > 0) say(`unused tensors of the checkpoint: ${unused.join(', ')}`);
  if (variantOf(variant).allocation)
    say(`${variant}: no picture was read, so the file holds no allocation; until train or eval calibrates it, the even split counts`);
  const report = { out: options.out, variant, fromKvHeads, kvHeads: shape.kvHeads, unused };
  process.stdout.write(
    options.json ? `${JSON.stringify(report)}\n` : `${options.out}: ${variant}, ${fromKvHeads} → ${shape.kvHeads} KV heads\n`,
  );
}
