/** A function as a graph that others run: parameters are constants in it, inputs and outputs have names. */
import type * as tf from '@tensorflow/tfjs-core';
import { addConstant, addNode, emptyGraph, type Graph, type Port } from './graph.js';
import { asTensor, emptyRecording, outputOf, record } from './recorder.js';

export interface TracedGraph {
  graph: Graph;
  inputs: Port[];
  outputs: Port[];
}

/** A tensor that is part of the graph. */
export interface Weight {
  shape: readonly number[];
  values: Float32Array;
}

/**
 * @param input name and shape of the one input, float32
 * @param body  from parameters and input to the one output
 * @throws TraceError for what a graph cannot hold
 */
export function tracedGraph(
  weights: Record<string, Weight>,
  input: { name: string; shape: readonly number[] },
  output: string,
  body: (params: Record<string, tf.Tensor>, input: tf.Tensor) => tf.Tensor,
): TracedGraph {
  const graph = emptyGraph();
  return record(emptyRecording(graph, 'model', { precision: 'float32', fused: false, openblas: false }), () => {
    const constants = Object.entries(weights).map(([name, { shape, values }]): [string, tf.Tensor] => {
      const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      return [name, asTensor(addConstant(graph, 'float32', shape, bytes), shape, 'float32')];
    });
    const attributes = { dtype: { type: 'float32' }, shape: { shape: input.shape } } as const;
    const placed = addNode(graph, 'model', 'Placeholder', [], attributes, input.name);
    const result = body(Object.fromEntries(constants), asTensor(placed, input.shape, 'float32'));
    const named = addNode(graph, 'model', 'Identity', [outputOf(result)], { T: { type: 'float32' } }, output);
    return {
      graph,
      inputs: [{ name: input.name, output: placed, shape: input.shape }],
      outputs: [{ name: output, output: named, shape: result.shape }],
    };
  });
}
