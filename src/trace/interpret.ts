/**
 * The same functions as compile.ts takes, run operation by operation at every call: on any backend, and for looking
 * into a step. Variables are tensors held here. A call that fails changes none of them.
 */
import * as tf from '@tensorflow/tfjs-core';
import { TraceError } from './error.js';
import {
  type Call,
  type Feed,
  type Functions,
  type Program,
  requireFeeds,
  type Specs,
  type TensorSpec,
} from './function.js';
import { type Memory, type NameAndShape, withMemory } from './variable.js';

/** @param functions entry points by name; variables that they use in common are common to them */
export function interpret<F extends Functions>(functions: F): Program<F> {
  const held = new Map<string, tf.Tensor>();
  const called = (name: string, inputs: Specs, body: (inputs: never) => Record<string, tf.Tensor>, feeds: Feeds) => {
    requireFeeds(name, inputs, feeds);
    const call: Changes = { assigned: new Map(), replaced: [] };
    try {
      const results = tf.tidy(() => {
        const given = Object.entries(inputs).map(([input, spec]) => [input, toTensor(feeds[input] as Feed, spec)]);
        const found = withMemory(memoryOf(held, call), () => body(Object.fromEntries(given) as never));
        // of their own: a result can be what a variable holds
        return Object.fromEntries(Object.entries(found).map(([output, tensor]) => [output, tensor.clone()]));
      });
      for (const [variable, value] of call.assigned) {
        held.get(variable)?.dispose();
        held.set(variable, value);
      }
      return results;
    } catch (error) {
      tf.dispose([...call.assigned.values()]);
      throw error;
    } finally {
      tf.dispose(call.replaced);
    }
  };
  return {
    run: Object.fromEntries(
      Object.entries(functions).map(([name, { inputs, body }]) => [
        name,
        (feeds: Feeds) => called(name, inputs, body, feeds),
      ]),
    ) as { [K in keyof F]: Call<F[K]> },
    phases: { traceMs: 0, loadMs: 0, nodes: 0, graphBytes: 0 },
    dispose() {
      tf.dispose([...held.values()]);
      held.clear();
    },
  };
}

type Feeds = Record<string, Feed>;

/** What a call does to variables; tensors that no tidy takes. */
interface Changes {
  assigned: Map<string, tf.Tensor>;
  /** By a later assignment of the same call, whose operations may still use them. */
  replaced: tf.Tensor[];
}

/** @param held what calls before left */
function memoryOf(held: Map<string, tf.Tensor>, { assigned, replaced }: Changes): Memory {
  const read = ({ name }: NameAndShape): tf.Tensor => {
    const value = assigned.get(name) ?? held.get(name);
    if (value === undefined) throw new TraceError(`variable ${name} is read before it was assigned`);
    return value;
  };
  const assign = ({ name }: NameAndShape, value: tf.Tensor): void => {
    const before = assigned.get(name);
    if (before !== undefined) replaced.push(before);
    assigned.set(name, tf.keep(value.clone()));
  };
  return {
    read,
    assign,
    assignAdd: (target, value) => assign(target, tf.add(read(target), value)),
    subtractScaled: (target, rate, difference) => assign(target, tf.sub(read(target), tf.mul(difference, rate))),
  };
}

function toTensor(feed: Feed, { dtype, shape }: TensorSpec): tf.Tensor {
  if (feed instanceof tf.Tensor) return feed;
  if (typeof feed === 'number') return tf.scalar(feed, dtype as 'float32' | 'int32');
  return tf.tensor(feed, [...shape], dtype === 'bytes' ? 'int32' : dtype);
}
