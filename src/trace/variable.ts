/**
 * Values that live in a program between calls and never pass through JavaScript, unless a function returns them. Where
 * they lie is the program's matter: inside the graph, or as tensors held beside the functions (interpret.ts).
 */
import type * as tf from '@tensorflow/tfjs-core';
import { TraceError } from './error.js';
import { graphMemory } from './graph-memory.js';
import { isRecording } from './recorder.js';

export interface Variable {
  readonly name: string;
  readonly shape: readonly number[];
  /**
   * Whether products read it: in a graph of fused operations in bfloat16 it then lies there in that precision too, so
   * that it is not cast at every call.
   */
  readonly inProducts: boolean;
  /** What the variable holds at this point of the function. */
  read(): tf.Tensor;
  assign(value: tf.Tensor): void;
  /** Adds in place. */
  assignAdd(value: tf.Tensor): void;
}

/** Where the variables of a program lie, as its functions see it. */
export interface Memory {
  read(variable: NameAndShape): tf.Tensor;
  assign(variable: NameAndShape, value: tf.Tensor): void;
  assignAdd(variable: NameAndShape, value: tf.Tensor): void;
  /** target ← target − rate · difference; rate is a scalar. */
  subtractScaled(target: NameAndShape, rate: tf.Tensor, difference: tf.Tensor): void;
}

export type NameAndShape = Pick<Variable, 'name' | 'shape' | 'inProducts'>;

/**
 * A float32 variable, for use inside functions of one program; it has no value until a function assigns one.
 * @param name unique in its program
 */
export function variable(name: string, shape: readonly number[], inProducts = false): Variable {
  const self: NameAndShape = { name, shape, inProducts };
  return {
    ...self,
    read: () => memory().read(self),
    assign(value) {
      requireLike(self, value);
      memory().assign(self, value);
    },
    assignAdd(value) {
      requireLike(self, value);
      memory().assignAdd(self, value);
    },
  };
}

/**
 * target ← target − rate · difference, in place.
 * @param rate scalar
 */
export const subtractScaled = (target: Variable, rate: tf.Tensor, difference: tf.Tensor): void =>
  memory().subtractScaled(target, rate, difference);

/** Of the interpreted program whose function runs. */
let held: Memory | null = null;

/** Runs a function of an interpreted program on its variables. */
export function withMemory<T>(of: Memory, body: () => T): T {
  const before = held;
  held = of;
  try {
    return body();
  } finally {
    held = before;
  }
}

function memory(): Memory {
  const found = isRecording() ? graphMemory : held;
  if (found === null) throw new TraceError('a variable of a program can be read and changed inside its functions only');
  return found;
}

function requireLike({ name, shape }: NameAndShape, value: tf.Tensor): void {
  if (value.dtype === 'float32' && `${value.shape}` === `${shape}`) return;
  throw new TraceError(`variable ${name} is [${shape}] float32, and was assigned [${value.shape}] ${value.dtype}`);
}
