/** A model as a graph that TensorFlow or ONNX Runtime runs without gqa: its inference, weights and all. */
import * as tf from '@tensorflow/tfjs-core';
import { GqaError } from '../errors.js';
import { parameterSpecs } from '../model/params.js';
import type { ModelShape } from '../model/sizes.js';
import { forward } from '../model/vit.js';
import { encodeOnnx } from '../trace/onnx.js';
import { encodeSavedModel } from '../trace/saved-model.js';
import { type TracedGraph, tracedGraph } from '../trace/traced-graph.js';
import { gqaVersion } from '../version.js';

/** A message of protobuf holds no more, and neither format is of use beside a file of weights here. */
const MOST_BYTES = 2 ** 31 - 2 ** 20;

interface GraphForm {
  file: string;
  /** Of one image. */
  input: { name: string; shape: (size: number) => number[] };
  /** The input as [B, S, S, 3]. */
  toImages(input: tf.Tensor): tf.Tensor;
  encode(traced: TracedGraph): Buffer;
}

export const GRAPH_FORMS: Readonly<Record<string, GraphForm>> = {
  savedmodel: {
    file: 'saved_model.pb',
    input: { name: 'images', shape: (size) => [size, size, 3] },
    toImages: (input) => input,
    encode: ({ graph, inputs, outputs }) => encodeSavedModel(graph, { inputs, outputs }),
  },
  onnx: {
    file: 'model.onnx',
    input: { name: 'pixel_values', shape: (size) => [3, size, size] },
    toImages: (input) => tf.transpose(input, [0, 2, 3, 1]),
    encode: ({ graph, inputs, outputs }) => encodeOnnx(graph, { inputs, outputs }, gqaVersion()),
  },
};

/**
 * The bytes of the format.
 * @param values a model's without a variant's own parameters and without an allocation
 * @param batchSize images of a call: the graph has fixed shapes
 * @throws GqaError `usage` for a model that is too large for one message
 */
export function modelGraph(
  form: GraphForm,
  { values, shape }: { values: Record<string, Float32Array>; shape: ModelShape },
  batchSize: number,
): Buffer {
  const weights = Object.fromEntries(
    Object.entries(parameterSpecs(shape)).map(([name, spec]) => [
      name,
      { shape: spec.shape, values: values[name] as Float32Array },
    ]),
  );
  const bytes = Object.values(weights).reduce((sum, each) => sum + each.values.byteLength, 0);
  if (bytes > MOST_BYTES)
    throw new GqaError('usage', `the model has ${bytes} bytes, and one such file holds at most ${MOST_BYTES}`);
  const input = { name: form.input.name, shape: [batchSize, ...form.input.shape(shape.imageSize)] };
  const traced = tracedGraph(weights, input, 'logits', (params, given) => {
    const pass = { shape, variant: 'gqa', state: [], allocation: { by: 'state' }, noise: null } as const;
    // weights of images count only where something is gathered over them
    const nothing = { weights: null as unknown as tf.Tensor };
    return forward(params, form.toImages(given), { ...pass, ...nothing, state: [] }).logits;
  });
  return form.encode(traced);
}
