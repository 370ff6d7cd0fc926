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
export const variable = (name: string, shape: readonly number[], inProducts = false): Variable => ({
  name,
  shape,
  inProducts,
  read: () => memory().read({ name, shape, inProducts }),
  assign(value) {
    requireLike({ name, shape }, value);
    memory().assign({ name, shape, inProducts }, value);
  },
  assignAdd(value) {
    requireLike({ name, shape }, value);
    memory().assignAdd({ name, shape, inProducts }, value);
  },
});

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

function requireLike({ name, shape }: Omit<NameAndShape, 'inProducts'>, value: tf.Tensor): void {
  if (value.dtype === 'float32' && `${value.shape}` === `${shape}`) return;
  throw new TraceError(`variable ${name} is [${shape}] float32, and was assigned [${value.shape}] ${value.dtype}`);
}
