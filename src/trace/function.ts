/**
 * Functions of tensors with named inputs and outputs, which are compiled (compile.ts) or run as they are
 * (interpret.ts).
 */
import * as tf from '@tensorflow/tfjs-core';
import { TraceError } from './error.js';

export interface TensorSpec {
  /** `bytes`: 0–255, fed as a Uint8Array and seen by the function as int32. They cross to the device as bytes. */
  dtype: 'float32' | 'int32' | 'bool' | 'bytes';
  shape: readonly number[];
}

export type Specs = Record<string, TensorSpec>;

/** A tensor of the spec's shape and dtype, a typed array of its elements, or a number for a scalar. */
export type Feed = tf.Tensor | Float32Array | Int32Array | Uint8Array | number;

export interface TracedFunction<I extends Specs, O extends string> {
  inputs: I;
  body: (inputs: { [K in keyof I]: tf.Tensor }) => { [K in O]: tf.Tensor };
}

export const float32 = (...shape: number[]): TensorSpec => ({ dtype: 'float32', shape });
export const int32 = (...shape: number[]): TensorSpec => ({ dtype: 'int32', shape });
export const bool = (...shape: number[]): TensorSpec => ({ dtype: 'bool', shape });
export const bytes = (...shape: number[]): TensorSpec => ({ dtype: 'bytes', shape });

/**
 * A function for `compile`, which runs it once, when it is traced, or for `interpret`, which runs it at every call. It
 * must return its results at once, not as a promise.
 */
export function traced<I extends Specs, O extends string = never>(
  inputs: I,
  body: TracedFunction<I, O>['body'],
): TracedFunction<I, O> {
  return { inputs, body };
}

/** Functions of different inputs side by side. */
export type Functions = Record<string, { inputs: Specs; body: (inputs: never) => Record<string, tf.Tensor> }>;

export type Call<F> =
  F extends TracedFunction<infer I, infer O> ? (feeds: { [K in keyof I]: Feed }) => { [K in O]: tf.Tensor } : never;

export interface Program<F extends Functions> {
  /** Each entry point; the caller owns the tensors returned (a surrounding `tf.tidy` takes them). */
  run: { [K in keyof F]: Call<F[K]> };
  phases: { traceMs: number; loadMs: number; nodes: number; graphBytes: number };
  /** Frees graph and variables. */
  dispose(): void;
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/**
 * Whether feeds are what a function asks for.
 * @throws TraceError that shows both
 */
export function requireFeeds(name: string, inputs: Specs, feeds: Record<string, Feed>): void {
  const wanted = signature(Object.entries(inputs));
  const given = signature(Object.entries(feeds).map(([input, feed]) => [input, specOf(feed, inputs[input])]));
  if (wanted !== given) throw new TraceError(`${name} takes (${wanted}), and was called with (${given})`);
}

/** Inputs by name, so that the order in which they are given does not matter. */
const signature = (specs: [string, TensorSpec][]): string =>
  specs
    .map(([input, { dtype, shape }]) => `${input}: ${dtype} [${shape.join(', ')}]`)
    .sort()
    .join('; ');

/** A feed's own spec; elements without a shape take the wanted one if they are as many. */
function specOf(feed: Feed, wanted: TensorSpec | undefined): TensorSpec {
  if (feed instanceof tf.Tensor) return { dtype: feed.dtype as TensorSpec['dtype'], shape: feed.shape };
  if (typeof feed === 'number') return { dtype: wanted?.dtype === 'int32' ? 'int32' : 'float32', shape: [] };
  const bytesOrBool = wanted?.dtype === 'bool' ? 'bool' : 'bytes';
  const dtype = feed instanceof Float32Array ? 'float32' : feed instanceof Int32Array ? 'int32' : bytesOrBool;
  const fits = wanted !== undefined && sizeOf(wanted.shape) === feed.length;
  return { dtype, shape: fits ? wanted.shape : [feed.length] };
}
