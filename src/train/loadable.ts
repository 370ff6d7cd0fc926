/** A model's parameters as variables of a program that only computes with them: filled at once, as often as wanted. */
import * as tf from '@tensorflow/tfjs-core';
import { type Params, paramsFrom, type Values } from '../model/params.js';
import type { ModelShape } from '../model/sizes.js';
import type { VariantName } from '../model/variants.js';
import { type Feed, float32, type TensorSpec, type TracedFunction, traced } from '../trace/function.js';
import { packed } from './packed.js';
import type { TrainerMode } from './trainer.js';
import { shapesOf } from './variables.js';

export interface Loadable {
  shape: ModelShape;
  /** For use inside the program's functions. */
  read(): Params;
  /** The entry point that fills the variables, to be a part of the program. */
  load: TracedFunction<Record<string, TensorSpec>, never>;
  /** Fills them. @param run that entry point of the program */
  fill(run: (feeds: Record<string, Feed>) => unknown, values: Values): void;
}

/** @param name unique in its program */
export function loadable(name: string, shape: ModelShape, variant: VariantName, mode: TrainerMode): Loadable {
  const shapes = shapesOf(shape, variant);
  const held = packed(name, shapes, mode !== 'eager', false);
  const specs = Object.fromEntries(Object.entries(shapes).map(([each, size]) => [each, float32(...size)]));
  return {
    shape,
    read: held.read,
    load: traced(specs, (given) => {
      held.assign(given);
      return {};
    }),
    fill(run, values) {
      const tensors = paramsFrom(shape, (each) => values[each] as Float32Array, variant);
      run(tensors);
      tf.dispose(tensors);
    },
  };
}
