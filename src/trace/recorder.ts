/**
 * A TensorFlow.js backend that computes nothing: its kernels append nodes to a graph, and its tensors stand for outputs
 * of nodes. Gradients need no word here: TensorFlow.js's own tape records them, as operations like all others.
 */
import * as tf from '@tensorflow/tfjs-core';
import { callSite, TraceError } from './error.js';
import { type Attribute, addConstant, addNode, type ElementType, type Graph, type Output } from './graph.js';
import { RULES } from './ops.js';
import type { Emitter } from './rule.js';

/** The precision of matrix products; everything else is float32 whatever it is. */
export type Precision = 'float32' | 'bfloat16' | 'float16';

/** Operations that another precision concerns: their inputs are cast to it, and what comes out is cast back. */
const IN_PRECISION = new Set(['MatMul', 'BatchMatMulV2']);

/** How a function met a variable, in the order in which it did. */
export interface Access {
  kind: 'read' | 'update';
  node: string;
}

/** What one function's recording gathers. */
export interface Recording {
  graph: Graph;
  /** The function's name, which goes before the names of its nodes. */
  scope: string;
  /** By the variable's name. */
  accesses: Map<string, Access[]>;
  /** What each variable holds at this point of the function, where that is the output of a node. */
  values: Map<string, Output>;
  /**
   * For tensors made from bytes, which TensorFlow.js sees as int32: the bytes themselves, so that casts start from
   * there.
   */
  bytes: Map<Output, Output>;
  /** In another precision than float32: for outputs that were cast to it, or came from it, those there. */
  lowered: Map<Output, Output>;
  precision: Precision;
  /** Whether the fused operations of this project (trace/fused.ts) may be used. */
  fused: boolean;
  /** Whether products of float32 matrices are this project's operation, by OpenBLAS, instead of TensorFlow's. */
  openblas: boolean;
}

/** What a graph is recorded for. */
export type RecordingOptions = Pick<Recording, 'precision' | 'fused' | 'openblas'>;

export const emptyRecording = (graph: Graph, scope: string, options: RecordingOptions): Recording => ({
  graph,
  scope,
  ...options,
  lowered: new Map(),
  accesses: new Map(),
  values: new Map(),
  bytes: new Map(),
});

/**
 * Runs `body` with the recording backend in place; whatever it computes lands in the recording. The previous backend is
 * back afterwards, also after an error.
 * @throws TraceError for what a graph cannot hold
 */
export function record<T>(recording: Recording, body: () => T): T {
  const backend = recorder();
  const before = { backend: tf.getBackend(), random: Math.random, stackTraceLimit: Error.stackTraceLimit };
  backend.recording = recording;
  void tf.setBackend(BACKEND); // synchronous, since the backend's factory is
  Math.random = refuseRandom;
  Error.stackTraceLimit = 50; // ten frames end inside TensorFlow.js
  tf.engine().startScope();
  try {
    return body();
  } catch (error) {
    throw explained(error);
  } finally {
    tf.engine().endScope(); // tensors of the recording are gone with it, those kept by `tf.keep` excepted
    Error.stackTraceLimit = before.stackTraceLimit;
    Math.random = before.random;
    void tf.setBackend(before.backend);
    backend.recording = null;
  }
}

/** Whether a function is being recorded: TensorFlow's own kernels can be used then. */
export const isRecording = (): boolean => started !== undefined && started.recording !== null;

/** The recording in progress. @throws TraceError when there is none */
export function currentRecording(): Recording {
  const { recording } = recorder();
  if (recording === null)
    throw new TraceError('a variable of a compiled program can be read and changed inside its functions only');
  return recording;
}

/** A tensor of the recording backend for an output of the graph. */
export function asTensor(output: Output, shape: readonly number[], dtype: tf.DataType): tf.Tensor {
  return tf.engine().makeTensorFromTensorInfo(recorder().stand(output, [...shape], dtype), recorder());
}

/** The graph's output that a recorded tensor stands for. @throws TraceError for tensors from elsewhere */
export const outputOf = (x: tf.TensorInfo): Output => recorder().outputOf(x);

const BACKEND = 'trace';

class Recorder extends tf.KernelBackend {
  recording: Recording | null = null;
  /** By tensors' data. */
  private readonly meanings = new WeakMap<object, { recording: Recording; output: Output }>();

  /** A tensor that stands for an output of the graph. */
  stand(output: Output, shape: number[], dtype: tf.DataType): tf.TensorInfo {
    const dataId = {};
    this.meanings.set(dataId, { recording: this.current(), output });
    return { dataId, shape, dtype };
  }

  outputOf(x: tf.TensorInfo): Output {
    const meaning = this.meanings.get(x.dataId);
    if (meaning !== undefined && meaning.recording === this.current()) return meaning.output;
    throw new TraceError(
      `a tensor from outside a compiled function was used in it, [${x.shape}] ${x.dtype}: make it an input, a variable, or create it inside`,
    );
  }

  override write(values: tf.BackendValues, shape: number[], dtype: tf.DataType): object {
    const output = addConstant(this.current().graph, dtype as ElementType, shape, bytesOf(values, dtype));
    return this.stand(output, shape, dtype).dataId;
  }

  override readSync(): tf.BackendValues {
    throw new TraceError(
      'host read inside a compiled function: a traced tensor has no value yet; return it, or compute with tensors',
    );
  }

  override async read(): Promise<tf.BackendValues> {
    return this.readSync();
  }

  override move(): void {
    throw new TraceError(
      'a tensor from outside a compiled function was used in it: make it an input, a variable, or create it inside',
    );
  }

  current(): Recording {
    if (this.recording === null) throw new TraceError('a traced tensor was used outside its compiled function');
    return this.recording;
  }

  // Tensors here own nothing, so there is nothing to count or free.
  override disposeData(): boolean {
    return true;
  }
  override refCount(): number {
    return 1;
  }
  override incRef(): void {}
  override numDataIds(): number {
    return 0;
  }
  override memory(): { unreliable: boolean } {
    return { unreliable: true };
  }
  override floatPrecision(): 16 | 32 {
    return 32;
  }
  override epsilon(): number {
    return 1e-7; // float32's, as in every backend with 32 bits
  }
  override dispose(): void {}
}

let started: Recorder | undefined;

/** The backend, registered with its kernels when it is first needed. */
function recorder(): Recorder {
  if (started !== undefined) return started;
  const backend = new Recorder();
  tf.registerBackend(BACKEND, () => backend, 0);
  for (const [kernelName, rule] of Object.entries(RULES)) {
    const kernelFunc: tf.KernelFunc = ({ inputs, attrs }) => rule(inputs, attrs ?? {}, emit(backend));
    tf.registerKernel({ kernelName, backendName: BACKEND, kernelFunc });
  }
  started = backend;
  return backend;
}

function emit(backend: Recorder): Emitter {
  const recording = backend.current();
  const { graph, scope, bytes, precision } = recording;
  const add = (op: string, inputs: tf.TensorInfo[], attributes: Record<string, Attribute>): Output => {
    const outputs = inputs.map((x) => backend.outputOf(x));
    return addNode(graph, scope, op, outputs, attributes);
  };
  const constant = (values: Float32Array | Int32Array, shape: number[]): tf.TensorInfo => {
    const dtype = values instanceof Float32Array ? 'float32' : 'int32';
    return backend.stand(addConstant(graph, dtype, shape, bytesOf(values, dtype)), shape, dtype);
  };
  return {
    node(op, inputs, attributes, shape, dtype) {
      if (
        recording.openblas &&
        op === 'MatMul' &&
        precision === 'float32' &&
        dtype === 'float32' &&
        hasLargeWeights(inputs, attributes)
      )
        return backend.stand(add('GqaProduct', inputs, attributes), shape, dtype);
      if (precision === 'float32' || dtype !== 'float32' || !IN_PRECISION.has(op))
        return backend.stand(add(op, inputs, attributes), shape, dtype);
      const inPrecision = inputs.map((x) => lowered(recording, backend.outputOf(x)));
      const product = addNode(graph, scope, op, inPrecision, { ...attributes, T: { type: precision } });
      return backend.stand(raised(recording, product), shape, dtype);
    },
    nodeOf(op, inputs, attributes, shapes, dtype) {
      const first = add(op, inputs, attributes);
      return shapes.map((shape, i) => backend.stand(i === 0 ? first : `${first}:${i}`, shape, dtype));
    },
    ints: (values, shape = [values.length]) => constant(Int32Array.from(values), shape),
    scalar: (value, dtype) => constant(dtype === 'float32' ? Float32Array.of(value) : Int32Array.of(value), []),
    alias: (x, shape = x.shape) => backend.stand(backend.outputOf(x), shape, x.dtype),
    asBytes(x) {
      const source = bytes.get(backend.outputOf(x));
      return source === undefined ? null : backend.stand(source, x.shape, 'int32');
    },
  };
}

/** Elements of a layer's weights from which on OpenBLAS is faster with them than oneDNN: by measurement (docs/compiled-step.md). */
const LARGE = 2 ** 20;

/** Of a product with weights [k, n], with their transpose, or (`transpose_a`) whose result is their gradient. */
function hasLargeWeights([a, b]: readonly tf.TensorInfo[], attributes: Record<string, Attribute>): boolean {
  const isGradient = (attributes.transpose_a as { bool?: boolean }).bool === true;
  const rows = isGradient ? a?.shape[1] : b?.shape[0];
  return (rows ?? 0) * (b?.shape[1] ?? 0) >= LARGE;
}

/** The same numbers in the recording's precision: as they were made, or cast once. */
export function lowered({ graph, scope, precision, lowered: known }: Recording, output: Output): Output {
  let found = known.get(output);
  if (found === undefined) {
    found = addNode(graph, scope, 'Cast', [output], { SrcT: { type: 'float32' }, DstT: { type: precision } });
    known.set(output, found);
  }
  return found;
}

/** The float32 of an output in the recording's precision; nothing is computed where only `lowered` asks for it. */
export function raised({ graph, scope, precision, lowered: known }: Recording, output: Output): Output {
  const full = addNode(graph, scope, 'Cast', [output], { SrcT: { type: precision }, DstT: { type: 'float32' } });
  known.set(full, output);
  return full;
}

/** The values that a tensor is created from: typed arrays, or plain arrays of numbers or booleans. */
function bytesOf(values: tf.BackendValues, dtype: tf.DataType): Uint8Array {
  if (dtype === 'string' || dtype === 'complex64') throw new TraceError(`a graph has no tensors of dtype ${dtype}`);
  const numbers = values as ArrayLike<number>;
  const typed =
    dtype === 'float32'
      ? Float32Array.from(numbers)
      : dtype === 'int32'
        ? Int32Array.from(numbers)
        : Uint8Array.from(numbers);
  return new Uint8Array(typed.buffer);
}

function refuseRandom(): never {
  throw new TraceError(
    'unseeded random numbers inside a compiled function: they would be drawn once and then be the same at every call; ' +
      'use `uniform` of trace/random.ts, which is keyed by tensors, or make them an input',
  );
}

/**
 * Adds where in the caller's code it happened, and says in our words what TensorFlow.js says of a kernel that is not
 * there.
 */
function explained(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const missing = /^Kernel '(\w+)' not registered for backend 'trace'/.exec(error.message)?.[1];
  if (missing !== undefined) {
    return new TraceError(
      `operation ${missing} has no rule in trace/ops.ts, so a compiled function cannot use it${callSite(error.stack)}`,
    );
  }
  if (error instanceof TraceError) error.message += callSite(error.stack);
  return error;
}
