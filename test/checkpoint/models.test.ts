/**
 * Checkpoints as timm, Hugging Face and torchvision write them: logits as theirs, which models/make.py computed with
 * torch.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { convertCheckpoint } from '../../src/convert/checkpoint.js';
import { neighbours } from '../../src/model/grouping.js';
import { paramsFrom } from '../../src/model/params.js';
import { forward } from '../../src/model/vit.js';
import { startBackend } from '../../src/native/backend.js';

before(async () => {
  await startBackend('auto');
});

const MODELS = 'test/checkpoint/models';
const expected = JSON.parse(fs.readFileSync(`${MODELS}/expected.json`, 'utf8')) as {
  images: number[];
  logits: Record<string, number[]>;
};
const wanted = {
  imageSize: 8,
  patchSize: 4,
  embedDim: 24,
  depth: 2,
  heads: 4,
  grouping: neighbours(2, 4, 4),
  mlpRatio: 2,
  numClasses: 5,
};

function logitsOf({ values, shape }: ReturnType<typeof convertCheckpoint>): number[] {
  return tf.tidy(() => {
    const params = paramsFrom(shape, (name) => values[name] as Float32Array);
    const images = tf.tensor(expected.images, [3, 8, 8, 3]);
    const pass = {
      shape,
      variant: 'mha',
      state: [],
      allocation: { by: 'state' },
      noise: null,
      weights: tf.ones([3]),
    } as const;
    return [...forward(params, images, { ...pass, state: [] }).logits.dataSync()];
  });
}

const notices: Record<string, RegExp[]> = {
  'timm-plain': [],
  'timm-layer-scale': [/LayerScale is folded/],
  'timm-gamma': [/LayerScale is folded/],
  'timm-no-qkv-bias': [/no bias of q, k, v in the checkpoint: zeros/],
  'timm-wrapped': [/timm’s names behind “model\.backbone\.”/],
  'hf-vit': [/Hugging Face’s names behind “vit\.”/, /eps is 1e-12$/],
  'hf-vit-newer': [/Hugging Face’s names behind “net\.vit\.”/, /eps is 1e-12, as such checkpoints/],
  'hf-vit-eps': [/Hugging Face’s names behind “vit\.”/, /eps is 1e-12$/],
  'hf-dinov2': [
    /Hugging Face’s names behind “dinov2\.”/,
    /left out of the checkpoint: the mask token/,
    /LayerScale is folded/,
  ],
  torchvision: [/torchvision’s names/],
  'timm-avg': [/reads the mean of all patches/],
  'timm-resized': [/resized from 6 × 6 to 2 × 2 patches/],
  'hf-sharded': [/Hugging Face’s names behind “vit\.”/, /eps is 1e-12$/],
};

test('every model of models/ has its line here', () => {
  assert.deepEqual(Object.keys(expected.logits).sort(), Object.keys(notices).sort());
});

for (const [name, patterns] of Object.entries(notices)) {
  test(`${name}: torch’s logits, and what was done is said`, () => {
    const converted = convertCheckpoint(`${MODELS}/${name}`, wanted, 0);
    assert.equal(converted.freshBecause, null);
    assert.equal(converted.notices.length, patterns.length, converted.notices.join('\n'));
    for (const [i, pattern] of patterns.entries()) assert.match(converted.notices[i] as string, pattern);
    const theirs = expected.logits[name] as number[];
    const largest = Math.max(...logitsOf(converted).map((value, i) => Math.abs(value - (theirs[i] as number))));
    assert.ok(largest <= 1e-4, `logits differ by up to ${largest}`);
  });
}

test('timm’s layers are folded before KV heads are merged as after, and a variant’s file needs no LayerScale', () => {
  const { values } = convertCheckpoint(
    `${MODELS}/timm-layer-scale/model.safetensors`,
    { ...wanted, grouping: neighbours(2, 4, 2) },
    0,
  );
  assert.equal(values['blocks.1.attn.k.weight']?.length, 12 * 24);
  assert.ok(Object.keys(values).every((name) => !/\.ls\d/.test(name)));
});
