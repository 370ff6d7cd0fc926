/** What a later method adds, goes through everything: training, folding, conversion, a file. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import './added.js';
import { parseConfig } from '../../src/config/load.js';
import { DEFAULT_PREPROCESSING } from '../../src/config/preprocessing.js';
import type { Gather } from '../../src/convert/checkpoint.js';
import { regroup, sharedGroups } from '../../src/convert/convert.js';
import { folded } from '../../src/convert/fold.js';
import { mean } from '../../src/convert/merges/mean.js';
import { STATISTICS } from '../../src/convert/statistics.js';
import { initialAttention } from '../../src/model/attention-state.js';
import { kvHeadsFigure, neighbours } from '../../src/model/grouping.js';
import { paramsFrom, type Values } from '../../src/model/params.js';
import { normalise } from '../../src/model/pixels.js';
import { layerShape, type ModelShape, tokens } from '../../src/model/sizes.js';
import { forward, type Observed } from '../../src/model/vit.js';
import { startBackend } from '../../src/native/backend.js';
import { buildModel } from '../../src/train/model.js';
import { gatherStatistics } from '../../src/train/statistics.js';
import { createTrainer, type TrainerMode, type TrainerOptions } from '../../src/train/trainer.js';
import { encodeModel } from '../checkpoint/tensors.js';
import { temporaryFolder } from '../cli-run.js';
import { BASE, BATCH, batchOf, loadInto, modelOf, optionsOf, SIDE } from '../train/models.js';
import { trainBatches } from '../train/resume-job.js';

const native = (await startBackend('auto')).name === 'tensorflow';
const MODES: TrainerMode[] = native ? ['compiled', 'eager'] : ['eager'];

const logitsOf = (options: TrainerOptions, values: Values, mode: TrainerMode): number[] => {
  const trainer = createTrainer(options, mode);
  trainer.begin({ values, attention: initialAttention(options.shape, options.variant) });
  trainer.beginEvaluation();
  const logits = trainer.evaluate(batchOf(40));
  const found = Array.from(logits.dataSync());
  logits.dispose();
  trainer.dispose();
  return found;
};

function assertClose(found: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  assert.equal(found.length, expected.length, what);
  const scale = Math.max(...Array.from(expected, Math.abs));
  const worst = Math.max(...Array.from(found, (value, i) => Math.abs(value - (expected[i] as number))));
  assert.ok(worst <= tolerance * scale, `${what}: off by ${worst} of ${scale}`);
}

test('a variant with a learned factor a head trains alike compiled and eager, and folded gives the same logits', () => {
  const options = optionsOf('scaled-keys');
  const trained = MODES.map((mode) => {
    const trainer = createTrainer(options, mode);
    loadInto(trainer, options);
    trainBatches(trainer, options, 0, 5);
    const { values } = modelOf(trainer, options);
    trainer.dispose();
    return values;
  });
  const [values, other] = trained as [Values, Values | undefined];
  const factors = values['blocks.1.attn.k_scale'] as Float32Array;
  assert.equal(factors.length, 3);
  assert.ok(
    factors.every((factor) => factor !== 1 && Math.abs(factor - 1) < 0.01),
    `${factors}`,
  );
  if (other !== undefined)
    for (const [name, expected] of Object.entries(other))
      assertClose(values[name] as Float32Array, expected, 1e-4, name);
  const plain = folded(values, options.shape, 'scaled-keys');
  assert.ok(!('blocks.1.attn.k_scale' in plain));
  for (const mode of MODES) {
    const [unfolded, after] = [logitsOf(options, values, mode), logitsOf(optionsOf('gqa'), plain, mode)];
    assertClose(after, unfolded, 1e-5, 'logits');
  }
});

/** An MHA model of BASE's sizes on disk, whose queries and keys are far from each other in size. */
function mhaFile(): string {
  const options = optionsOf('mha');
  const trainer = createTrainer(options, 'eager');
  loadInto(trainer, options);
  const { values } = modelOf(trainer, options);
  trainer.dispose();
  const file = path.join(temporaryFolder(), 'mha.safetensors');
  const classes = Array.from({ length: BASE.numClasses }, (_, i) => `class ${i}`);
  const card = { variant: 'mha', model: options.shape, classes, state: null, steps: 0 };
  fs.writeFileSync(
    file,
    encodeModel((name) => values[name] as Float32Array, card),
  );
  return file;
}

const CLASSES = Array.from({ length: BASE.numClasses }, (_, i) => `class ${i}`);

/** A config of a model of BASE's sizes, with more lines of its section `model`. */
const configOf = (variant: string, ...lines: string[]) =>
  parseConfig(
    [
      'data: { name: cifar10 }',
      'model:',
      ...['size: custom', 'image_size: 16', 'patch_size: 4', 'embed_dim: 24', 'depth: 3', 'heads: 6', 'mlp_ratio: 2'],
      `variant: ${variant}`,
      ...lines,
    ]
      .map((line) => (/^(data|model)/.test(line) ? line : `  ${line}`))
      .join('\n'),
    'test.yaml',
    [],
  ).config;

const FEEDING = { batchSize: BATCH, height: SIDE, width: SIDE, pixels: DEFAULT_PREPROCESSING };

async function* calibration() {
  yield batchOf(0);
  yield batchOf(1, 4); // its padding is rubbish, and must not count
}

const gather: Gather = {
  statistics: (model, names, layer) =>
    gatherStatistics(model, names, FEEDING, calibration(), MODES[0] as TrainerMode, layer),
  outputs: () => assert.fail('nothing is fitted again'),
  distances: () => assert.fail('no budget is shared out'),
};

const neverGather: Gather = { ...gather, statistics: () => assert.fail('nothing asks for statistics') };

test('a merge that scales queries against keys, on statistics, changes no logit; a grouping of scattered heads is found', async () => {
  const file = mhaFile();
  const build = (grouping: string, merge: string) =>
    buildModel(file, configOf('gqa', 'kv_heads: 3', `grouping: ${grouping}`, `merge: ${merge}`), CLASSES, gather);
  for (const grouping of ['neighbours', 'striped']) {
    const [plain, balanced] = [await build(grouping, 'mean'), await build(grouping, 'unit-queries')];
    const [a, b] = [plain, balanced].map(({ model }) =>
      logitsOf({ ...optionsOf('gqa'), shape: model.shape }, model.values, 'eager'),
    ) as [number[], number[]];
    assertClose(b, a, 1e-5, `logits, ${grouping}`);
    const name = 'blocks.0.attn.q.weight';
    assert.notDeepEqual(balanced.model.values[name], plain.model.values[name]);
  }
  const { model, order } = await build('striped', 'mean');
  assert.deepEqual(order?.[0], [0, 3, 1, 4, 2, 5]);
  assert.deepEqual(model.shape.grouping, neighbours(3, 6, 3));
});

test('labels from a file: layers of 1, 2 and 5 KV heads, and what is wrong with a file is said', async () => {
  const file = mhaFile();
  const labels = path.join(temporaryFolder(), 'labels.json');
  const build = (content: unknown) => {
    fs.writeFileSync(labels, JSON.stringify(content));
    return buildModel(file, configOf('gqa', `grouping: ${labels}`), CLASSES, neverGather);
  };
  const groups = [
    [0, 0, 0, 0, 0, 0],
    [0, 1, 0, 1, 1, 0],
    [0, 1, 2, 3, 4, 4],
  ];
  for (const content of [groups, { groups }]) {
    const { model } = await build(content);
    assert.deepEqual(kvHeadsFigure(model.shape.grouping), [1, 2, 5]);
    assert.deepEqual(model.shape.grouping[1], [0, 0, 0, 1, 1, 1]); // side by side
  }
  for (const [content, message] of [
    [[[0, 0]], /labels\.json: it has 1 layers, the model 3/],
    [[[0, 0, 0], groups[1], groups[2]], /labels\.json: layer 0 has 3 labels; expected one for each of 6 heads/],
    [[[0, 0, 0, 0, 0, 2], groups[1], groups[2]], /layer 0 skips group 1/],
    [[[0, 0, 0, 0, 0, -1], groups[1], groups[2]], /layer 0 has the label -1/],
    [{ groups: 3 }, /no list of lists/],
  ] as const)
    await assert.rejects(build(content), message);
  await assert.rejects(
    buildModel(file, configOf('pgqa', `grouping: ${labels.replace('labels', 'none')}`), CLASSES, neverGather),
    /none\.json cannot be read/,
  );
  fs.writeFileSync(labels, JSON.stringify([[0, 0, 0, 0, 0, 1], groups[0], groups[0]]));
  await assert.rejects(
    buildModel(file, configOf('pgqa', `grouping: ${labels}`), CLASSES, neverGather),
    /variant pgqa does not fit layer 0: .*groups must be of one size/,
  );
});

test('equal but scattered groups, put side by side, give the logits of the selection of heads', async () => {
  const { model } = await buildModel(mhaFile(), configOf('mha'), CLASSES, neverGather);
  const groups = [
    [0, 1, 2, 0, 1, 2],
    [0, 0, 1, 2, 2, 1],
    [2, 1, 0, 0, 1, 2],
  ];
  const both = [true, false].map((arrange) => {
    const found = regroup(model.values, model.shape, sharedGroups(groups), mean, null, arrange);
    const { shape } = found;
    return { shape, logits: logitsOf({ ...optionsOf('gqa'), shape }, found.values, MODES[0] as TrainerMode) };
  }) as [{ shape: ModelShape; logits: number[] }, { shape: ModelShape; logits: number[] }];
  assert.deepEqual(both[0].shape.grouping, neighbours(3, 6, 3));
  assert.deepEqual(both[1].shape.grouping, groups);
  assertClose(both[0].logits, both[1].logits, 1e-5, 'logits');
});

test('statistics gathered on the device are those computed directly, padding left out', async () => {
  const { model } = await buildModel(mhaFile(), configOf('mha'), CLASSES, neverGather);
  const { shape, values } = model;
  const expected = await directly(values, shape);
  for (const mode of MODES) {
    const found = await gatherStatistics({ values, shape }, STATISTICS, FEEDING, calibration(), mode);
    for (const [i, layer] of found.entries()) {
      assert.deepEqual([layer.images, layer.tokens], [10, 10 * tokens(shape)]);
      for (const name of STATISTICS)
        assertClose(layer[name] as Float32Array, expected[i]?.[name] as number[], 1e-5, `${mode}, layer ${i}, ${name}`);
    }
  }
});

/** By loops, in float64, from what attention works on. */
async function directly(values: Values, shape: ModelShape): Promise<Record<string, number[]>[]> {
  const params = paramsFrom(shape, (name) => values[name] as Float32Array);
  const { heads, headDim: e, embedDim: d, tokens: n } = layerShape(shape, 0);
  const sums = Array.from({ length: shape.depth }, () => ({
    inputs: Array((d + 1) ** 2).fill(0) as number[],
    imageMeans: Array(d * d).fill(0) as number[],
    queries: Array(heads * e * e).fill(0) as number[],
    attended: Array(heads * (d + 1) ** 2).fill(0) as number[],
    keyed: Array(heads * d * d).fill(0) as number[],
  }));
  const addOuter = (to: number[], row: number[], at = 0, weight = 1): void => {
    for (const [i, a] of row.entries())
      for (const [j, b] of row.entries())
        to[at + i * row.length + j] = (to[at + i * row.length + j] as number) + weight * a * b;
  };
  for await (const batch of calibration()) {
    const observe = (layer: number, { x, q, k }: Observed): void => {
      const [xs, qs, ks] = [x, q, k].map((tensor) => tensor.dataSync()) as [Float32Array, Float32Array, Float32Array];
      const to = sums[layer] as (typeof sums)[number];
      for (let image = 0; image < batch.images; image++) {
        const rows = Array.from({ length: n }, (_, t) =>
          Array.from(xs.subarray((image * n + t) * d, (image * n + t + 1) * d)),
        );
        for (const row of rows) addOuter(to.inputs, [...row, 1]);
        const average = Array.from({ length: d }, (_, i) => rows.reduce((sum, row) => sum + (row[i] as number), 0) / n);
        addOuter(to.imageMeans, average, 0, n);
        for (let h = 0; h < heads; h++) {
          const vectorOf = (from: Float32Array, t: number): number[] => {
            const begin = ((image * heads + h) * n + t) * e;
            return Array.from(from.subarray(begin, begin + e));
          };
          for (let t = 0; t < n; t++) {
            const query = vectorOf(qs, t);
            addOuter(
              to.queries,
              query.map((value) => value * Math.sqrt(e)),
              h * e * e,
            );
            const scores = rows.map((_, other) =>
              vectorOf(ks, other).reduce((sum, value, i) => sum + value * (query[i] as number), 0),
            );
            const highest = Math.max(...scores);
            const weights = scores.map((score) => Math.exp(score - highest));
            const total = weights.reduce((sum, weight) => sum + weight, 0);
            const attended = Array.from({ length: d }, (_, i) =>
              rows.reduce((sum, row, other) => sum + ((weights[other] as number) / total) * (row[i] as number), 0),
            );
            addOuter(to.attended, [...attended, 1], h * (d + 1) ** 2);
            for (const [other, row] of rows.entries())
              addOuter(to.keyed, row, h * d * d, (weights[other] as number) / total);
          }
        }
      }
    };
    tf.tidy(() => {
      const pixels = tf.tensor(batch.pixels, [BATCH, SIDE, SIDE, 3], 'int32');
      forward(params, normalise(pixels, shape.imageSize, DEFAULT_PREPROCESSING), {
        ...{ shape, variant: 'mha', state: [], allocation: { by: 'state' }, noise: null },
        weights: tf.tensor1d(batch.weights),
        observe,
      });
    });
  }
  tf.dispose(params);
  return sums;
}
