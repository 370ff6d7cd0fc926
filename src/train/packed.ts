/**
 * A model's parameters, or moments, as variables of a program. In a graph small tensors of a shape are one variable
 * together, and each large matrix is one. Most of a ViT's tensors are small (biases, norms; in a small ViT everything
 * is); apart, their reads and updates would be a good part of a step's operations, though almost none of its numbers.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Params } from '../model/params.js';
import { sizeOf } from '../trace/function.js';
import { type Variable, variable } from '../trace/variable.js';

/** A variable, and the tensors that it holds one after the other. */
export interface Held {
  variable: Variable;
  /** By the tensors' names outside: `params/head.weight`. */
  tensors: { name: string; shape: readonly number[] }[];
}

export interface Packed {
  /** In the order of `pieces`. */
  variables: Variable[];
  held: Held[];
  /** What each variable holds, made from a tensor for each name. */
  pieces(values: Params): tf.Tensor[];
  /** A tensor for each name, from the variables. */
  read(): Params;
  assign(values: Params): void;
}

/** Elements up to which matrices of a shape lie together: copying more would cost more than an operation does. */
const SMALL = 16_384;

/**
 * @param kind     goes before the variables' names
 * @param shapes   by name
 * @param together whether small tensors of a shape are one variable
 * @param inProducts whether large matrices are read by products; moments are not
 * @param outside  goes before the tensors' names outside, where that is another word
 */
export function packed(
  kind: string,
  shapes: Record<string, readonly number[]>,
  together: boolean,
  inProducts: boolean,
  outside = kind,
): Packed {
  const groups = groupsOf(shapes, together).map(({ names, shape }) => ({
    names,
    variable: variable(
      `${kind}/${names[0]}${names.length > 1 ? `.and_${names.length - 1}_more` : ''}`,
      names.length > 1 ? [names.length, ...shape] : shape,
      inProducts && names.length === 1 && shape.length === 2,
    ),
    tensors: names.map((name) => ({ name: `${outside}/${name}`, shape })),
  }));
  const pieces = (values: Params): tf.Tensor[] =>
    groups.map(({ names }) => {
      const tensors = names.map((name) => values[name] as tf.Tensor);
      return tensors.length > 1 ? tf.stack(tensors) : (tensors[0] as tf.Tensor);
    });
  return {
    variables: groups.map(({ variable }) => variable),
    held: groups,
    pieces,
    read: () =>
      Object.fromEntries(
        groups.flatMap(({ names, variable }) => {
          const tensors = names.length > 1 ? tf.unstack(variable.read()) : [variable.read()];
          return names.map((name, i) => [name, tensors[i] as tf.Tensor]);
        }),
      ),
    assign(values) {
      for (const [i, piece] of pieces(values).entries()) groups[i]?.variable.assign(piece);
    },
  };
}

/** Names whose tensors are one variable. */
function groupsOf(
  shapes: Record<string, readonly number[]>,
  together: boolean,
): { names: string[]; shape: readonly number[] }[] {
  const groups = new Map<string, { names: string[]; shape: readonly number[] }>();
  for (const [name, shape] of Object.entries(shapes)) {
    const isSmall = shape.filter((size) => size > 1).length <= 1 || sizeOf(shape) <= SMALL;
    const key = together && isSmall ? `${shape}` : name;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { names: [name], shape });
    else group.names.push(name);
  }
  return [...groups.values()];
}
