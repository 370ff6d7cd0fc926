/**
 * The state of a trainer as named tensors on the host, one at a time: a model with moments and averages is several
 * times as large as the model, and is never held twice.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Feed } from '../trace/function.js';
import { sizeOf } from '../trace/function.js';
import type { WriteEntryPoint } from './entry-points.js';
import type { Model } from './model.js';
import type { Held } from './packed.js';

export interface NamedValue {
  /** `params/head.weight`, `first/head.weight`, `attention/3/norms`, `sums`, … */
  name: string;
  shape: readonly number[];
  /** Reads the value (host sync). */
  data(): Float32Array;
}

/** A value as `restore` takes it. */
export type Given = Pick<NamedValue, 'name' | 'data'>;

export interface Snapshot {
  values: NamedValue[];
  /** Until then a step that changes a variable has to copy it first. */
  dispose(): void;
}

/** @param found the variables' values by their names, which the snapshot owns */
export function snapshotOf(groups: Record<string, Held[]>, found: Record<string, tf.Tensor>): Snapshot {
  const shared = new Map<string, Float32Array>(); // of variables that hold several small tensors
  const read = (name: string, tensors: number): Float32Array => {
    const data = shared.get(name) ?? ((found[name] as tf.Tensor).dataSync() as Float32Array);
    if (tensors > 1) shared.set(name, data);
    return data;
  };
  return {
    values: Object.values(groups).flatMap((held) =>
      held.flatMap(({ variable, tensors }) =>
        tensors.map(({ name, shape }, i) => ({
          name,
          shape,
          data: () => read(variable.name, tensors.length).subarray(i * sizeOf(shape), (i + 1) * sizeOf(shape)),
        })),
      ),
    ),
    dispose() {
      shared.clear();
      tf.dispose(found);
    },
  };
}

type Run = Record<string, (feeds: Record<string, Feed>) => unknown>;

/**
 * Fills variables from named values.
 * @returns the kinds that were filled
 * @throws Error for a name that the program does not have, and for a kind of which a part is missing
 */
export function fill(writers: Record<string, WriteEntryPoint>, run: Run, values: Iterable<Given>): Set<string> {
  const given = new Map([...values].map(({ name, data }) => [name, data]));
  const kinds = new Set([...given.keys()].map(kindOf));
  const known = new Set<string>();
  for (const [writer, { held }] of Object.entries(writers)) {
    if (!kinds.has(kindOf(writer.slice('write/'.length)))) continue;
    const feeds = held.map(({ variable, tensors }): [string, tf.Tensor] => {
      const pieces = tensors.map(({ name, shape }) => {
        const piece = given.get(name)?.();
        if (piece === undefined) throw new Error(`the state lacks ${name}`);
        if (piece.length !== sizeOf(shape)) throw new Error(`${name} has ${piece.length} values, not [${shape}]`);
        known.add(name);
        return piece;
      });
      return [variable.name, tf.tensor(joined(pieces), [...variable.shape], 'float32')];
    });
    run[writer]?.(Object.fromEntries(feeds));
    tf.dispose(feeds.map(([, tensor]) => tensor));
  }
  const unknown = [...given.keys()].find((name) => !known.has(name));
  if (unknown !== undefined) throw new Error(`the trainer has no variable for ${unknown}`);
  return kinds;
}

/** `first/head.weight` → `first` */
const kindOf = (name: string): string => name.split('/', 1)[0] as string;

/** The pieces, one behind the other. */
export function joined(pieces: Float32Array[]): Float32Array {
  if (pieces.length === 1) return pieces[0] as Float32Array;
  const whole = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** What evaluation reads of a state: parameters, their moving averages where they are kept, and attention state. */
export interface EvaluatedModel {
  read(name: string): Float32Array;
  attention: Model['attention'];
}

/** The kinds of state that it lies in. */
export const EVALUATED = ['params', 'ema', 'attention'] as const;

export function evaluatedModel({ values }: Snapshot, depth: number): EvaluatedModel {
  const byName = new Map(values.map(({ name, data }) => [name, data]));
  const attention: Model['attention'] = Array.from({ length: depth }, () => ({}));
  for (const { name, data } of values) {
    const [kind, layer, vector] = name.split('/') as [string, string, string];
    if (kind === 'attention') (attention[Number(layer)] as Record<string, number[]>)[vector] = Array.from(data());
  }
  return {
    read(name) {
      const data = byName.get(`ema/${name}`) ?? byName.get(`params/${name}`);
      if (data === undefined) throw new Error(`the state has no ${name}`);
      return data();
    },
    attention,
  };
}

/** A model as `restore` takes it. */
export const modelEntries = ({ values, attention }: Pick<Model, 'values' | 'attention'>): Given[] => [
  ...entriesOf('params', values),
  ...attentionEntries(attention),
];

/** A teacher's parameters as `restore` takes them. */
export const teacherEntries = (values: Model['values']): Given[] => entriesOf('teacher', values);

/** Attention state as `restore` takes it. */
export const attentionEntries = (attention: Model['attention']): Given[] =>
  attention.flatMap((block, i) =>
    Object.entries(block).map(([name, vector]) => ({
      name: `attention/${i}/${name}`,
      data: () => Float32Array.from(vector),
    })),
  );

const entriesOf = (kind: string, values: Model['values']): Given[] =>
  Object.entries(values).map(([name, data]) => ({ name: `${kind}/${name}`, data: () => data }));
