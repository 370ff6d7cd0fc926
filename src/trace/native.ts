/** Operations that TensorFlow has and TensorFlow.js has not, for compiled functions. */
import type * as tf from '@tensorflow/tfjs-core';
import { addNode, nodeOf } from './graph.js';
import { asTensor, currentRecording, outputOf } from './recorder.js';

const FLOAT = { T: { type: 'float32' } } as const;

/** Half the sum of the squares of all elements, as a scalar, in one operation. */
export function halfSquaredNorm(x: tf.Tensor): tf.Tensor {
  const { graph, scope } = currentRecording();
  return asTensor(addNode(graph, scope, 'L2Loss', [outputOf(x)], FLOAT), [], 'float32');
}

/** x · factor, and 0 where the factor is 0 whatever x is, also for infinite x and NaN. @param factor scalar */
export function timesOrZero(x: tf.Tensor, factor: tf.Tensor): tf.Tensor {
  const { graph, scope } = currentRecording();
  return asTensor(addNode(graph, scope, 'MulNoNan', [outputOf(x), outputOf(factor)], FLOAT), x.shape, 'float32');
}

/**
 * x itself, but not before `ready` was computed: what depends on it is neither done early nor merged with the same done
 * elsewhere.
 */
export function after(x: tf.Tensor, ready: tf.Tensor): tf.Tensor {
  const { graph, scope } = currentRecording();
  const output = addNode(graph, scope, 'Identity', [outputOf(x)], { T: { type: x.dtype as 'float32' } });
  graph.nodes.get(output)?.after.push(nodeOf(outputOf(ready)));
  return asTensor(output, x.shape, x.dtype);
}
