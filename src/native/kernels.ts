/**
 * What TensorFlow.js 4.22 lacks or has wrong among the operations used here, put right in its registries. Gradients
 * count for every backend, kernels for wasm. test/native/kernels.test.ts has one case for each; a line can go when its
 * case passes without it.
 */

import * as tf from '@tensorflow/tfjs-core';
import { registerWasmMatMul } from './wasm-matmul.js';

const COMPARISONS = ['Equal', 'NotEqual', 'Greater', 'GreaterEqual', 'Less', 'LessEqual', 'LogicalAnd', 'LogicalOr'];

export function registerGradients(): void {
  replaceGradient({ kernelName: 'BatchMatMul', inputsToSave: ['a', 'b'], gradFunc: matMulGradient });
  // A condition computed from a trained value stops tfjs ("gradient function not found for Greater"), though its
  // derivative is simply 0.
  for (const kernelName of COMPARISONS) {
    replaceGradient({
      kernelName,
      inputsToSave: ['a', 'b'],
      gradFunc: (_dy, saved) => ({ a: () => floatZeros(saved[0]!), b: () => floatZeros(saved[1]!) }),
    });
  }
}

/** The wasm backend must have been started. */
export function registerWasmKernels(): void {
  registerWasmMatMul();
  correctOneHot();
}

/**
 * tfjs's own gradient of matMul has the product's batch dimensions, also for a side that was broadcast along them, and
 * stops with "does not match the shape of the input". Here the broadcast dimensions are summed.
 */
function matMulGradient(
  dyOrArray: tf.Tensor | tf.Tensor[],
  saved: tf.Tensor[],
  attrs: tf.NamedAttrMap,
): { a: () => tf.Tensor; b: () => tf.Tensor } {
  const dy = dyOrArray as tf.Tensor;
  const [a, b] = saved as [tf.Tensor, tf.Tensor];
  const { transposeA, transposeB } = attrs as { transposeA: boolean; transposeB: boolean };
  return {
    a: () => sumTo(transposeA ? tf.matMul(b, dy, transposeB, true) : tf.matMul(dy, b, false, !transposeB), a.shape),
    b: () => sumTo(transposeB ? tf.matMul(dy, a, true, transposeA) : tf.matMul(a, dy, !transposeA, false), b.shape),
  };
}

/** Sums over the dimensions along which `shape` was broadcast to x's. */
function sumTo(x: tf.Tensor, shape: number[]): tf.Tensor {
  const axes = tf.broadcast_util.getReductionAxes(shape, x.shape);
  return axes.length === 0 ? x : tf.reshape(tf.sum(x, axes), shape);
}

function floatZeros(x: tf.Tensor): tf.Tensor {
  return tf.zeros(x.shape, 'float32');
}

function replaceGradient(config: tf.GradConfig): void {
  if (tf.getGradient(config.kernelName) !== undefined) tf.unregisterGradient(config.kernelName);
  tf.registerGradient(config);
}

/** On wasm oneHot with dtype float32 writes the integer 1 into float memory (1.4e-45): it is made as int32 and cast. */
function correctOneHot(): void {
  const original = tf.getKernel('OneHot', 'wasm');
  const cast = tf.getKernel('Cast', 'wasm').kernelFunc;
  tf.unregisterKernel('OneHot', 'wasm');
  tf.registerKernel({
    ...original,
    kernelFunc: ({ inputs, backend, attrs }) => {
      const dtype = attrs?.dtype as tf.DataType;
      const x = original.kernelFunc({ inputs, backend, attrs: { ...attrs, dtype: 'int32' } }) as tf.TensorInfo;
      if (dtype === 'int32') return x;
      const converted = cast({ inputs: { x }, backend, attrs: { dtype } });
      (backend as tf.KernelBackend).disposeData(x.dataId);
      return converted;
    },
  });
}
