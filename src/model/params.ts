/**
 * A model's parameters: a flat map from timm's names to tensors in torch's (out, in) layout, with the query, key and
 * value projections apart (`attn.q`, `attn.k`, `attn.v`), as in the paper's code; timm's fused `attn.qkv` is split when
 * a checkpoint is read.
 */
import * as tf from '@tensorflow/tfjs-core';
import { drawn, draws } from '../random.js';
import { finalNorm, type LayerShape, layerShapes, type ModelShape, tokens } from './sizes.js';
import { type VariantName, variantOf } from './variants.js';

export type Params = Record<string, tf.Tensor>;

/** How timm draws a tensor's first values. */
type Initial = 'zeros' | 'ones' | 'normal 0.02' | 'normal 1e-6' | 'normal 1' | 'uniform fan-in';

/** What a tensor is for. `merge`: added by a variant to learn how a group becomes one key-value head. */
export type Role = 'query' | 'key' | 'value' | 'proj' | 'merge' | 'norm' | 'mlp' | 'embed' | 'head';

export interface ParameterSpec {
  shape: number[];
  /** A function gives the values themselves. */
  initial: Initial | (() => Float32Array);
  role: Role;
}

export type ParameterSpecs = Record<string, ParameterSpec>;

/**
 * Name, shape, initial distribution and role of every parameter, in timm's order. Source: timm vision_transformer.py,
 * `init_weights_vit_timm`; the patch projection keeps torch's Conv2d default.
 * @param variant whose own parameters are added; left out: of plain GQA
 */
export function parameterSpecs(shape: ModelShape, variant: VariantName = 'gqa'): ParameterSpecs {
  const { embedDim, patchSize, mlpRatio, numClasses } = shape;
  const mlpDim = Math.round(embedDim * mlpRatio);
  const linear = (name: string, role: Role, outputs: number, inputs: number): ParameterSpecs => ({
    [`${name}.weight`]: { shape: [outputs, inputs], initial: 'normal 0.02', role },
    [`${name}.bias`]: { shape: [outputs], initial: 'zeros', role },
  });
  const norm = (name: string): ParameterSpecs => ({
    [`${name}.weight`]: { shape: [embedDim], initial: 'ones', role: 'norm' },
    [`${name}.bias`]: { shape: [embedDim], initial: 'zeros', role: 'norm' },
  });
  const block = (layer: LayerShape): ParameterSpecs => {
    const { kvHeads, valueHeads, headDim } = layer;
    return inBlock(layer.index, {
      ...norm('norm1'),
      ...linear('attn.q', 'query', embedDim, embedDim),
      ...linear('attn.k', 'key', kvHeads * headDim, embedDim),
      ...linear('attn.v', 'value', valueHeads * headDim, embedDim),
      ...variantOf(variant).params?.(layer),
      ...linear('attn.proj', 'proj', embedDim, embedDim),
      ...norm('norm2'),
      ...linear('mlp.fc1', 'mlp', mlpDim, embedDim),
      ...linear('mlp.fc2', 'mlp', embedDim, mlpDim),
    });
  };
  return {
    cls_token: { shape: [1, 1, embedDim], initial: 'normal 1e-6', role: 'embed' },
    pos_embed: { shape: [1, tokens(shape), embedDim], initial: 'normal 0.02', role: 'embed' },
    'patch_embed.proj.weight': {
      shape: [embedDim, 3, patchSize, patchSize],
      initial: 'uniform fan-in',
      role: 'embed',
    },
    'patch_embed.proj.bias': { shape: [embedDim], initial: 'uniform fan-in', role: 'embed' },
    ...Object.assign({}, ...layerShapes(shape).map(block)),
    ...norm(finalNorm(shape)),
    ...linear('head', 'head', numClasses, embedDim),
  };
}

const inBlock = (i: number, specs: ParameterSpecs): ParameterSpecs =>
  Object.fromEntries(Object.entries(specs).map(([name, spec]) => [`blocks.${i}.${name}`, spec]));

/**
 * Fresh values for one parameter; the draw depends on the seed and the tensor's name only, so that no variant changes
 * another tensor's draw.
 */
export function initialValues(
  name: string,
  shape: ModelShape,
  seed: number,
  variant: VariantName = 'gqa',
): Float32Array {
  const spec = parameterSpecs(shape, variant)[name];
  if (spec === undefined) throw new Error(`no parameter is named ${name}`);
  const size = tf.util.sizeFromShape(spec.shape);
  const from = draws(seed, `init/${name}`);
  const bound = 1 / Math.sqrt(3 * shape.patchSize ** 2); // of the patch projection's inputs
  const drawers: Record<Initial, () => Float32Array> = {
    zeros: () => new Float32Array(size),
    ones: () => new Float32Array(size).fill(1),
    'normal 0.02': () => scaled(from.normals(size), 0.02),
    'normal 1e-6': () => scaled(from.normals(size), 1e-6),
    'normal 1': () => from.normals(size),
    'uniform fan-in': () => drawn(size, () => (2 * from.uniform() - 1) * bound),
  };
  return typeof spec.initial === 'function' ? spec.initial() : drawers[spec.initial]();
}

/**
 * In place. torch's `trunc_normal_` also cuts at ±2, absolute, which is 100 standard deviations here: nothing is ever
 * cut.
 */
function scaled(values: Float32Array, std: number): Float32Array {
  for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) * std;
  return values;
}

/** Values on the host, by parameter name. */
export type Values = Record<string, Float32Array>;

/** A model from scratch. */
export const initialModel = (shape: ModelShape, variant: VariantName, seed: number): Values =>
  Object.fromEntries(
    Object.keys(parameterSpecs(shape, variant)).map((name) => [name, initialValues(name, shape, seed, variant)]),
  );

/** Tensors for every parameter of `shape`, with the values that `valuesOf` gives. */
export const paramsFrom = (
  shape: ModelShape,
  valuesOf: (name: string) => Float32Array,
  variant: VariantName = 'gqa',
): Params =>
  Object.fromEntries(
    Object.entries(parameterSpecs(shape, variant)).map(([name, spec]) => [
      name,
      tf.tensor(valuesOf(name), spec.shape, 'float32'),
    ]),
  );

/** What the key and value projections are made of. */
const KV_ROLES: readonly Role[] = ['key', 'value', 'merge'];

export const isKeyOrValue = ({ role }: ParameterSpec): boolean => KV_ROLES.includes(role);

/**
 * Parameters in all as they are trained, and those of the key and value projections (weights, biases and what a variant
 * adds to them): as they are trained, and as inference needs them, which is fewer where a variant folds.
 */
export function countParameters(
  shape: ModelShape,
  variant: VariantName,
): { parameters: number; kvParameters: number; trainedKvParameters: number } {
  const sum = (of: readonly ParameterSpec[]): number =>
    of.reduce((total, spec) => total + tf.util.sizeFromShape(spec.shape), 0);
  const trained = Object.values(parameterSpecs(shape, variant));
  const folded = variantOf(variant).fold === undefined ? trained : Object.values(parameterSpecs(shape));
  return {
    parameters: sum(trained),
    kvParameters: sum(folded.filter(isKeyOrValue)),
    trainedKvParameters: sum(trained.filter(isKeyOrValue)),
  };
}
