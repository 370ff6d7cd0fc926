/**
 * Random numbers for compiled functions: no state, the same key and counter always give the same numbers.
 * Philox4x32-10 (Salmon et al. 2011), the same words in the same order as any other implementation of it gives for
 * consecutive counters.
 */
import * as tf from '@tensorflow/tfjs-core';
import { philox } from '../random.js';
import { TraceError } from './error.js';
import { sizeOf } from './function.js';
import { type Attribute, addConstant, addNode, type ElementType, type Output } from './graph.js';
import { asTensor, currentRecording, isRecording, outputOf } from './recorder.js';

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
  if (!isRecording()) return tf.tensor(uniformOnHost(sizeOf(shape), words(key), words(counter)), shape);
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

const words = (x: tf.Tensor): Uint32Array => Uint32Array.from(x.dataSync(), (word) => word >>> 0);

/** The same numbers, drawn on the host where a function runs as it is. */
function uniformOnHost(size: number, key: Uint32Array, counter: Uint32Array): Float32Array {
  const values = new Float32Array(size);
  const block = new Uint32Array(4);
  for (let i = 0; i < size; i++) {
    if (i % 4 === 0) {
      let carry = i / 4;
      for (let word = 0; word < 4; word++) {
        const sum = (counter[word] as number) + carry;
        block[word] = sum;
        carry = Math.floor(sum / 2 ** 32);
      }
      philox(block, key[0] as number, key[1] as number);
    }
    values[i] = ((block[i % 4] as number) >>> 8) * 2 ** -24;
  }
  return values;
}
