/**
 * A checkpoint's values under our names, as they are: LayerScale is folded into the layer before it, a head of other
 * classes is drawn afresh, everything else is copied. Unlike the paper's code, the final norm is taken over too.
 * Nothing here touches a tensor of TensorFlow.js: values go from the file into plain arrays.
 */
import { counted } from '../counted.js';
import { GqaError } from '../errors.js';
import { type Grouping, isMha, kvHeadsInWords, kvHeadsOf } from '../model/grouping.js';
import { initialValues, parameterSpecs } from '../model/params.js';
import { LAYER_NORM_EPS, type ModelShape } from '../model/sizes.js';
import type { VariantName } from '../model/variants.js';
import { type Beside, readBeside, usualHeads } from './beside.js';
import { type ModelCard, readModelCard } from './model-file.js';
import { openCheckpoint } from './open.js';
import { resizedPositions } from './positions.js';
import { readTensor, type Safetensors, shown } from './safetensors.js';
import { type Source, type Survey, survey } from './survey.js';

export interface ReadCheckpoint {
  /** Values of every parameter of `shape`. */
  values: Record<string, Float32Array>;
  /**
   * The wanted shape, with what the checkpoint alone says of it: its own grouping, layer norm's eps, and its number of
   * classes where the caller left that open.
   */
  shape: ModelShape;
  /** Parameters that the checkpoint could not give and that were drawn afresh: only ever the head. */
  fresh: string[];
  /** Why the head was drawn afresh, after “…: ”; null when it was not. */
  freshBecause: string | null;
  /** The classes' names, where the checkpoint or the config.json beside it has them; else empty. */
  classes: string[];
  /** What a user should know, a line each. */
  notices: string[];
  /** What may make every figure wrong and cannot be decided here, a line each. */
  warnings: string[];
  /** What a checkpoint of our own says of itself; null for others. */
  card: ModelCard | null;
}

/**
 * What is wanted: `numClasses` null takes as many as the checkpoint's head has, 0 when it has none. A file that is not
 * ours may hold MHA or the wanted grouping.
 */
export type WantedShape = Omit<ModelShape, 'numClasses'> & { numClasses: number | null };

/**
 * Reads a checkpoint for a model of `shape`. One of our own brings its grouping, and has the parameters of its variant.
 * @param seed    for a fresh head, when the checkpoint has other classes or none
 * @param classes the data set's names in order: a head whose names differ is not taken over. null: only their number
 *   counts
 * @throws GqaError `usage` when the file is no plain ViT of these sizes and heads, `io` for an unreadable file or
 *   values that are not finite
 */
export function readCheckpoint(
  path: string,
  shape: WantedShape,
  seed: number,
  classes: readonly string[] | null = null,
): ReadCheckpoint {
  const file = openCheckpoint(path);
  const card = readModelCard(file);
  if (card !== null && card.model.heads !== shape.heads) throw otherHeads(file, card, shape);
  const expected = card?.model ?? shape;
  const found = survey(
    file,
    {
      ...shape,
      grouping: expected.grouping,
      valueGrouping: expected.valueGrouping,
      numClasses: shape.numClasses ?? 0,
    },
    card?.variant,
  );
  const { beside, notice } = card === null ? readBeside(file.path, shape.embedDim) : { beside: null, notice: null };
  if (beside !== null) requireComputed(path, beside, found);
  const heads = card === null ? headsWarning(path, beside, shape) : null;
  const eps =
    card === null ? (beside?.layerNormEps ?? found.layerNormEps) : (card.model.layerNormEps ?? LAYER_NORM_EPS);
  const named = classesOf(card, beside, found.headClasses);
  const numClasses = shape.numClasses ?? found.headClasses ?? 0;
  const freshBecause = shape.numClasses === null ? null : whyFresh(found, named, numClasses, classes);
  const { valueGrouping: wantedValues, ...sizes } = shape;
  const grouping = card?.model.grouping ?? groupingIn(found, shape);
  const valueGrouping = card === null ? (isMha(grouping) ? undefined : wantedValues) : card.model.valueGrouping;
  const own: ModelShape = {
    ...sizes,
    grouping,
    ...(valueGrouping === undefined ? {} : { valueGrouping }),
    numClasses,
    ...(eps === LAYER_NORM_EPS ? {} : { layerNormEps: eps }),
    ...(found.globalPool === undefined ? {} : { globalPool: found.globalPool }),
  };
  const grid = shape.imageSize / shape.patchSize;
  return {
    ...valuesFor(file, found, own, card?.variant, seed, freshBecause !== null),
    shape: own,
    freshBecause,
    classes: named,
    notices: [
      ...found.notices,
      ...(notice === null ? [] : [notice]),
      ...(eps === LAYER_NORM_EPS
        ? []
        : [
            `layer norm’s eps is ${eps}${beside === null && card === null ? ', as such checkpoints of Hugging Face have it' : ''}`,
          ]),
      ...(found.globalPool === 'avg' ? ['its head reads the mean of all patches (global_pool avg, fc_norm)'] : []),
      ...(found.grid === grid
        ? []
        : [
            `position embeddings resized from ${found.grid} × ${found.grid} to ${grid} × ${grid} patches, bicubic with antialias as timm does`,
          ]),
      ...(freshBecause === null ? [] : [`fresh head for ${counted(numClasses, 'class')}: ${freshBecause}`]),
      ...(freshBecause === null && classes !== null && named.length === 0
        ? [
            `the checkpoint names no classes: its head’s outputs are taken to be in the data set’s order (${orderOf(classes)})`,
          ]
        : []),
    ],
    warnings: [...found.warnings, ...(card?.warnings ?? []), ...(heads === null ? [] : [heads])],
    card,
  };
}

const orderOf = (classes: readonly string[]): string =>
  `${classes.slice(0, 3).join(', ')}${classes.length > 3 ? ', …' : ''}`;

/** @throws never; the error to throw when a checkpoint of our own has other heads or groups than are wanted */
export function otherHeads(
  { path }: Pick<Safetensors, 'path'>,
  card: ModelCard,
  shape: Pick<WantedShape, 'heads' | 'grouping'>,
): GqaError {
  const has = `${counted(card.model.heads, 'head')} with ${kvHeadsInWords(card.model.grouping)} (${card.variant})`;
  const wanted = `${counted(shape.heads, 'head')} with ${kvHeadsInWords(shape.grouping)}`;
  const same = has.startsWith(wanted) ? ', grouped otherwise' : '';
  return new GqaError('usage', `${path} holds ${has}; the config wants ${wanted}${same}`, {
    hint: 'KV heads can be merged from MHA only. Give the MHA checkpoint, or a config with the same heads and KV heads.',
  });
}

/** MHA, or in layers whose keys have as many rows the wanted groups. */
function groupingIn({ sources }: Survey, { grouping, heads, embedDim }: WantedShape): Grouping {
  const alone = Array.from({ length: heads }, (_, head) => head);
  return grouping.map((groups, i) =>
    sources.get(`blocks.${i}.attn.k.weight`)?.shape[0] === (kvHeadsOf(groups) * embedDim) / heads ? groups : alone,
  );
}

function requireComputed(path: string, { file, refused: ofConfig, globalPool }: Beside, found: Survey): void {
  const pool = globalPool ?? 'token';
  const pooled = found.globalPool ?? 'token';
  const refused =
    globalPool === null || pool === pooled
      ? ofConfig
      : [
          `global_pool is ${pool}, with ${found.globalPool === 'avg' ? 'fc_norm' : 'norm'} as the last norm: gqa computes token with norm, and avg with fc_norm`,
          ...ofConfig,
        ];
  if (refused.length === 0) return;
  throw new GqaError(
    'usage',
    [`${path}: its ${file} says what gqa does not compute:`, ...refused.map((line) => `  ${line}`)].join('\n'),
    {
      hint: 'Give a plain ViT. A config.json that belongs to another checkpoint must not lie beside this one.',
    },
  );
}

/**
 * @returns what to warn of when nothing confirms the config's number of heads.
 * @throws GqaError `usage` when config.json has another
 */
function headsWarning(path: string, beside: Beside | null, { heads, embedDim }: WantedShape): string | null {
  if (beside !== null && beside.heads !== null) {
    if (beside.heads === heads) return null;
    throw new GqaError('usage', `${path} has ${counted(beside.heads, 'head')} (${beside.file}), the config ${heads}`, {
      hint: `Set model.heads: ${beside.heads} (with model.size: custom). No shape of a tensor shows the number of heads, and with another one every figure is wrong.`,
    });
  }
  const usual = usualHeads(embedDim);
  if (usual === heads) return null;
  const why = usual === null ? 'nothing beside it confirms that' : `timm’s ViTs of embed_dim ${embedDim} have ${usual}`;
  return `${path} does not say its number of heads: model.heads is ${heads}, but ${why}. If it was trained with another number, every figure here is wrong`;
}

/** Names of another number than the head has outputs belong to something else. */
function classesOf(card: ModelCard | null, beside: Beside | null, headClasses: number | null): string[] {
  const classes = card?.classes ?? beside?.classes ?? [];
  return classes.length === headClasses ? classes : [];
}

/** @returns why the head cannot be taken over; null when it can */
function whyFresh(
  found: Survey,
  named: readonly string[],
  numClasses: number,
  classes: readonly string[] | null,
): string | null {
  if (found.headless !== null) return found.headless;
  if (found.headClasses !== numClasses) return `the checkpoint’s head has ${counted(found.headClasses ?? 0, 'class')}`;
  if (classes === null || named.length === 0) return null;
  const differing = named.findIndex((name, i) => plain(name) !== plain(classes[i] ?? ''));
  if (differing < 0) return null;
  return `the checkpoint’s are others: class ${differing} is “${named[differing]}” there, “${classes[differing]}” in the data`;
}

/** `Apple pie`, `apple_pie` and `apple-pie` are one class. */
const plain = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[\s_-]+/g, ' ')
    .trim();

function valuesFor(
  file: Safetensors,
  { sources, gammas, grid }: Survey,
  shape: ModelShape,
  variant: VariantName | undefined,
  seed: number,
  freshHead: boolean,
): Pick<ReadCheckpoint, 'values' | 'fresh'> {
  const values: Record<string, Float32Array> = {};
  const fresh: string[] = [];
  for (const [name, { shape: size, role }] of Object.entries(parameterSpecs(shape, variant))) {
    if (role === 'head' && shape.numClasses === 0) continue; // there is none
    if (role === 'head' && freshHead) {
      values[name] = initialValues(name, shape, seed);
      fresh.push(name);
      continue;
    }
    const source = sources.get(name);
    if (source === undefined) {
      values[name] = new Float32Array(size[0] as number); // a bias that the survey allows to be missing
      continue;
    }
    const gamma = gammas.get(name.replace(/\.(weight|bias)$/, ''));
    const read =
      gamma === undefined ? readSource(file, source) : scaledRows(readSource(file, source), readFinite(file, gamma));
    if (gamma !== undefined) requireFinite(file, gamma, read);
    values[name] =
      name === 'pos_embed' && read.length !== sizeOf(size)
        ? resizedPositions(read, grid, shape.imageSize / shape.patchSize)
        : read;
  }
  return { values, fresh };
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

function readSource(file: Safetensors, { tensor, third }: Source): Float32Array {
  const all = readFinite(file, tensor);
  return third === null ? all : all.slice((third * all.length) / 3, ((third + 1) * all.length) / 3);
}

function readFinite(file: Safetensors, tensor: string): Float32Array {
  const values = readTensor(file, tensor);
  requireFinite(file, tensor, values);
  return values;
}

/**
 * LayerScale as part of the linear layer before it, exact but for one rounding: γ · (W x + b) = (diag(γ) W) x + γ b.
 * @param values [D, …]. @param gamma [D]
 */
function scaledRows(values: Float32Array, gamma: Float32Array): Float32Array {
  const row = values.length / gamma.length;
  return values.map((value, i) => value * (gamma[Math.floor(i / row)] as number)); // the product is float64
}

function requireFinite(file: Safetensors, tensor: string, values: Float32Array): void {
  const bad = values.reduce((count, value) => count + (Number.isFinite(value) ? 0 : 1), 0);
  if (bad > 0)
    throw new GqaError(
      'io',
      `${file.path}: tensor ${shown(tensor)} holds ${counted(bad, 'value')} that ${bad === 1 ? 'is' : 'are'} not finite`,
      {
        hint: 'The checkpoint is damaged or its training diverged; take another one.',
      },
    );
}
