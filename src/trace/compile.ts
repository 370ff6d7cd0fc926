/**
 * "tf.function for Node": functions written with TensorFlow.js operations become one TensorFlow graph, and each call of
 * them one native call. Phases: trace (the functions run once, on tensors without values) → graph → load → call. See
 * docs/compiled-step.md.
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
  type TracedFunction,
} from './function.js';
import { addConstant, addNode, type ElementType, emptyGraph, type Graph, type Output } from './graph.js';
import { ordered } from './order.js';
import { asTensor, emptyRecording, outputOf, type Recording, type RecordingOptions, record } from './recorder.js';
import { openSession, type Session } from './session.js';

/**
 * @param functions entry points by name; variables that they use in common are common to them
 * @param options   `precision` of matrix products: inputs are cast to it, results back to float32; `fused`: whether the
 *   operations of trace/fused.ts may be used, `openblas`: whether float32 products are by OpenBLAS; their addon must be loaded
 * @throws TraceError when a function does what a graph cannot hold; Error when TensorFlow refuses the graph
 */
export function compile<F extends Functions>(
  functions: F,
  { precision = 'float32', fused = false, openblas = false }: Partial<RecordingOptions> = {},
): Program<F> {
  const started = performance.now();
  const graph = emptyGraph();
  const entries = Object.entries(functions).map(([name, each]) =>
    trace(graph, name, each as AnyFunction, { precision, fused, openblas }),
  );
  const loading = performance.now();
  const session = openSession(graph);
  return {
    run: Object.fromEntries(
      entries.map((entry) => [entry.name, (feeds: Record<string, Feed>) => call(session, entry, feeds)]),
    ) as {
      [K in keyof F]: Call<F[K]>;
    },
    phases: {
      traceMs: loading - started,
      loadMs: performance.now() - loading,
      nodes: graph.nodes.size,
      graphBytes: session.graphBytes,
    },
    dispose: session.dispose,
  };
}

type AnyFunction = TracedFunction<Specs, string>;

interface Entry {
  name: string;
  inputs: Specs;
  /** Inputs that the function uses, with their nodes. */
  fed: [input: string, node: Output][];
  outputs: [output: string, node: Output][];
  /** Waits for the updates of variables. */
  done: Output;
}

/** Runs one function on tensors without values; its nodes land in the graph. */
function trace(graph: Graph, name: string, { inputs, body }: AnyFunction, options: RecordingOptions): Entry {
  const recording = emptyRecording(graph, name, options);
  return record(recording, () => {
    const placeholders = Object.entries(inputs).map(([input, spec]) => ({
      input,
      ...placeholder(recording, input, spec),
    }));
    const results = body(Object.fromEntries(placeholders.map(({ input, tensor }) => [input, tensor])));
    if (results instanceof Promise)
      throw new TraceError(`${name} returns a promise: a traced function must return tensors at once`);
    const outputs = Object.entries(results).map(([output, x]): [string, Output] => [
      output,
      identity(recording, `outputs/${output}`, x),
    ]);
    const nothing = addConstant(graph, 'bool', [], Uint8Array.of(1));
    const done = addNode(graph, name, 'Identity', [nothing], { T: { type: 'bool' } }, 'done');
    const updates = ordered(recording, [done, ...outputs.map(([, node]) => node)]);
    graph.nodes.get(done)?.after.push(...updates);
    const fed = placeholders
      .filter(({ node }) => graph.nodes.has(node))
      .map(({ input, node }): [string, Output] => [input, node]);
    return { name, inputs, fed, outputs, done };
  });
}

/** The named input, and the tensor that the function sees. */
function placeholder(
  { graph, scope, bytes }: Recording,
  input: string,
  { dtype, shape }: TensorSpec,
): { node: Output; tensor: tf.Tensor } {
  const add = (op: string, inputs: Output[], attributes: Parameters<typeof addNode>[4], name?: string): Output =>
    addNode(graph, scope, op, inputs, attributes, name);
  const take = (type: ElementType, size: readonly number[]): Output =>
    add('Placeholder', [], { dtype: { type }, shape: { shape: size } }, `inputs/${input}`);
  if (dtype !== 'bytes') {
    const node = take(dtype, shape);
    return { node, tensor: asTensor(node, shape, dtype) };
  }
  // TensorFlow.js has no bytes, and feeding TensorFlow's goes through JavaScript element by element; whole words of
  // four bytes do not.
  const size = tf.util.sizeFromShape([...shape]);
  const ints = (...values: number[]): Output =>
    addConstant(graph, 'int32', [values.length], new Uint8Array(Int32Array.from(values).buffer));
  const INT32 = { type: 'int32' } as const;
  const node = take('int32', [Math.ceil(size / 4)]);
  const quads = add('Bitcast', [node], { T: INT32, type: { type: 'uint8' } });
  const flat = add('Reshape', [quads, ints(-1)], { T: { type: 'uint8' }, Tshape: INT32 });
  const exact =
    size % 4 === 0 ? flat : add('Slice', [flat, ints(0), ints(size)], { T: { type: 'uint8' }, Index: INT32 });
  const shaped = add('Reshape', [exact, ints(...shape)], { T: { type: 'uint8' }, Tshape: INT32 });
  const tensor = asTensor(add('Cast', [shaped], { SrcT: { type: 'uint8' }, DstT: INT32 }), shape, 'int32');
  bytes.set(outputOf(tensor), shaped);
  return { node, tensor };
}

function identity({ graph, scope }: Recording, name: string, x: tf.Tensor): Output {
  if (x.dtype === 'string' || x.dtype === 'complex64')
    throw new TraceError(`a graph has no tensors of dtype ${x.dtype}`);
  return addNode(graph, scope, 'Identity', [outputOf(x)], { T: { type: x.dtype } }, name);
}

function call(
  session: Session,
  { name, inputs, fed, outputs, done }: Entry,
  feeds: Record<string, Feed>,
): Record<string, tf.Tensor> {
  requireFeeds(name, inputs, feeds);
  const made: tf.Tensor[] = [];
  try {
    const tensors = fed.map(([input, output]) => {
      const feed = feeds[input] as Feed;
      const tensor = feed instanceof tf.Tensor ? feed : toTensor(feed, inputs[input] as TensorSpec);
      if (tensor !== feed) made.push(tensor);
      return { output, tensor };
    });
    const [ran, ...found] = session.run(tensors, [done, ...outputs.map(([, node]) => node)]);
    ran?.dispose();
    return Object.fromEntries(outputs.map(([output], i) => [output, found[i] as tf.Tensor]));
  } finally {
    tf.dispose(made);
  }
}

function toTensor(feed: Exclude<Feed, tf.Tensor>, { dtype, shape }: TensorSpec): tf.Tensor {
  if (typeof feed === 'number') return tf.scalar(feed, dtype as 'float32' | 'int32');
  if (dtype !== 'bytes') return tf.tensor(feed, [...shape], dtype);
  return tf.tensor(words(feed as Uint8Array), [Math.ceil(feed.length / 4)], 'int32');
}

/** The same bytes as words of four; a copy only where length or place do not divide by 4. */
function words(bytes: Uint8Array): Int32Array {
  const count = Math.ceil(bytes.length / 4);
  if (bytes.length % 4 === 0 && bytes.byteOffset % 4 === 0)
    return new Int32Array(bytes.buffer, bytes.byteOffset, count);
  const padded = new Uint8Array(count * 4);
  padded.set(bytes);
  return new Int32Array(padded.buffer);
}
