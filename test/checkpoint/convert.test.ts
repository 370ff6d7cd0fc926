import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { openSafetensors, readTensor } from '../../src/checkpoint/safetensors.js';
import { encodeSafetensors, type TensorData } from '../../src/checkpoint/write-safetensors.js';
import { convertCheckpoint } from '../../src/convert/checkpoint.js';
import { GqaError } from '../../src/errors.js';
import { neighbours } from '../../src/model/grouping.js';
import type { ModelShape } from '../../src/model/sizes.js';
import { encodeModel, mha, timmTensors } from './tensors.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'gqa-convert-'));

function write(name: string, bytes: Buffer): string {
  const file = path.join(folder, name);
  fs.writeFileSync(file, bytes);
  return file;
}

const refused = (code: string, message: RegExp) => (error: unknown) =>
  error instanceof GqaError && error.code === code && message.test(error.message);

test('timm’s fused qkv becomes q, k and v, and every other tensor is taken over as it is, the final norm too', () => {
  const tensors = timmTensors();
  const { values, fresh, fromKvHeads } = convertCheckpoint(
    write('timm.safetensors', encodeSafetensors(tensors)),
    mha,
    0,
  );
  assert.deepEqual([fresh, fromKvHeads], [[], 6]);
  assert.deepEqual(values['norm.weight'], tensors['norm.weight']?.data);
  const fused = tensors['blocks.1.attn.qkv.weight']?.data as Float32Array;
  assert.deepEqual(values['blocks.1.attn.v.weight'], fused.slice((2 * fused.length) / 3));
});

test('K and V become the mean over neighbouring heads, weights and biases; q and proj stay', () => {
  const file = write('merge.safetensors', encodeSafetensors(timmTensors()));
  const whole = convertCheckpoint(file, mha, 0).values;
  const { values, fromKvHeads } = convertCheckpoint(file, { ...mha, grouping: neighbours(2, 6, 2) }, 0);
  assert.equal(fromKvHeads, 6);
  for (const name of ['blocks.0.attn.k.weight', 'blocks.1.attn.v.bias'] as const) {
    const source = whole[name] as Float32Array;
    const headLength = source.length / 6;
    (values[name] as Float32Array).forEach((value, i) => {
      const g = Math.floor(i / headLength);
      const mean =
        [0, 1, 2].reduce((sum, h) => sum + (source[(3 * g + h) * headLength + (i % headLength)] as number), 0) / 3;
      assert.ok(Math.abs(value - mean) < 1e-7);
    });
  }
  assert.deepEqual(values['blocks.0.attn.q.weight'], whole['blocks.0.attn.q.weight']);
  assert.deepEqual(values['blocks.0.attn.proj.weight'], whole['blocks.0.attn.proj.weight']);
});

test('a head of another number of classes is drawn afresh and named, and depends on the seed alone', () => {
  const file = write('head.safetensors', encodeSafetensors(timmTensors()));
  const { values, fresh } = convertCheckpoint(file, { ...mha, numClasses: 3 }, 42);
  assert.deepEqual(fresh, ['head.weight', 'head.bias']);
  assert.deepEqual(
    values['head.weight'],
    convertCheckpoint(file, { ...mha, numClasses: 3, grouping: neighbours(2, 6, 1) }, 42).values['head.weight'],
  );
  assert.notDeepEqual(
    values['head.weight'],
    convertCheckpoint(file, { ...mha, numClasses: 3 }, 43).values['head.weight'],
  );
});

test('values that are not finite are refused with the tensor’s name', () => {
  const file = write(
    'nan.safetensors',
    encodeSafetensors(timmTensors((tensors) => (tensors['norm.bias'] as TensorData).data.fill(Number.NaN, 3, 4))),
  );
  assert.throws(() => convertCheckpoint(file, mha, 0), refused('io', /norm\.bias holds 1 value that is not finite/));
});

/** A converted model as gqa writes it. */
function ours(shape: ModelShape): string {
  const values = convertCheckpoint(write('source.safetensors', encodeSafetensors(timmTensors())), shape, 0).values;
  const state = Array.from({ length: 2 }, () => ({ cache: [0.1, 0.2], allocation: [4, 2] }));
  return write(
    'ours.safetensors',
    encodeModel((name) => values[name] as Float32Array, {
      variant: 'dgqa-ema',
      model: shape,
      classes: ['a', 'b', 'c', 'd', 'e'],
      state,
      steps: 7,
    }),
  );
}

test('our own file is read back bit for bit, with sizes, variant, classes and state', () => {
  const shape = { ...mha, grouping: neighbours(2, 6, 2) };
  const file = ours(shape);
  const { values, card } = convertCheckpoint(file, shape, 0);
  assert.deepEqual(card?.model, shape);
  assert.deepEqual([card?.variant, card?.steps, card?.state?.[1]?.allocation], ['dgqa-ema', 7, [4, 2]]);
  assert.deepEqual(values['blocks.0.attn.k.weight'], readTensor(openSafetensors(file), 'blocks.0.attn.k.weight'));
});

test('KV heads that were merged are not merged again, nor are heads counted otherwise than in training', () => {
  const file = ours({ ...mha, grouping: neighbours(2, 6, 2) });
  assert.throws(
    () => convertCheckpoint(file, { ...mha, grouping: neighbours(2, 6, 1) }, 0),
    refused('usage', /holds 6 heads with 2 KV heads \(dgqa-ema\); the config wants 6 heads with 1 KV head/),
  );
  assert.throws(
    () => convertCheckpoint(file, { ...mha, heads: 12, grouping: neighbours(2, 12, 2) }, 0),
    refused('usage', /the config wants 12 heads/),
  );
});

test('a file of the first form, with one number of KV heads and another word for images, is read as it was meant', () => {
  const shape = { ...mha, grouping: neighbours(2, 6, 2) };
  const file = ours(shape);
  const source = openSafetensors(file);
  const { form, model, ...card } = JSON.parse(source.metadata.gqa as string);
  assert.equal(form, 2);
  const { grouping: _, ...sizes } = model;
  const pictures = {
    mean: [0.1, 0.2, 0.3],
    std: [0.5, 0.5, 0.5],
    resize: 'crop',
    cropPct: 0.9,
    interpolation: 'bicubic',
  };
  const tensors = Object.fromEntries(
    [...source.tensors].map(([name, { shape }]) => [name, { shape, data: readTensor(source, name) }]),
  );
  const first = { form: 1, ...card, model: { ...sizes, kvHeads: 2 }, pictures };
  const old = write('first.safetensors', encodeSafetensors(tensors, { format: 'pt', gqa: JSON.stringify(first) }));
  const read = convertCheckpoint(old, shape, 0);
  assert.deepEqual(read.card?.model, shape);
  assert.deepEqual(read.card?.images, pictures);
  assert.deepEqual(read.values, convertCheckpoint(file, shape, 0).values);
});
