/**
 * A model's parameters, or moments, as variables of a compiled program: one for each matrix, and one for all vectors together.
 * More than half of a ViT's tensors are vectors (biases, norms); apart, their updates would be a good part of a step's operations, though almost none of its numbers.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Params } from '../model/params.js';
import { type Variable, variable } from '../trace/variable.js';

export interface Packed {
  /** In the order of `pieces`. */
  variables: Variable[];
  /** What each variable holds, made from a tensor for each name. */
  pieces(values: Params): tf.Tensor[];
  /** A tensor for each name, from the variables. */
  read(): Params;
  assign(values: Params): void;
}

/** @param kind goes before the variables' names. @param shapes by name; at least one is a vector */
export function packed(kind: string, shapes: Record<string, number[]>): Packed {
  const matrices = Object.keys(shapes).filter((name) => !isVector(shapes[name] as number[]));
  const vectors = Object.keys(shapes).filter((name) => isVector(shapes[name] as number[]));
  const sizes = vectors.map((name) => tf.util.sizeFromShape(shapes[name] as number[]));
  const together = variable(`${kind}/vectors`, [sizes.reduce((sum, size) => sum + size, 0)]);
  const apart = matrices.map((name) => variable(`${kind}/${name}`, shapes[name] as number[]));
  const variables = [together, ...apart];
  const pieces = (values: Params): tf.Tensor[] => {
    const flat = vectors.map((name) => tf.reshape(values[name] as tf.Tensor, [-1]));
    return [tf.concat(flat), ...matrices.map((name) => values[name] as tf.Tensor)];
  };
  return {
    variables,
    pieces,
    read() {
      const parts = tf.split(together.read(), sizes);
      return Object.fromEntries([
        ...vectors.map((name, i) => [name, tf.reshape(parts[i] as tf.Tensor, shapes[name] as number[])]),
        ...matrices.map((name, i) => [name, (apart[i] as Variable).read()]),
      ]);
    },
    assign(values) {
      for (const [i, piece] of pieces(values).entries()) (variables[i] as Variable).assign(piece);
    },
  };
}

const isVector = (shape: number[]): boolean => shape.filter((size) => size > 1).length <= 1;
