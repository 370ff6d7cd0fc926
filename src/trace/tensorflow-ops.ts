/**
 * Operations that TensorFlow has and TensorFlow.js has not: one node in a compiled function, and where a function runs
 * as it is the same by other operations.
 */
import * as tf from '@tensorflow/tfjs-core';
import { addNode, nodeOf } from './graph.js';
import { asTensor, currentRecording, isRecording, outputOf } from './recorder.js';

const FLOAT = { T: { type: 'float32' } } as const;

/** Half the sum of the squares of all elements, as a scalar. */
export function halfSquaredNorm(x: tf.Tensor): tf.Tensor {
  if (!isRecording()) return tf.mul(tf.sum(tf.square(x)), 0.5);
  const { graph, scope } = currentRecording();
  return asTensor(addNode(graph, scope, 'L2Loss', [outputOf(x)], FLOAT), [], 'float32');
}

/** x · factor, and 0 where the factor is 0 whatever x is, also for infinite x and NaN. @param factor scalar */
export function timesOrZero(x: tf.Tensor, factor: tf.Tensor): tf.Tensor {
  if (!isRecording()) return tf.where(tf.equal(factor, 0), tf.zerosLike(x), tf.mul(x, factor));
  const { graph, scope } = currentRecording();
  return asTensor(addNode(graph, scope, 'MulNoNan', [outputOf(x), outputOf(factor)], FLOAT), x.shape, 'float32');
}

/**
 * x itself, but not before `ready` was computed: what depends on it is neither done early nor merged with the same done
 * elsewhere. Where operations run one by one they are in order anyway.
 */
export function after(x: tf.Tensor, ready: tf.Tensor): tf.Tensor {
  if (!isRecording()) return x;
  const { graph, scope } = currentRecording();
  const output = addNode(graph, scope, 'Identity', [outputOf(x)], { T: { type: x.dtype as 'float32' } });
  graph.nodes.get(output)?.after.push(nodeOf(outputOf(ready)));
  return asTensor(output, x.shape, x.dtype);
}
