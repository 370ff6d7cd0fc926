/**
 * Matrix products for the wasm backend. Its own kernel takes the fast routine (XNNPACK) only for two plain matrices;
 * with a transposed side or several matrices it falls to nested loops, 4 to 30 times slower, and it cannot broadcast
 * batch dimensions of which neither side has all. Here a transposed side is transposed first, and each matrix of the
 * batch is handed to the fast routine as a view of the wasm heap, without a copy.
 */

import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';

type Product = (
  a: number,
  aShape: Uint8Array,
  aRank: number,
  b: number,
  bShape: Uint8Array,
  bRank: number,
  ta: boolean,
  tb: boolean,
  out: number,
) => void;

/** Emscripten's way to a C function by name, which the package's types leave out. */
interface Emscripten {
  cwrap(name: string, returns: null, parameters: string[]): unknown;
}

/**
 * Replaces the wasm backend's `BatchMatMul`; the backend must have been started. Results equal the replaced kernel's up
 * to the order of the sums.
 */
export function registerWasmMatMul(): void {
  const product = ((tf.backend() as BackendWasm).wasm as unknown as Emscripten).cwrap('BatchMatMul', null, [
    'number',
    'array',
    'number',
    'number',
    'array',
    'number',
    'number',
    'number',
    'number',
  ]) as Product;
  tf.unregisterKernel('BatchMatMul', 'wasm');
  tf.registerKernel({
    kernelName: 'BatchMatMul',
    backendName: 'wasm',
    kernelFunc: ({ inputs, backend, attrs }) => {
      const { transposeA, transposeB } = attrs as { transposeA: boolean; transposeB: boolean };
      return batchMatMul(
        inputs.a as tf.TensorInfo,
        inputs.b as tf.TensorInfo,
        transposeA,
        transposeB,
        backend as BackendWasm,
        product,
      );
    },
  });
}

/**
 * @param a [..., M, K] float32, or [..., K, M] with transposeA; `b` [..., K, N] or [..., N, K]; batch dimensions
 *   broadcast
 * @returns [..., M, N] float32
 */
function batchMatMul(
  a: tf.TensorInfo,
  b: tf.TensorInfo,
  transposeA: boolean,
  transposeB: boolean,
  backend: BackendWasm,
  product: Product,
): tf.TensorInfo {
  if (a.dtype !== 'float32' || b.dtype !== 'float32')
    throw new Error(`matMul on wasm takes float32, found ${a.dtype} and ${b.dtype}`);
  const left = transposeA ? transposeLast(a, backend) : a;
  const right = transposeB ? transposeLast(b, backend) : b;
  const [m, k] = left.shape.slice(-2) as [number, number];
  const [innerB, n] = right.shape.slice(-2) as [number, number];
  if (k !== innerB) throw new Error(`matMul: inner sizes differ, ${k} of [${a.shape}] and ${innerB} of [${b.shape}]`);
  const batch = tf.broadcast_util.assertAndGetBroadcastShape(left.shape.slice(0, -2), right.shape.slice(0, -2));
  const out = backend.makeOutput([...batch, m, n], 'float32');

  // Each product is described by where its matrices start, counted in floats.
  const run = (rows: number, leftStart: number, rightStart: number, outStart: number): void => {
    const a = view(backend, left, leftStart, [1, rows, k]);
    const b = view(backend, right, rightStart, [1, k, n]);
    const c = view(backend, out, outStart, [1, rows, n]);
    product(a.id, a.shape, 3, b.id, b.shape, 3, false, false, c.id);
    for (const name of [a, b, c]) forget(backend, name);
  };
  const matrices = tf.util.sizeFromShape(batch);
  if (matrices * m * k * n === 0) {
    backend.typedArrayFromHeap(out).fill(0); // an empty sum is 0
  } else if (tf.util.sizeFromShape(right.shape.slice(0, -2)) === 1) {
    // one right matrix: all left matrices are the rows of a single product, which packs that matrix once
    run(matrices * m, 0, 0, 0);
  } else {
    const leftIndex = batchIndex(left.shape.slice(0, -2), batch);
    const rightIndex = batchIndex(right.shape.slice(0, -2), batch);
    for (let i = 0; i < matrices; i++) run(m, leftIndex[i]! * m * k, rightIndex[i]! * k * n, i * m * n);
  }
  if (left !== a) backend.disposeData(left.dataId);
  if (right !== b) backend.disposeData(right.dataId);
  return out;
}

function transposeLast(x: tf.TensorInfo, backend: BackendWasm): tf.TensorInfo {
  const rank = x.shape.length;
  const perm = [...x.shape.keys()].slice(0, -2).concat(rank - 1, rank - 2);
  return tf.getKernel('Transpose', 'wasm').kernelFunc({ inputs: { x }, backend, attrs: { perm } }) as tf.TensorInfo;
}

interface View {
  dataId: object;
  id: number;
  /** As the C function takes it: int32 values in bytes. */
  shape: Uint8Array;
}

/** A part of a tensor's memory under a name of its own. */
function view(backend: BackendWasm, of: tf.TensorInfo, start: number, shape: number[]): View {
  const { dataId } = backend.makeOutput(
    shape,
    'float32',
    backend.getMemoryOffset(of.dataId) + start * Float32Array.BYTES_PER_ELEMENT,
  );
  return { dataId, id: backend.dataIdMap.get(dataId).id, shape: new Uint8Array(new Int32Array(shape).buffer) };
}

/** Drops the name, and what XNNPACK packed for it; disposeData would free memory that belongs to the viewed tensor. */
function forget(backend: BackendWasm, { dataId, id }: View): void {
  backend.wasm.tfjs.disposeData(id);
  backend.dataIdMap.delete(dataId);
}

/** For each matrix of the output batch, in order, which matrix of an operand with batch dimensions `shape` it reads. */
function batchIndex(shape: number[], batch: number[]): Int32Array {
  const padded = [...Array<number>(batch.length - shape.length).fill(1), ...shape];
  const index = new Int32Array(tf.util.sizeFromShape(batch));
  for (let i = 0; i < index.length; i++) {
    let rest = i;
    let stride = 1;
    for (let axis = batch.length - 1; axis >= 0; axis--) {
      const position = rest % batch[axis]!;
      rest = (rest - position) / batch[axis]!;
      if (padded[axis] !== 1) index[i]! += position * stride;
      stride *= padded[axis]!;
    }
  }
  return index;
}
