/** What a rule of the table of operations is, and the parts that rules have in common. */
import * as tf from '@tensorflow/tfjs-core';
import type { Attribute, ElementType } from './graph.js';

/** What a rule appends nodes with. */
export interface Emitter {
  /** Appends a node with one output. */
  node(
    op: string,
    inputs: tf.TensorInfo[],
    attributes: Record<string, Attribute>,
    shape: number[],
    dtype: tf.DataType,
  ): tf.TensorInfo;
  /** Appends a node with an output for each shape. */
  nodeOf(
    op: string,
    inputs: tf.TensorInfo[],
    attributes: Record<string, Attribute>,
    shapes: number[][],
    dtype: tf.DataType,
  ): tf.TensorInfo[];
  ints(values: readonly number[], shape?: number[]): tf.TensorInfo;
  scalar(value: number, dtype: 'float32' | 'int32'): tf.TensorInfo;
  /** The same tensor under another shape or as it is: no node. */
  alias(x: tf.TensorInfo, shape?: number[]): tf.TensorInfo;
  /** For a tensor of bytes, which TensorFlow.js sees as int32: the bytes themselves. */
  asBytes(x: tf.TensorInfo): tf.TensorInfo | null;
}

export type Rule = (
  inputs: tf.NamedTensorInfoMap,
  attributes: tf.NamedAttrMap,
  emit: Emitter,
) => tf.TensorInfo | tf.TensorInfo[];

export const INT32: Attribute = { type: 'int32' };

export const broadcast = tf.broadcast_util.assertAndGetBroadcastShape;

/** Types are given once here: a kernel's inputs and attributes are those of its name in kernel_names. */
export function rule<Inputs extends object, Attributes extends object>(
  write: (
    inputs: { [K in keyof Inputs]: tf.TensorInfo },
    attributes: Attributes,
    emit: Emitter,
  ) => tf.TensorInfo | tf.TensorInfo[],
): Rule {
  return (inputs, attributes, emit) =>
    write(inputs as { [K in keyof Inputs]: tf.TensorInfo }, attributes as unknown as Attributes, emit);
}

/** Rules that differ by the operation's name only. */
export function table(names: Record<string, string>, ruleOf: (op: string) => Rule): Record<string, Rule> {
  return Object.fromEntries(Object.entries(names).map(([kernel, op]) => [kernel, ruleOf(op)]));
}

export function reduction(op: string, typed: boolean): Rule {
  return rule<{ x: tf.Tensor }, Partial<tf.SumAttrs & tf.MaxAttrs>>(
    ({ x }, { axis, reductionIndices, keepDims = false }, emit) => {
      // Max calls its axes reductionIndices
      const axes = tf.util.parseAxisParam(axis ?? (reductionIndices as number | number[]), x.shape);
      const shape = x.shape.flatMap((size, i) => (axes.includes(i) ? (keepDims ? [1] : []) : [size]));
      const attributes = { ...(typed ? { T: typeOf(x) } : {}), Tidx: INT32, keep_dims: { bool: keepDims } };
      return emit.node(op, [x, emit.ints(axes)], attributes, shape, x.dtype);
    },
  );
}

export function reshape(x: tf.TensorInfo, shape: number[], emit: Emitter): tf.TensorInfo {
  if (tf.util.arraysEqual(x.shape, shape)) return emit.alias(x);
  return emit.node('Reshape', [x, emit.ints(shape)], { T: typeOf(x), Tshape: INT32 }, shape, x.dtype);
}

export function slice(x: tf.TensorInfo, begin: number[], size: number[], emit: Emitter): tf.TensorInfo {
  return emit.node('Slice', [x, emit.ints(begin), emit.ints(size)], { T: typeOf(x), Index: INT32 }, size, x.dtype);
}

export const replaced = (shape: number[], axis: number, size: number): number[] =>
  shape.map((old, i) => (i === axis ? size : old));
export const without = (shape: number[], axis: number): number[] => shape.filter((_, i) => i !== axis);
export const typeOf = (x: tf.TensorInfo): Attribute => elementType(x.dtype);

export function elementType(dtype: tf.DataType): Attribute {
  if (dtype === 'string' || dtype === 'complex64') throw new Error(`a graph has no tensors of dtype ${dtype}`);
  return { type: dtype satisfies ElementType };
}
