/** Every grouping with every merge becomes a model that trains, is saved and is loaded again. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { parseConfig } from '../../src/config/load.js';
import { DEFAULT_PREPROCESSING } from '../../src/config/preprocessing.js';
import type { Gather } from '../../src/convert/checkpoint.js';
import { GROUPINGS } from '../../src/convert/groupings.js';
import { MERGES } from '../../src/convert/merges.js';
import { initialAttention } from '../../src/model/attention-state.js';
import { groupSizes, kvHeadsOf, totalKvHeads } from '../../src/model/grouping.js';
import type { ModelShape } from '../../src/model/sizes.js';
import { VARIANTS, type VariantName, variantOf } from '../../src/model/variants.js';
import { startBackend } from '../../src/native/backend.js';
import { openDistances } from '../../src/train/distances.js';
import { type BuiltModel, buildModel, forEvaluation } from '../../src/train/model.js';
import { gatherOutputs } from '../../src/train/outputs.js';
import { gatherStatistics } from '../../src/train/statistics.js';
import { createTrainer, type Trainer, type TrainerMode } from '../../src/train/trainer.js';
import { encodeModel } from '../checkpoint/tensors.js';
import { temporaryFolder } from '../cli-run.js';
import { BASE, BATCH, batchOf, loadInto, modelOf, optionsOf, SIDE } from '../train/models.js';

const CLASSES = Array.from({ length: BASE.numClasses }, (_, i) => `class ${i}`);
const FEEDING = { batchSize: BATCH, height: SIDE, width: SIDE, pixels: DEFAULT_PREPROCESSING };

let mode: TrainerMode = 'eager';
let file = '';
const trainers = new Map<string, Trainer>();

async function* calibration() {
  yield batchOf(0);
  yield batchOf(1);
  yield batchOf(2, 4);
}

const gather: Gather = {
  statistics: (model, names, layer) => gatherStatistics(model, names, FEEDING, calibration(), mode, layer),
  distances: async (mha) => openDistances(mha, FEEDING, calibration, mode),
  outputs: (mha, converted, layer) => gatherOutputs(mha, converted, layer, FEEDING, calibration(), mode),
};

before(async () => {
  mode = (await startBackend('auto')).name === 'tensorflow' ? 'compiled' : 'eager';
  const options = optionsOf('mha');
  const trainer = createTrainer(options, 'eager');
  loadInto(trainer, options);
  const { values } = modelOf(trainer, options);
  trainer.dispose();
  file = path.join(temporaryFolder(), 'mha.safetensors');
  write(file, { shape: options.shape, variant: 'mha', values, attention: [] });
});

after(() => {
  for (const trainer of trainers.values()) trainer.dispose();
});

function write(to: string, { shape, variant, values }: BuiltModel['model']): void {
  const card = { variant, model: shape, classes: CLASSES, state: null, steps: 0 };
  fs.writeFileSync(
    to,
    encodeModel((name) => values[name] as Float32Array, card),
  );
}

const build = (from: string, ...lines: string[]): Promise<BuiltModel> => {
  const sizes = [
    'size: custom',
    'image_size: 16',
    'patch_size: 4',
    'embed_dim: 24',
    'depth: 3',
    'heads: 6',
    'mlp_ratio: 2',
  ];
  const model = [...sizes, `pretrained: ${from}`, ...lines].map((line) => `  ${line}`);
  const { config } = parseConfig(['data: { name: cifar10 }', 'model:', ...model].join('\n'), 'test.yaml', []);
  return buildModel(from, config, CLASSES, gather);
};

/** One for each shape and variant: compiling takes longer than everything else here. */
function trainerOf(shape: ModelShape, variant: VariantName): Trainer {
  const key = JSON.stringify([variant, shape.grouping, shape.valueGrouping]);
  const found = trainers.get(key) ?? createTrainer({ ...optionsOf(variant), shape }, mode);
  trainers.set(key, found);
  return found;
}

const logitsOf = (trainer: Trainer): number[] => {
  trainer.beginEvaluation();
  const logits = trainer.evaluate(batchOf(40));
  const found = Array.from(logits.dataSync());
  logits.dispose();
  return found;
};

const furthest = (a: number[], b: number[]): number => Math.max(...a.map((x, i) => Math.abs(x - (b[i] as number))));

for (const merge of Object.keys(MERGES)) {
  test(`every grouping with ${merge}: converts, trains, is saved, and loaded it is the same`, async () => {
    for (const grouping of Object.keys(GROUPINGS)) {
      const lines = ['variant: gqa', `grouping: ${grouping}`, `merge: ${merge}`];
      const built = await build(file, 'kv_heads: 3', ...lines);
      const { shape, values } = built.model;
      assert.equal(totalKvHeads(shape.grouping), 9, grouping);
      const trainer = trainerOf(shape, 'gqa');
      trainer.begin(built.model);
      const before = logitsOf(trainer);
      assert.ok(before.every(Number.isFinite));
      trainer.train(batchOf(0), { step: 0, lr: 1e-3, refresh: false });
      assert.ok(Number.isFinite(trainer.readSums().loss));
      assert.ok(furthest(logitsOf(trainer), before) > 1e-6, 'a step changes something');
      const saved = path.join(path.dirname(file), `${grouping}-${merge}.safetensors`);
      write(saved, built.model);
      const again = await build(saved, 'kv_heads: 3', ...lines);
      assert.deepEqual([again.model.shape.grouping, again.layers], [shape.grouping, null]);
      assert.deepEqual(again.model.values, values);
      fs.rmSync(saved);
    }
  });
}

test('values grouped apart, a budget over layers, fitted outputs, statistics of the converted stream', async () => {
  for (const [what, ...lines] of [
    ['apart', 'kv_heads: 3', 'grouping: qcqa-ac', 'group_values: apart'],
    ['budget', 'kv_budget: 8', 'grouping: basis-free', 'merge: basis'],
    ['budget apart', 'kv_budget: 6', 'grouping: basis-free', 'merge: basis', 'group_values: apart'],
    ['refit', 'kv_heads: 2', 'merge: basis', 'refit: output'],
    ['refit of the mean', 'kv_heads: 2', 'refit: output'],
    ['stream', 'kv_heads: 2', 'merge: basis', 'calibrate_on: converted', 'refit: output'],
  ] as const) {
    const built = await build(file, 'variant: gqa', ...lines);
    const { shape } = built.model;
    const trainer = trainerOf(shape, 'gqa');
    trainer.begin(built.model);
    assert.ok(logitsOf(trainer).every(Number.isFinite), what);
    if (what === 'apart') assert.notEqual(shape.valueGrouping, undefined);
    if (what === 'budget apart') {
      const values = shape.valueGrouping ?? shape.grouping;
      assert.ok(totalKvHeads(shape.grouping) + totalKvHeads(values) <= 12);
      const saved = path.join(path.dirname(file), 'apart.safetensors');
      write(saved, built.model);
      const again = await build(saved, 'variant: gqa', ...lines);
      assert.deepEqual([again.model.shape, again.model.values], [shape, built.model.values]);
    }
    if (what === 'budget') {
      assert.ok(totalKvHeads(shape.grouping) <= 8);
      assert.ok(shape.grouping.every((groups) => groupSizes(groups).every((size) => size > 0)));
    }
    for (const layer of built.layers ?? [])
      if (what.includes('refit') || what === 'stream')
        assert.ok(layer.refit !== null && layer.refit.after <= layer.refit.before);
  }
});

test('a budget leaves one KV head where heads are alike, and gives the others what it saves', async () => {
  const { model } = await build(file, 'variant: mha');
  const values = { ...model.values };
  for (const name of ['k.weight', 'k.bias', 'v.weight', 'v.bias']) {
    const own = (values[`blocks.1.attn.${name}`] as Float32Array).slice();
    const length = own.length / 6;
    for (let head = 1; head < 6; head++) own.copyWithin(head * length, 0, length);
    values[`blocks.1.attn.${name}`] = own;
  }
  const alike = path.join(path.dirname(file), 'alike.safetensors');
  write(alike, { ...model, values });
  for (const grouping of ['basis-free', 'qcqa-ac', 'neighbours']) {
    const merge = grouping === 'basis-free' ? 'basis' : 'mean';
    const { model } = await build(alike, 'variant: gqa', 'kv_budget: 9', `grouping: ${grouping}`, `merge: ${merge}`);
    const [first, second, third] = model.shape.grouping.map(kvHeadsOf) as [number, number, number];
    assert.equal(second, 1, grouping);
    assert.deepEqual([first + third, first >= 2 && third >= 2], [8, true], grouping);
  }
});

test('values that are grouped where keys are not are no MHA model', async () => {
  const labels = path.join(path.dirname(file), 'values.json');
  const [alone, pairs] = [
    [0, 1, 2, 3, 4, 5],
    [0, 0, 1, 1, 2, 2],
  ];
  fs.writeFileSync(labels, JSON.stringify({ groups: Array(3).fill(alone), value_groups: Array(3).fill(pairs) }));
  const lines = ['variant: gqa', `grouping: ${labels}`];
  const { model } = await build(file, ...lines);
  assert.deepEqual([model.shape.grouping[0], model.shape.valueGrouping?.[0]], [alone, pairs]);
  const trainer = trainerOf(model.shape, 'gqa');
  trainer.begin(model);
  trainer.train(batchOf(0), { step: 0, lr: 1e-3, refresh: false });
  const saved = path.join(path.dirname(file), 'values.safetensors');
  write(saved, model);
  assert.deepEqual((await build(saved, ...lines)).model.values, model.values);
});

test('every variant converts an MHA model, trains and folds to the same logits', async () => {
  for (const variant of Object.keys(VARIANTS)) {
    const lines = variantOf(variant).kvHeads === undefined ? ['kv_heads: 3'] : [];
    const built = await build(file, `variant: ${variant}`, ...lines);
    const trainer = trainerOf(built.model.shape, variant);
    trainer.begin(built.model);
    trainer.train(batchOf(0), { step: 0, lr: 1e-3, refresh: true });
    if (variantOf(variant).fold === undefined) continue;
    const { values } = modelOf(trainer, { shape: built.model.shape, variant });
    const own = logitsOf(trainer);
    const plain = forEvaluation({ ...built, model: { ...built.model, values } }).model;
    const folded = trainerOf(plain.shape, plain.variant);
    folded.begin({ ...plain, attention: initialAttention(plain.shape, plain.variant) });
    const scale = Math.max(...own.map(Math.abs));
    assert.ok(furthest(logitsOf(folded), own) < 1e-5 * scale, variant);
    // and a file of it converts to gqa without anything else
    const saved = path.join(path.dirname(file), `${variant}.safetensors`);
    write(saved, { ...built.model, values });
    const loaded = await build(saved, 'variant: gqa', 'kv_heads: 3');
    assert.deepEqual(loaded.model.values, plain.values);
    // as itself it goes on as it is
    const kept = await build(saved, `variant: ${variant}`, 'kv_heads: 3');
    assert.deepEqual(kept.model.values, values);
  }
});

test('merges that tie query heads, and values apart, are refused where query heads are handed out', async () => {
  for (const variant of ['kdgqa', 'dgqa-ema', 'dgqa-diff'])
    await assert.rejects(
      build(file, `variant: ${variant}`, 'kv_heads: 3', 'merge: basis'),
      /hands query heads to other KV heads as it goes, but model\.merge ties each of them to its own/,
    );
  await assert.rejects(
    build(file, 'variant: kdgqa', 'kv_heads: 3', 'grouping: random', 'group_values: apart'),
    /variant kdgqa has one grouping, but layer 0 groups values apart/,
  );
});

test('more heads than an exact search takes are refused with the bound', async () => {
  const lines = ['image_size: 16', 'patch_size: 4', 'embed_dim: 36', 'depth: 1', 'heads: 18', 'mlp_ratio: 1'];
  const text = ['data: { name: cifar10 }', 'model:', '  size: custom', ...lines.map((line) => `  ${line}`)];
  const { config } = parseConfig([...text, '  variant: qcqa', '  kv_heads: 6'].join('\n'), 'test.yaml', []);
  await assert.rejects(
    buildModel(null, config, CLASSES, gather),
    /looks for groups in a pretrained model, but there is none/,
  );
  const rule = GROUPINGS['qcqa-ac'];
  const weights = (rows: number) => ({ weight: new Float32Array(rows * 36), bias: new Float32Array(rows) });
  const all = { q: weights(36), k: weights(36), v: weights(36), proj: weights(36) };
  const sizes = { heads: 18, headDim: 2, embedDim: 36 };
  const plan = { search: 'exact', apart: false, seed: 0 } as const;
  assert.throws(
    () => rule?.layer({ index: 0, sizes, weights: all, statistics: null, plan }),
    /model\.search is exact, but 18 heads have 2\^18 sets; at most 16 heads are searched/,
  );
});
