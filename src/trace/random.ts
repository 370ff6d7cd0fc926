/**
 * Random numbers for compiled functions: no state, the same key and counter always give the same numbers.
 * Philox4x32-10 (Salmon et al. 2011), the same words in the same order as any other implementation of it gives for
 * consecutive counters.
 */
import * as tf from '@tensorflow/tfjs-core';
import { TraceError } from './error.js';
import { type Attribute, addConstant, addNode, type ElementType, type Output } from './graph.js';
import { asTensor, currentRecording, outputOf } from './recorder.js';

/**
 * Uniform numbers in [0, 1) with 24 bits: block i of four comes from `counter` + i (the sum in 128 bits, first word
 * lowest), each word's upper 24 bits divided by 2²⁴.
 * @param key     [2] int32, the bits of the two key words
 * @param counter [4] int32, the bits of the four counter words
 */
export function uniform(shape: number[], key: tf.Tensor, counter: tf.Tensor): tf.Tensor {
  if (key.dtype !== 'int32' || key.size !== 2 || counter.dtype !== 'int32' || counter.size !== 4) {
    throw new TraceError('uniform takes a key of 2 and a counter of 4 int32 words');
  }
  const { graph, scope } = currentRecording();
  const node = (op: string, inputs: Output[], attributes: Record<string, Attribute>): Output =>
    addNode(graph, scope, op, inputs, attributes);
  const scalar = (type: ElementType, value: Float32Array | Int32Array | Uint32Array): Output =>
    addConstant(graph, type, [], new Uint8Array(value.buffer));
  const wide = (words: tf.Tensor): Output =>
    node('Bitcast', [outputOf(tf.reshape(words, [-1, 2]))], { T: { type: 'int32' }, type: { type: 'uint64' } });
  const size = addConstant(graph, 'int32', [shape.length], new Uint8Array(Int32Array.from(shape).buffer));
  const bits = node(
    'StatelessRandomUniformFullIntV2',
    [size, wide(key), wide(counter), scalar('int32', Int32Array.of(PHILOX))],
    {
      dtype: { type: 'uint32' },
      Tshape: { type: 'int32' },
    },
  );
  const upper = node('RightShift', [bits, scalar('uint32', Uint32Array.of(8))], { T: { type: 'uint32' } });
  const whole = node('Cast', [upper], { SrcT: { type: 'uint32' }, DstT: { type: 'float32' } });
  const fraction = node('Mul', [whole, scalar('float32', Float32Array.of(2 ** -24))], { T: { type: 'float32' } });
  return asTensor(fraction, shape, 'float32');
}

/** Algorithm number in tensorflow/core/framework/rng_alg.h. */
const PHILOX = 1;
