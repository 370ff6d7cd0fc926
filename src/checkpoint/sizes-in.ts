/** Where in a file the ViT lies, and the sizes that the forms of its tensors show. */
import { readBeside, TIMM_SIZES } from './beside.js';
import { extraOf, FAMILIES } from './extras.js';
import { readModelCard } from './model-file.js';
import { isAveraged, type Place, placesOf, withoutWrappers } from './names.js';
import { noVit, type Sizes } from './refusal.js';
import type { Safetensors } from './safetensors.js';
import { type Sorted, sortNames } from './sort-names.js';

/** @throws GqaError `usage` when there is no ViT in the file whose names are known */
export function placeIn(file: Safetensors): { place: Place; places: Place[] } {
  const places = placesOf([...file.tensors.keys()].map(withoutWrappers));
  const place = places.find(({ prefix }) => !isAveraged(`${prefix}x`)) ?? places[0];
  const family = [...file.tensors.keys()].map((name) => extraOf(FAMILIES, name)).find((what) => what !== null);
  if (place === undefined || (family !== undefined && !hasOneStem(place))) throw noVit(file, family ?? null);
  return { place, places };
}

/**
 * `layers.0.` of Swin has blocks with timm's names too, and CLIP's MLPs have Hugging Face's; neither has a ViT's patch
 * projection with them.
 */
const hasOneStem = ({ prefix, found }: Place): boolean =>
  !/\.\d+\.$/.test(prefix) && found.has('patch_embed.proj.weight');

/** What the tensors alone say of the sizes; what they do not say is taken to be as `shape` has it. */
export function sizesOf(ours: Sorted['ours'], shape: Sizes): Sizes {
  const shapeOf = (name: string): number[] | undefined => ours.get(name)?.entry.shape;
  const kernel = shapeOf('patch_embed.proj.weight') ?? [];
  const embedDim = kernel[0] ?? shapeOf('norm.weight')?.[0] ?? shape.embedDim;
  const patchSize = kernel.length === 4 ? (kernel[3] as number) : shape.patchSize;
  const blocks = [...ours.keys()].flatMap((name) => /^blocks\.(\d+)\./.exec(name)?.[1] ?? []).map(Number);
  const hidden = shapeOf('blocks.0.mlp.fc1.weight')?.[0];
  const positions = shapeOf('pos_embed') ?? [];
  const side = Math.sqrt((positions[1] ?? 0) - 1);
  const whole = positions.length === 3 && side >= 1 && Number.isInteger(side);
  const own = hidden === Math.round(embedDim * shape.mlpRatio) ? shape.mlpRatio : (hidden ?? 0) / embedDim;
  return {
    imageSize: whole ? side * patchSize : shape.imageSize,
    patchSize,
    embedDim,
    depth: blocks.length > 0 ? Math.max(...blocks) + 1 : shape.depth,
    mlpRatio: hidden === undefined ? shape.mlpRatio : own,
  };
}

/** A width alone says little: a model of another depth is not timm's, and may have any number of heads. */
const headsOfTimm = ({ embedDim, depth }: Sizes): number | null =>
  Object.values(TIMM_SIZES).find((size) => size.embedDim === embedDim && size.depth === depth)?.heads ?? null;

/** Where no tensor shows a size: timm's ViT-S/16 at 224 pixels. A file that needs them is refused when it is read. */
const ASSUMED: Sizes = { imageSize: 224, patchSize: 16, embedDim: 384, depth: 12, mlpRatio: 4 };

/**
 * The sizes of a checkpoint, for a config that leaves them out. `heads` is what its card or the config.json beside it
 * says, else what timm's ViTs of that width and depth have; null: nothing says it.
 * @throws GqaError `usage` when the file holds no ViT whose names are known
 */
export function sizesIn(file: Safetensors): Sizes & { heads: number | null } {
  const card = readModelCard(file);
  if (card !== null) {
    const { imageSize, patchSize, embedDim, depth, heads, mlpRatio } = card.model;
    return { imageSize, patchSize, embedDim, depth, heads, mlpRatio };
  }
  const { place, places } = placeIn(file);
  const sizes = sizesOf(sortNames(file, place, places, new Set()).ours, ASSUMED);
  const { beside } = readBeside(file.path, sizes.embedDim);
  return {
    ...sizes,
    heads: beside?.heads ?? headsOfTimm(sizes),
  };
}
