/**
 * `gqa inspect`: what a checkpoint is (a file, a folder, a run or a model of the hub), and what gqa would do with it. No
 * tensor is loaded.
 */
import fs from 'node:fs';
import path from 'node:path';
import { readBeside, TIMM_SIZES } from '../checkpoint/beside.js';
import { type ModelCard, readModelCard } from '../checkpoint/model-file.js';
import { openCheckpoint } from '../checkpoint/open.js';
import type { Safetensors } from '../checkpoint/safetensors.js';
import { placeIn, sizesIn } from '../checkpoint/sizes-in.js';
import { survey } from '../checkpoint/survey.js';
import { modelSizes } from '../config/schema.js';
import { GqaError } from '../errors.js';
import { command } from '../invocation.js';
import { divisorsOf, neighbours, sharesNothing, sharingRecord } from '../model/grouping.js';
import { countParameters } from '../model/params.js';
import { LAYER_NORM_EPS, type ModelShape } from '../model/sizes.js';
import type { VariantName } from '../model/variants.js';
import { weightsFile } from './weights.js';

/** What `--json` prints. Sizes in pixels, counts and bytes. */
export interface Inspection {
  path: string;
  files: number;
  bytes: number;
  tensors: number;
  /** Elements of each kind of number. */
  dtypes: Record<string, number>;
  names: string;
  looks_like: string;
  image_size: number;
  patch_size: number;
  embed_dim: number;
  depth: number;
  /** null: nothing says it. */
  heads: number | null;
  mlp_ratio: number;
  global_pool: 'token' | 'avg';
  layer_norm_eps: number;
  variant: VariantName;
  kv_heads?: number | number[];
  value_heads?: number | number[];
  parameters: number;
  kv_parameters: number;
  classes: number;
  class_names: string[];
  steps: number | null;
  /** Lines: what would be done, or why it is refused. */
  plans: string[];
  refused: string | null;
}

/** @throws GqaError `io` for what cannot be read, `usage` for a file without a ViT */
export async function inspect({ from, json }: { from: string; json: boolean }): Promise<void> {
  const file = await weightsFile(from);
  const found = inspected(openCheckpoint(file));
  process.stdout.write(json ? `${JSON.stringify(found)}\n` : `${lines(found).join('\n')}\n`);
}

export function inspected(file: Safetensors): Inspection {
  const card = readModelCard(file);
  const { heads: known, ...sizes } = sizesIn(file);
  const heads = known ?? 1; // only for what is counted in heads, which is left out then
  const shape: ModelShape = card?.model ?? {
    ...sizes,
    heads,
    grouping: neighbours(sizes.depth, heads, heads),
    numClasses: 0,
  };
  const { surveyed, refused } = surveyedOr(file, shape, card);
  const { beside } = card === null ? readBeside(file.path, sizes.embedDim) : { beside: null };
  const numClasses = card?.model.numClasses ?? surveyed?.headClasses ?? 0;
  const own: ModelShape = { ...shape, numClasses, globalPool: surveyed?.globalPool };
  const variant = card?.variant ?? 'mha';
  const { parameters, kvParameters } = countParameters(own, variant);
  const problem = refused ?? (beside !== null && beside.refused.length > 0 ? beside.refused.join('; ') : null);
  return {
    path: file.path,
    ...amounts(file),
    names: card === null ? placeIn(file).place.scheme.name : 'gqa’s own',
    looks_like: likeness(sizes, numClasses),
    image_size: sizes.imageSize,
    patch_size: sizes.patchSize,
    embed_dim: sizes.embedDim,
    depth: sizes.depth,
    heads: known,
    mlp_ratio: sizes.mlpRatio,
    global_pool: own.globalPool ?? 'token',
    layer_norm_eps: own.layerNormEps ?? beside?.layerNormEps ?? surveyed?.layerNormEps ?? LAYER_NORM_EPS,
    variant,
    ...(known === null ? {} : sharingRecord(own)),
    parameters,
    kv_parameters: kvParameters,
    classes: numClasses,
    class_names: card?.classes ?? beside?.classes ?? [],
    steps: card?.steps ?? null,
    plans: problem === null ? plans(own, known, [...(surveyed?.notices ?? []), ...(surveyed?.warnings ?? [])]) : [],
    refused: problem,
  };
}

function surveyedOr(
  file: Safetensors,
  shape: ModelShape,
  card: ModelCard | null,
): { surveyed: ReturnType<typeof survey> | null; refused: string | null } {
  try {
    return { surveyed: survey(file, shape, card?.variant), refused: null };
  } catch (error) {
    if (!(error instanceof GqaError) || error.code !== 'usage') throw error;
    return { surveyed: null, refused: error.message };
  }
}

function amounts({ tensors }: Safetensors): Pick<Inspection, 'files' | 'bytes' | 'tensors' | 'dtypes'> {
  const files = [...new Set([...tensors.values()].map(({ file }) => file))];
  const dtypes: Record<string, number> = {};
  for (const { dtype, shape } of tensors.values())
    dtypes[dtype] = (dtypes[dtype] ?? 0) + shape.reduce((product, size) => product * size, 1);
  return {
    files: files.length,
    bytes: files.reduce((sum, each) => sum + fs.statSync(each).size, 0),
    tensors: tensors.size,
    dtypes,
  };
}

type Sizes = Omit<ReturnType<typeof sizesIn>, 'heads'>;

/** timm's name for these sizes, or that there is none. */
function likeness({ embedDim, depth, patchSize, imageSize, mlpRatio }: Sizes, classes: number): string {
  const [name] =
    Object.entries(TIMM_SIZES).find(([, size]) => size.embedDim === embedDim && size.depth === depth) ?? [];
  if (name === undefined || mlpRatio !== 4) return 'no size that has a name';
  return `vit_${name}_patch${patchSize}_${imageSize}${classes === 1000 ? ' (1,000 classes, as ImageNet)' : ''}`;
}

function plans(shape: ModelShape, heads: number | null, found: string[]): string[] {
  const size = Object.entries(modelSizes).find(
    ([, each]) =>
      each.image_size === shape.imageSize &&
      each.patch_size === shape.patchSize &&
      each.embed_dim === shape.embedDim &&
      each.depth === shape.depth &&
      each.heads === heads &&
      each.mlp_ratio === shape.mlpRatio,
  )?.[0];
  const sizes = `its sizes are taken from it: leave model.size out${size === undefined ? '' : `, or write size: ${size}`}`;
  const groups =
    heads === null
      ? 'model.heads must be set: nothing says how many heads it was trained with'
      : sharesNothing(shape)
        ? `MHA: KV heads can be merged to ${divisorsOf(heads).slice(0, -1).join(', ')} of ${heads} in every layer, or a budget shared out over layers`
        : 'it is grouped already: it can be evaluated, exported and trained further as it is';
  return [sizes, groups, ...found];
}

const count = (number: number): string => number.toLocaleString('en');

function lines(found: Inspection): string[] {
  const { heads, classes, class_names: names } = found;
  const rows: [string, string][] = [
    [
      'file',
      `${found.path}: ${found.files > 1 ? `${found.files} files, ` : ''}${count(found.bytes)} bytes, ${count(found.tensors)} tensors`,
    ],
    [
      'numbers',
      Object.entries(found.dtypes)
        .map(([dtype, elements]) => `${dtype} (${count(elements)})`)
        .join(', '),
    ],
    ['names', found.names],
    ['looks like', found.looks_like],
    ['images', `${found.image_size} pixels, patch ${found.patch_size}`],
    [
      'blocks',
      `${found.depth}, embed_dim ${found.embed_dim}, heads ${heads ?? 'unknown'}${heads === null ? '' : ` of ${found.embed_dim / heads}`}, mlp_ratio ${found.mlp_ratio}`,
    ],
    [
      'head',
      `${classes === 0 ? 'none' : `${count(classes)} classes`}${names.length > 0 ? ` (${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''})` : ''}, global_pool ${found.global_pool}, layer norm’s eps ${found.layer_norm_eps.toExponential()}`,
    ],
    ['sharing', `${found.variant}${found.kv_heads === undefined ? '' : `, ${sharing(found)}`}`],
    ['parameters', `${count(found.parameters)}, of keys and values ${count(found.kv_parameters)}`],
    ...(found.steps === null ? [] : ([['trained', `${count(found.steps)} steps`]] as [string, string][])),
  ];
  const out = rows.map(([key, value]) => `${key.padEnd(12)}${value}`);
  if (found.refused !== null) return [...out, `refused     ${found.refused}`];
  return [
    ...out,
    ...found.plans.map((line, i) => `${(i === 0 ? 'gqa' : '').padEnd(12)}${line}`),
    `next        ${next(found)}`,
  ];
}

const sharing = ({ kv_heads: keys, value_heads: values }: Inspection): string =>
  `KV heads ${[keys].flat().join(', ')}${values === undefined ? '' : `, value heads ${[values].flat().join(', ')}`}`;

const next = ({ path: file }: Inspection): string =>
  command(`analyze --checkpoint ${path.relative('', file) || file} --config CONFIG --accuracy`);
