/**
 * The weights that a config or a flag names, found before the config is read: a file, a folder, or a model of the hub,
 * which is fetched; and the sizes of the model, where the config leaves them to the checkpoint.
 */
import fs from 'node:fs';
import path from 'node:path';
import { checkpointFile, openCheckpoint } from '../checkpoint/open.js';
import { sizesIn } from '../checkpoint/sizes-in.js';
import { type FoundWeights, namedIn, type ReadConfig, readConfig } from '../config/load.js';
import { fetchModel } from '../download/hub.js';
import { hubModel, inWords } from '../download/hub-cache.js';
import { GqaError } from '../errors.js';
import type { Stop } from '../run/interrupt.js';
import { progress } from '../run/progress.js';
import { say } from './say.js';
import { sourceOf } from './source.js';

/**
 * The file that stands for weights: itself, the one in a folder, or that of a model of the hub, fetched where it is not
 * in the cache. What is neither there nor a hub's id comes back as it is, and is reported by whoever reads it.
 * @throws GqaError as `checkpointFile` and `fetchModel`
 */
export async function weightsFile(named: string, stop?: Pick<Stop, 'signal'>): Promise<string> {
  if (fs.existsSync(named)) return checkpointFile(named);
  const model = hubModel(named);
  if (model === null || fs.existsSync(path.dirname(named))) return named;
  const { folder, commit } = await fetchModel(model, {
    progress: (label, bytes, from) => progress(label, bytes, { unit: 'bytes', from }),
    notice: say,
    signal: stop?.signal,
  });
  say(`${inWords(model)}: commit ${commit}, in ${folder}`);
  return checkpointFile(folder);
}

/** `sourceOf`, with the checkpoint found. */
export async function foundSource(...asked: Parameters<typeof sourceOf>): Promise<ReturnType<typeof sourceOf>> {
  const { config, checkpoint } = sourceOf(...asked);
  return { config, checkpoint: await weightsFile(checkpoint) };
}

/**
 * For a command that reads no weights: only where `model.size` is left out are they looked for, and a model of the hub
 * fetched.
 */
export async function sizesWhereLeftOut(
  file: string,
  sets: readonly string[],
  stop?: Pick<Stop, 'signal'>,
): Promise<FoundWeights> {
  const { model } = namedIn(file, sets);
  const needed = model !== null && model.size === undefined;
  return needed ? weightsFor(file, sets, stop) : { pretrained: null, sizes: null };
}

/** What of the config depends on the weights, for `readConfig`. @param checkpoint what a flag names instead */
export async function weightsFor(
  file: string,
  sets: readonly string[],
  stop: Pick<Stop, 'signal'> | undefined,
  checkpoint?: string,
): Promise<FoundWeights> {
  const { pretrained, model } = namedIn(file, sets);
  const named = checkpoint ?? pretrained;
  if (named === null) return { pretrained: null, sizes: null };
  const at = await weightsFile(named, stop);
  const found: FoundWeights = { pretrained: checkpoint === undefined ? at : null, sizes: null };
  if (model === null || model.size !== undefined || !fs.existsSync(at)) return found;
  return { ...found, sizes: sizesFor(at, model) };
}

/** `readConfig` with the weights that it names found, and its sizes from them where `model.size` is left out. */
export const readConfigAndWeights = async (
  file: string,
  sets: readonly string[],
  stop?: Pick<Stop, 'signal'>,
  checkpoint?: string,
): Promise<ReadConfig> => readConfig(file, sets, await weightsFor(file, sets, stop, checkpoint));

/** In the config's names; those that the config gives itself are not asked for. */
function sizesFor(at: string, given: Record<string, unknown>): FoundWeights['sizes'] {
  const { imageSize, patchSize, embedDim, depth, heads, mlpRatio } = sizesIn(openCheckpoint(at));
  if (heads === null && given.heads === undefined)
    throw new GqaError(
      'usage',
      `${at} does not show its number of heads: no config.json beside it says it, and timm has no ViT of embed_dim ${embedDim} and depth ${depth}`,
      { hint: 'Set model.heads to the number that it was trained with.' },
    );
  if (given.heads === undefined) say(`heads: ${heads}, and the other sizes: as ${at} has them`);
  const all = { image_size: imageSize, patch_size: patchSize, embed_dim: embedDim, depth, heads, mlp_ratio: mlpRatio };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null));
}
