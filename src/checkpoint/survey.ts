import { counted } from '../counted.js';
import { GqaError } from '../errors.js';
import type { Grouping, Groups } from '../model/grouping.js';
import { parameterSpecs } from '../model/params.js';
import { LAYER_NORM_EPS, type ModelShape } from '../model/sizes.js';
import type { VariantName } from '../model/variants.js';
import { foreignLayers } from './foreign-layers.js';
import type { Place } from './names.js';
import { describe, differences, doesNotFit, type Reason, refuse } from './refusal.js';
import { type Safetensors, shown } from './safetensors.js';
import { placeIn, sizesOf } from './sizes-in.js';
import { type Sorted, sortNames } from './sort-names.js';

/** Where a parameter's values stand: a tensor of the file, or a third of it (timm's fused `attn.qkv`, query first). */
export interface Source {
  tensor: string;
  /** Of the whole tensor, or of the third. */
  shape: number[];
  third: 0 | 1 | 2 | null;
}

export interface Survey {
  /**
   * By our names; the head's only where it can be taken over. A bias of q, k and v that is missing here is 0, and so is
   * that of a head.
   */
  sources: Map<string, Source>;
  /**
   * LayerScale's factors by the name of the layer whose outputs they multiply (`blocks.0.attn.proj`): tensors of the
   * file.
   */
  gammas: Map<string, string>;
  /** Outputs of the head; null: there is none that can be taken over. */
  headClasses: number | null;
  /** Why there is none, for a message. */
  headless: string | null;
  /** As in `ModelShape`. */
  globalPool: 'avg' | undefined;
  /** Patches in a row, of which there are position embeddings. */
  grid: number;
  /** Layer norm's eps, as models with these names have it unless something says otherwise. */
  layerNormEps: number;
  notices: string[];
  warnings: string[];
}

/** Formats of the metadata whose layouts are torch's; a file without is taken to be torch's. */
const TORCH_FORMATS: readonly (string | undefined)[] = [undefined, 'pt', 'pytorch', 'torch', 'np'];

/**
 * @param variant whose own parameters the file may hold: of a checkpoint of ours
 * @throws GqaError `usage` when the file is no plain ViT of the config's sizes
 */
export function survey(file: Safetensors, shape: ModelShape, variant?: VariantName): Survey {
  const format = file.metadata.format;
  if (!TORCH_FORMATS.includes(format))
    throw new GqaError(
      'usage',
      `${file.path} was written for ${format} (metadata “format”), whose layouts differ from torch’s`,
      {
        hint: 'Load it into timm’s or Hugging Face’s torch model, and save its state_dict as safetensors.',
      },
    );
  const { place, places } = placeIn(file);
  const sorted = sortNames(file, place, places, new Set(Object.keys(parameterSpecs(shape, variant))));
  const is = sizesOf(sorted.ours, shape);
  const reasons = [...refusals(sorted), ...foreignLayers(sorted.ours, is)];
  const head = headOf(sorted, is.embedDim);
  for (const name of ['head.weight', 'head.bias']) if (head.headless !== null) sorted.ours.delete(name);
  const sources = sourcesOf(sorted.ours);
  const globalPool: Survey['globalPool'] =
    sorted.ours.has('fc_norm.weight') && !sorted.ours.has('norm.weight') ? 'avg' : undefined;
  const own = { ...shape, ...is, globalPool, numClasses: head.headClasses ?? 0 };
  reasons.push(...(reasons.length > 0 ? [] : holes(sources, sorted.ours, own, variant)));
  if (reasons.length > 0) throw refuse(file, describe(place, is), 'gqa cannot compute it exactly', reasons);
  const differing = differences(is, shape);
  // patches of the same size in another number: positions are resized
  if (differing.some((key) => key !== 'imageSize')) throw doesNotFit(file, place, is, shape, differing);
  return {
    sources,
    gammas: gammasOf(sorted.ours),
    ...head,
    globalPool,
    grid: is.imageSize / is.patchSize,
    layerNormEps: usualEps(place, sorted.ours),
    notices: noticesOf(place, sorted, sources, head.headless),
    warnings: sorted.outsideHead
      ? [
          `${file.path}: its head lies outside the model (${sorted.outsideHead}): it is taken to read the class token after the last norm`,
        ]
      : [],
  };
}

/**
 * Hugging Face's ViT has 1e-12 where its config says nothing; its DINOv2 (blocks with `norm1`), timm and torchvision
 * have 1e-6.
 */
const usualEps = ({ scheme }: Place, ours: Sorted['ours']): number =>
  scheme.name === 'Hugging Face’s names' && /layernorm_before/.test(ours.get('blocks.0.norm1.weight')?.tensor ?? '')
    ? 1e-12
    : LAYER_NORM_EPS;

const refusals = ({ refused, unknown }: Sorted): Reason[] => [
  ...[...refused].map(([what, names]) => ({ what, names })),
  ...(unknown.length > 0 ? [{ what: 'unknown to gqa, so perhaps part of the computation', names: unknown }] : []),
];

const NO_HEAD = 'the checkpoint has no head';

/** The head, as far as it is one of ours: linear, reading the class token. */
function headOf(
  { ours, otherHead }: Sorted,
  embedDim: number,
): { headClasses: number | null; headless: string | null } {
  const none = (headless: string): { headClasses: null; headless: string } => ({ headClasses: null, headless });
  const weight = ours.get('head.weight')?.entry.shape;
  const bias = ours.get('head.bias')?.entry.shape;
  if (weight === undefined) {
    if (otherHead.length > 0)
      return none(`the checkpoint’s head is no single linear layer (${shown(otherHead[0] as string)})`);
    return none(bias === undefined ? NO_HEAD : 'the checkpoint’s head has a bias only');
  }
  if (weight.length !== 2 || weight[1] !== embedDim)
    return none(`the checkpoint’s head is [${weight.join(', ')}], where one of [classes, ${embedDim}] was expected`);
  if (weight[0] === 0) return none(NO_HEAD);
  if (bias !== undefined && (bias.length !== 1 || bias[0] !== weight[0]))
    return none(`the checkpoint’s head has a bias of [${bias.join(', ')}], where [${weight[0]}] was expected`);
  return { headClasses: weight[0] as number, headless: null };
}

function sourcesOf(ours: Sorted['ours']): Map<string, Source> {
  const sources = new Map<string, Source>();
  for (const [name, { tensor, entry }] of ours) {
    const fused = /^(blocks\.\d+\.attn\.)qkv(\.\w+)$/.exec(name);
    if (fused === null) sources.set(name, { tensor, shape: entry.shape, third: null });
    else {
      const shape = [(entry.shape[0] as number) / 3, ...entry.shape.slice(1)];
      for (const third of [0, 1, 2] as const) {
        const part = `${fused[1]}${'qkv'[third]}${fused[2]}`;
        if (!ours.has(part)) sources.set(part, { tensor, shape, third });
      }
    }
  }
  return sources;
}

/** What is missing or misshapen, measured by the file's own sizes. */
function holes(
  sources: Map<string, Source>,
  ours: Sorted['ours'],
  sizes: ModelShape,
  variant: VariantName | undefined,
): Reason[] {
  const own = { ...sizes, grouping: layersOf(sizes) };
  const specs = parameterSpecs(own, variant);
  const missing: string[] = [];
  const misshapen: string[] = [];
  for (const [name, { shape: wanted, role }] of Object.entries(specs)) {
    const source = sources.get(name);
    const isKv = role === 'key' || role === 'value';
    if (source === undefined) {
      if (role !== 'head' && !isZeroBias(name, sources)) missing.push(name);
    } else if (
      !sameShape(source.shape, wanted) &&
      !(isKv && sameShape(source.shape, [own.embedDim, ...wanted.slice(1)]))
    ) {
      misshapen.push(`${shown(source.tensor)} [${source.shape.join(', ')}], not [${wanted.join(', ')}]`);
    }
  }
  for (const [name, { tensor, entry }] of ours) {
    if (/\.ls[12]\.gamma$/.test(name) && entry.shape.reduce((product, size) => product * size, 1) !== own.embedDim)
      misshapen.push(`${shown(tensor)} [${entry.shape.join(', ')}], not [${own.embedDim}]`);
  }
  for (const which of ['ls1', 'ls2']) {
    const found = [...ours.keys()].filter((name) => name.endsWith(`.${which}.gamma`)).length;
    if (found > 0)
      for (let i = 0; i < own.depth; i++)
        if (!ours.has(`blocks.${i}.${which}.gamma`)) missing.push(`blocks.${i}.${which}.gamma`);
  }
  const stray = [...ours]
    .filter(([name]) => !(name in specs) && !/\.ls[12]\.gamma$/.test(name) && !isFused(name, ours))
    .map(([, { tensor }]) => tensor);
  return [
    ...(missing.length > 0
      ? [
          {
            what: `${counted(missing.length, 'tensor')} ${missing.length === 1 ? 'is' : 'are'} missing`,
            names: missing,
          },
        ]
      : []),
    ...(misshapen.length > 0
      ? [
          {
            what: `${counted(misshapen.length, 'tensor')} ${misshapen.length === 1 ? 'has' : 'have'} another form`,
            names: misshapen,
          },
        ]
      : []),
    ...(stray.length > 0 ? [{ what: 'nothing of the model is left for', names: stray }] : []),
  ];
}

/** The wanted groups for as many layers as the file has: a file of another depth is recognised by its sizes. */
const layersOf = ({ grouping, depth }: ModelShape): Grouping =>
  Array.from({ length: depth }, (_, i) => grouping[i] ?? (grouping[0] as Groups));

/** `attn.qkv`, with none of its parts beside it. */
const isFused = (name: string, ours: Sorted['ours']): boolean =>
  /\.attn\.qkv\./.test(name) && [...'qkv'].every((part) => !ours.has(name.replace('.qkv.', `.${part}.`)));

/**
 * No bias of q, k and v in any block (qkv_bias: False), or none of k (BEiT): they are 0. One that only some blocks have
 * is missing.
 */
function isZeroBias(name: string, sources: Map<string, Source>): boolean {
  const part = /^blocks\.\d+\.attn\.([qkv])\.bias$/.exec(name)?.[1];
  if (part === undefined) return false;
  const has = (which: string): boolean => [...sources.keys()].some((other) => other.endsWith(`.attn.${which}.bias`));
  return !has(part) && (part === 'k' || ['q', 'v'].every((which) => !has(which)));
}

const gammasOf = (ours: Sorted['ours']): Map<string, string> =>
  new Map(
    [...ours].flatMap(([name, { tensor }]) => {
      const found = /^(blocks\.\d+)\.ls([12])\.gamma$/.exec(name);
      return found === null ? [] : [[`${found[1]}.${found[2] === '1' ? 'attn.proj' : 'mlp.fc2'}`, tensor] as const];
    }),
  );

function noticesOf(place: Place, sorted: Sorted, sources: Map<string, Source>, headless: string | null): string[] {
  const notices: string[] = [];
  if (place.scheme.name !== 'timm’s names' || place.prefix !== '')
    notices.push(`the checkpoint has ${place.scheme.name}${place.prefix === '' ? '' : ` behind “${place.prefix}”`}`);
  const left = [...sorted.leftOut].map(([what, names]) => `${what} (${names.length})`);
  if (sorted.otherHead.length > 0) left.push(`a head of another form (${sorted.otherHead.length})`);
  else if (headless !== null && headless !== NO_HEAD) left.push('its head');
  if (left.length > 0) notices.push(`left out of the checkpoint: ${left.join(', ')}`);
  if (gammasOf(sorted.ours).size > 0) notices.push('LayerScale is folded into attn.proj and mlp.fc2');
  const without = ['q', 'k', 'v'].filter((part) => !sources.has(`blocks.0.attn.${part}.bias`));
  if (without.length > 0) notices.push(`no bias of ${without.join(', ')} in the checkpoint: zeros`);
  if (headless === null && !sources.has('head.bias')) notices.push('no bias of the head in the checkpoint: zeros');
  return notices;
}

export const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((size, i) => size === b[i]);
