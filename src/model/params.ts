/**
 * A model's parameters: a flat map from timm's names to tensors in torch's (out, in) layout, with the query, key and
 * value projections apart (`attn.q`, `attn.k`, `attn.v`), as in the paper's code; timm's fused `attn.qkv` is split when
 * a checkpoint is read.
 */
import * as tf from '@tensorflow/tfjs-core';
import { drawn, draws } from '../random.js';
import { headDim, type ModelShape, tokens } from './sizes.js';

export type Params = Record<string, tf.Tensor>;

/** How timm draws a tensor's first values. */
type Initial = 'zeros' | 'ones' | 'normal 0.02' | 'normal 1e-6' | 'uniform fan-in';

interface ParameterSpec {
  shape: number[];
  initial: Initial;
}

/**
 * Name, shape and initial distribution of every parameter, in timm's order. Source: timm vision_transformer.py,
 * `init_weights_vit_timm`; the patch projection keeps torch's Conv2d default.
 */
export function parameterSpecs(shape: ModelShape): Record<string, ParameterSpec> {
  const { embedDim, patchSize, mlpRatio, depth, kvHeads, numClasses } = shape;
  const mlpDim = Math.round(embedDim * mlpRatio);
  const kvDim = kvHeads * headDim(shape);
  const linear = (name: string, outputs: number, inputs: number): Record<string, ParameterSpec> => ({
    [`${name}.weight`]: { shape: [outputs, inputs], initial: 'normal 0.02' },
    [`${name}.bias`]: { shape: [outputs], initial: 'zeros' },
  });
  const norm = (name: string): Record<string, ParameterSpec> => ({
    [`${name}.weight`]: { shape: [embedDim], initial: 'ones' },
    [`${name}.bias`]: { shape: [embedDim], initial: 'zeros' },
  });
  const block = (i: number): Record<string, ParameterSpec> => ({
    ...norm(`blocks.${i}.norm1`),
    ...linear(`blocks.${i}.attn.q`, embedDim, embedDim),
    ...linear(`blocks.${i}.attn.k`, kvDim, embedDim),
    ...linear(`blocks.${i}.attn.v`, kvDim, embedDim),
    ...linear(`blocks.${i}.attn.proj`, embedDim, embedDim),
    ...norm(`blocks.${i}.norm2`),
    ...linear(`blocks.${i}.mlp.fc1`, mlpDim, embedDim),
    ...linear(`blocks.${i}.mlp.fc2`, embedDim, mlpDim),
  });
  return {
    cls_token: { shape: [1, 1, embedDim], initial: 'normal 1e-6' },
    pos_embed: { shape: [1, tokens(shape), embedDim], initial: 'normal 0.02' },
    'patch_embed.proj.weight': { shape: [embedDim, 3, patchSize, patchSize], initial: 'uniform fan-in' },
    'patch_embed.proj.bias': { shape: [embedDim], initial: 'uniform fan-in' },
    ...Object.assign({}, ...Array.from({ length: depth }, (_, i) => block(i))),
    ...norm('norm'),
    ...linear('head', numClasses, embedDim),
  };
}

/**
 * Fresh values for one parameter; the draw depends on the seed and the tensor's name only, so that no variant changes
 * another tensor's draw.
 */
export function initialValues(name: string, shape: ModelShape, seed: number): Float32Array {
  const spec = parameterSpecs(shape)[name];
  if (spec === undefined) throw new Error(`no parameter is named ${name}`);
  const size = tf.util.sizeFromShape(spec.shape);
  const from = draws(seed, `init/${name}`);
  const bound = 1 / Math.sqrt(3 * shape.patchSize ** 2); // of the patch projection's inputs
  const drawers: Record<Initial, () => Float32Array> = {
    zeros: () => new Float32Array(size),
    ones: () => new Float32Array(size).fill(1),
    'normal 0.02': () => scaled(from.normals(size), 0.02),
    'normal 1e-6': () => scaled(from.normals(size), 1e-6),
    'uniform fan-in': () => drawn(size, () => (2 * from.uniform() - 1) * bound),
  };
  return drawers[spec.initial]();
}

/**
 * In place. torch's `trunc_normal_` also cuts at ±2, absolute, which is 100 standard deviations here: nothing is ever
 * cut.
 */
function scaled(values: Float32Array, std: number): Float32Array {
  for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) * std;
  return values;
}

/** A model from scratch. */
export function initialParams(shape: ModelShape, seed: number): Params {
  return paramsFrom(shape, (name) => initialValues(name, shape, seed));
}

/** Tensors for every parameter of `shape`, with the values that `valuesOf` gives. */
export function paramsFrom(shape: ModelShape, valuesOf: (name: string) => Float32Array): Params {
  return Object.fromEntries(
    Object.entries(parameterSpecs(shape)).map(([name, spec]) => [
      name,
      tf.tensor(valuesOf(name), spec.shape, 'float32'),
    ]),
  );
}

/** Parameters in all, and those of the key and value projections (weights and biases). */
export function countParameters(shape: ModelShape): { parameters: number; kvParameters: number } {
  const sizes = Object.entries(parameterSpecs(shape)).map(
    ([name, spec]) => [name, tf.util.sizeFromShape(spec.shape)] as const,
  );
  const sum = (of: readonly (readonly [string, number])[]): number => of.reduce((total, [, size]) => total + size, 0);
  return { parameters: sum(sizes), kvParameters: sum(sizes.filter(([name]) => /\.attn\.[kv]\./.test(name))) };
}
