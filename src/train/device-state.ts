/** What a compiled trainer keeps on the device between calls, as variables, and how it is read and filled. */
import * as tf from '@tensorflow/tfjs-core';
import { type Params, parameterSpecs } from '../model/params.js';
import type { ModelShape } from '../model/sizes.js';
import { variantOf } from '../model/variants.js';
import { float32, type TensorSpec } from '../trace/compile.js';
import { type Variable, variable } from '../trace/variable.js';
import { isTrained } from './freeze.js';
import { type Packed, packed } from './packed.js';
import { teacherShape } from './teacher.js';
import type { TrainerOptions } from './trainer.js';

/** Variables by the name of what they hold. */
export type Variables = Record<string, Variable>;

export interface State {
  /** Parameters that are trained, and the others. */
  trained: Packed;
  frozen: Packed;
  /** Moments and moving averages of those that are trained; averages are null where none are kept. */
  first: Packed;
  second: Packed;
  ema: Packed | null;
  /** Sums of the gradients of an optimizer step so far, and of its images; null without accumulation. */
  gradients: { sums: Packed; images: Variable } | null;
  /** Parameters of the teacher; null without distillation. */
  teacher: Packed | null;
  /** With float16: what the loss is multiplied by, the steps since that changed, and how many were left out. */
  lossScale: Variable | null;
  /** One for each block. */
  attention: Variables[];
  /** A copy that evaluation batch by batch changes; empty under the frozen rule. */
  evalAttention: Variables[];
  /** [depth, K] of the last step; null for variants that do not allocate. */
  counts: Variable | null;
  /** Loss, top-1, images, first step whose loss was not finite. */
  sums: Variable;
  /** Loss, top-1, top-5, images. */
  evalSums: Variable;
}

export function declareState({
  shape,
  variant,
  evalAllocation,
  freeze,
  ema,
  gradAccumSteps,
  distill,
  precision,
}: TrainerOptions): State {
  const { depth, heads, kvHeads } = shape;
  const rule = variantOf(variant).allocation;
  const shapes = shapesOf(shape);
  const trained = Object.fromEntries(Object.entries(shapes).filter(([name]) => isTrained(name, freeze)));
  const frozen = Object.fromEntries(Object.entries(shapes).filter(([name]) => !isTrained(name, freeze)));
  const likeAttention = (kind: string): Variables[] =>
    Array.from({ length: depth }, (_, i) =>
      Object.fromEntries(
        Object.keys(rule?.initialState(heads, kvHeads) ?? {}).map((name) => [
          name,
          variable(`${kind}/${i}/${name}`, [kvHeads]),
        ]),
      ),
    );
  return {
    trained: packed('params', trained),
    frozen: packed('frozen', frozen),
    first: packed('first', trained),
    second: packed('second', trained),
    ema: ema === null ? null : packed('ema', trained),
    gradients:
      gradAccumSteps === 1 ? null : { sums: packed('gradients', trained), images: variable('gradient-images', []) },
    teacher: distill === null ? null : packed('teacher', shapesOf(teacherShape(shape))),
    lossScale: precision === 'float16' ? variable('loss-scale', [3]) : null,
    attention: likeAttention('attention'),
    evalAttention: evalAllocation === 'batch' ? likeAttention('eval-attention') : [],
    counts: rule === undefined ? null : variable('counts', [depth, kvHeads]),
    sums: variable('sums', [4]),
    evalSums: variable('eval-sums', [4]),
  };
}

export const shapesOf = (shape: ModelShape): Record<string, number[]> =>
  Object.fromEntries(Object.entries(parameterSpecs(shape)).map(([name, spec]) => [name, spec.shape]));

/** What evaluation reads. */
export const evaluatedParams = ({ trained, frozen, ema }: State): Params => ({
  ...(ema ?? trained).read(),
  ...frozen.read(),
});

export const accumulators = ({ gradients }: State): Variable[] =>
  gradients === null ? [] : [...gradients.sums.variables, gradients.images];

export function clear(variables: Variable[]): Record<string, never> {
  for (const each of variables) each.assign(tf.fill([...each.shape], 0));
  return {};
}

export const prefixed = (kind: string, values: Params): Params =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [`${kind}/${name}`, value]));

export const unprefixed = (kind: string, values: Params): Params =>
  Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) =>
      name.startsWith(`${kind}/`) ? [[name.slice(kind.length + 1), value]] : [],
    ),
  );

export const specsOf = (variables: Variable[]): Record<string, TensorSpec> =>
  Object.fromEntries(variables.map(({ name, shape }) => [name, float32(...shape)]));

export const readAll = (variables: Variable[]): Record<string, tf.Tensor> =>
  Object.fromEntries(variables.map((each) => [each.name, each.read()]));

export function assignAll(variables: Variable[], values: Record<string, tf.Tensor>): Record<string, never> {
  for (const each of variables) each.assign(values[each.name] as tf.Tensor);
  return {};
}

/** What the variables hold, under the names of what they stand for. */
export const valuesOf = (variables: Variables): Params =>
  Object.fromEntries(Object.entries(variables).map(([key, each]) => [key, each.read()]));

/** Values under the names of what they stand for → under the variables' names; `tensorsOf` goes back. */
export const feeds = (variables: Variables, values: Record<string, tf.Tensor>): Record<string, tf.Tensor> =>
  Object.fromEntries(Object.entries(variables).map(([key, { name }]) => [name, values[key] as tf.Tensor]));

export const tensorsOf = (variables: Variables, found: Record<string, tf.Tensor>): Params =>
  Object.fromEntries(Object.entries(variables).map(([key, { name }]) => [key, found[name] as tf.Tensor]));
