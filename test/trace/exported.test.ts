/** Graphs for others: ONNX in ONNX Runtime and SavedModel in TensorFlow give the logits of our own forward pass. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { InferenceSession, Tensor } from 'onnxruntime-web';
import { GRAPH_FORMS, modelGraph } from '../../src/commands/graph-export.js';
import { neighbours } from '../../src/model/grouping.js';
import { initialModel, paramsFrom } from '../../src/model/params.js';
import type { ModelShape } from '../../src/model/sizes.js';
import { forward } from '../../src/model/vit.js';
import { type Backend, startBackend } from '../../src/native/backend.js';
import { encodeOnnx } from '../../src/trace/onnx.js';
import { tracedGraph } from '../../src/trace/traced-graph.js';
import { testFolder } from '../data/files.js';

let backend: Backend;
before(async () => {
  backend = await startBackend('auto');
});

const sizes = { imageSize: 16, patchSize: 8, embedDim: 24, depth: 2, heads: 6, mlpRatio: 2, numClasses: 5 };
const CASES: Record<string, ModelShape> = {
  MHA: { ...sizes, grouping: neighbours(2, 6, 6) },
  'equal groups': { ...sizes, grouping: neighbours(2, 6, 3) },
  'unequal groups, layers unlike': {
    ...sizes,
    grouping: [
      [0, 0, 0, 1, 1, 2],
      [0, 0, 0, 0, 0, 0],
    ],
  },
  'scattered groups, values apart': {
    ...sizes,
    grouping: [
      [0, 1, 0, 1, 2, 2],
      [0, 1, 1, 0, 0, 1],
    ],
    valueGrouping: [
      [0, 0, 1, 1, 2, 3],
      [0, 1, 2, 3, 4, 5],
    ],
  },
  'a head that reads the mean of all patches, another eps': {
    ...sizes,
    grouping: neighbours(2, 6, 2),
    globalPool: 'avg',
    layerNormEps: 1e-3,
  },
};

const B = 3;
const pixels = Float32Array.from({ length: B * 16 * 16 * 3 }, (_, i) => Math.sin(i * 0.37) * 1.5);

function ownLogits(shape: ModelShape, values: Record<string, Float32Array>): Float32Array {
  return tf.tidy(() => {
    const params = paramsFrom(shape, (name) => values[name] as Float32Array);
    const pass = { shape, variant: 'gqa', state: [], allocation: { by: 'state' }, noise: null } as const;
    const images = tf.tensor(pixels, [B, 16, 16, 3]);
    return forward(params, images, { ...pass, state: [], weights: tf.ones([B]) }).logits.dataSync() as Float32Array;
  });
}

const largest = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((most: number, value, i) => Math.max(most, Math.abs(value - (b[i] as number))), 0);

for (const [what, shape] of Object.entries(CASES)) {
  const values = initialModel(shape, 'gqa', 5);

  test(`ONNX, ${what}: the logits of ONNX Runtime`, async () => {
    const bytes = modelGraph(GRAPH_FORMS.onnx as never, { values, shape }, B);
    const session = await InferenceSession.create(bytes);
    assert.deepEqual([session.inputNames, session.outputNames], [['pixel_values'], ['logits']]);
    const channelsFirst = tf.tidy(
      () => tf.transpose(tf.tensor(pixels, [B, 16, 16, 3]), [0, 3, 1, 2]).dataSync() as Float32Array,
    );
    const { logits } = await session.run({ pixel_values: new Tensor('float32', channelsFirst, [B, 3, 16, 16]) });
    assert.deepEqual(logits?.dims, [B, 5]);
    const off = largest(logits?.data as Float32Array, ownLogits(shape, values));
    assert.ok(off < 1e-5, `off by ${off}`);
  });

  test(`SavedModel, ${what}: the logits of TensorFlow, by its signature`, async (t) => {
    if (backend.name !== 'tensorflow') return t.skip('needs the native runtime');
    const folder = testFolder(t);
    fs.writeFileSync(
      path.join(folder, 'saved_model.pb'),
      modelGraph(GRAPH_FORMS.savedmodel as never, { values, shape }, B),
    );
    const native = tf.backend() as unknown as {
      loadSavedModelMetaGraph(folder: string, tags: string): number;
      runSavedModel(id: number, inputs: tf.Tensor[], infos: { name: string }[], outputs: string[]): tf.Tensor[];
      deleteSavedModel(id: number): void;
    };
    const id = native.loadSavedModelMetaGraph(folder, 'serve');
    const images = tf.tensor(pixels, [B, 16, 16, 3]);
    const [logits] = native.runSavedModel(id, [images], [{ name: 'model/images:0' }], ['model/logits:0']);
    assert.deepEqual(logits?.shape, [B, 5]);
    assert.ok(largest(logits?.dataSync() as Float32Array, ownLogits(shape, values)) < 1e-5);
    native.deleteSavedModel(id);
    const text = fs.readFileSync(path.join(folder, 'saved_model.pb'), 'latin1');
    for (const part of ['serving_default', 'tensorflow/serving/predict', 'model/logits:0'])
      assert.ok(text.includes(part));
  });
}

test('an operation that is not in the table is refused by name', () => {
  const traced = tracedGraph({}, { name: 'x', shape: [2] }, 'y', (_, x) => tf.neg(x));
  assert.throws(() => encodeOnnx(traced.graph, traced, 'test'), /Neg is not in the table/);
});
