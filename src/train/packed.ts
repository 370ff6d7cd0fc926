/**
 * A model's parameters, or moments, as variables of a compiled program: one for each large matrix, and one for all
 * small tensors of a shape together. Most of a ViT's tensors are small (biases, norms; in a small ViT everything is);
 * apart, their reads and updates would be a good part of a step's operations, though almost none of its numbers.
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

/** Elements up to which matrices of a shape lie together: copying more would cost more than an operation does. */
const SMALL = 16_384;

/** @param kind goes before the variables' names. @param shapes by name */
export function packed(kind: string, shapes: Record<string, number[]>): Packed {
  const groups = groupsOf(shapes).map(({ names, shape }) => ({
    names,
    held: variable(
      `${kind}/${names[0]}${names.length > 1 ? `.and_${names.length - 1}_more` : ''}`,
      names.length > 1 ? [names.length, ...shape] : shape,
    ),
  }));
  const pieces = (values: Params): tf.Tensor[] =>
    groups.map(({ names }) => {
      const tensors = names.map((name) => values[name] as tf.Tensor);
      return tensors.length > 1 ? tf.stack(tensors) : (tensors[0] as tf.Tensor);
    });
  return {
    variables: groups.map(({ held }) => held),
    pieces,
    read: () =>
      Object.fromEntries(
        groups.flatMap(({ names, held }) => {
          const tensors = names.length > 1 ? tf.unstack(held.read()) : [held.read()];
          return names.map((name, i) => [name, tensors[i] as tf.Tensor]);
        }),
      ),
    assign(values) {
      for (const [i, piece] of pieces(values).entries()) groups[i]?.held.assign(piece);
    },
  };
}

/** Names whose tensors are one variable. */
function groupsOf(shapes: Record<string, number[]>): { names: string[]; shape: number[] }[] {
  const groups = new Map<string, { names: string[]; shape: number[] }>();
  for (const [name, shape] of Object.entries(shapes)) {
    const isSmall = shape.filter((size) => size > 1).length <= 1 || tf.util.sizeFromShape(shape) <= SMALL;
    const key = isSmall ? `${shape}` : name;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { names: [name], shape });
    else group.names.push(name);
  }
  return [...groups.values()];
}
