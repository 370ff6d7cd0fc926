/**
 * The fused operations of this project's addon (native/fused/) as nodes of a graph. Their inputs and outputs are float32
 * or in the recording's precision, as each operation wants them; float16 they do not know, and take float32 in its place.
 */
import type * as tf from '@tensorflow/tfjs-core';
import { type Attribute, addNode, type Output } from './graph.js';
import { asTensor, currentRecording, isRecording, lowered, outputOf, raised } from './recorder.js';

/** Whether a function is being recorded that may use them. */
export const isFused = (): boolean => isRecording() && currentRecording().fused;

/** An input that is taken in the recording's precision. */
export const low = (x: tf.Tensor): Output => (isLow() ? lowered(currentRecording(), outputOf(x)) : outputOf(x));
/** An input that is float32 or int32 whatever the precision is. */
export const full = (x: tf.Tensor): Output => outputOf(x);

/** A shape, and whether the output comes in the recording's precision. */
export interface FusedOutput {
  shape: readonly number[];
  low?: true;
}

/** @returns a tensor for each output, float32 to TensorFlow.js */
export function fused(
  op: string,
  inputs: Output[],
  outputs: FusedOutput[],
  attributes: Record<string, Attribute> = {},
): tf.Tensor[] {
  const recording = currentRecording();
  const node = addNode(recording.graph, recording.scope, op, inputs, { T: fusedType(), ...attributes });
  return outputs.map((each, i) => {
    const output = i === 0 ? node : `${node}:${i}`;
    return asTensor(each.low && isLow() ? raised(recording, output) : output, each.shape, 'float32');
  });
}

/** The attribute T of every fused operation. */
export const fusedType = (): Attribute => ({ type: isLow() ? 'bfloat16' : 'float32' });

const isLow = (): boolean => currentRecording().precision === 'bfloat16';
