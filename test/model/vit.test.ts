import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { meanOfHeads } from '../../src/convert/merges/mean.js';
import { attentionTensors, initialAttention } from '../../src/model/attention-state.js';
import { neighbours } from '../../src/model/grouping.js';
import { initialValues, type Params, parameterSpecs, paramsFrom } from '../../src/model/params.js';
import { headDim, type ModelShape, tokens } from '../../src/model/sizes.js';
import type { Perturbation } from '../../src/model/variants/hooks.js';
import type { BlockState } from '../../src/model/variants/key-driven.js';
import { type VariantName, variantOf } from '../../src/model/variants.js';
import { forward, type Pass } from '../../src/model/vit.js';
import { startBackend } from '../../src/native/backend.js';
import { draws } from '../../src/random.js';
import { uniformNoise } from '../../src/train/noise.js';
import { STEPS } from '../train/models.js';

before(async () => {
  await startBackend('auto');
});

const HEADS = 6;
const shapeWith = (kvHeads: number): ModelShape => ({
  imageSize: 16,
  patchSize: 8,
  embedDim: 24,
  depth: 2,
  heads: HEADS,
  grouping: neighbours(2, HEADS, kvHeads),
  mlpRatio: 2,
  numClasses: 7,
});

/**
 * Weights large enough that attention is far from uniform, and key heads of unlike norms; K and V pooled from the same
 * MHA model for every K.
 */
function params(shape: ModelShape, variant: VariantName = 'gqa'): Params {
  const full = shapeWith(shape.heads);
  const specs = parameterSpecs(full);
  const { keepsHeads } = variantOf(variant);
  const valuesOf = (name: string): Float32Array => {
    if (!(name in specs)) return initialValues(name, shape, 3, variant);
    const gain = specs[name]?.initial === 'normal 0.02' ? 15 : 1;
    const values = initialValues(name, full, 3).map((value) => value * gain);
    const biased = name.endsWith('.bias') ? values.map((_, i) => 0.05 * ((i % 5) - 2)) : values;
    if (!/\.attn\.[kv]\./.test(name)) return biased;
    const scaled = scaleHeads(biased, shape.heads);
    return keepsHeads ? scaled : meanOfHeads(scaled, shape.grouping[0] ?? []);
  };
  return paramsFrom(shape, valuesOf, variant);
}

function scaleHeads(values: Float32Array, heads: number): Float32Array {
  return values.map((value, i) => value * (1 + Math.floor((i * heads) / values.length) / 3));
}

function images(count: number): tf.Tensor {
  const from = draws(11, 'images');
  return tf.tensor(
    Float32Array.from({ length: count * 16 * 16 * 3 }, () => 2 * from.uniform() - 1),
    [count, 16, 16, 3],
  );
}

type Settings = Partial<Pick<Pass, 'state' | 'allocation' | 'noise'>>;

function logits(variant: VariantName, kvHeads: number, inputs: tf.Tensor, settings: Settings = {}): Float32Array {
  const shape = shapeWith(kvHeads);
  return tf.tidy(() => {
    const pass: Pass = {
      shape,
      variant,
      state: attentionTensors(initialAttention(shape, variant)),
      allocation: { by: 'state' },
      noise: null,
      weights: tf.ones([inputs.shape[0] as number]),
      ...settings,
    };
    return forward(params(shape, variant), inputs, pass).logits.dataSync() as Float32Array;
  });
}

const largest = (values: ArrayLike<number>): number => Math.max(...Array.from(values, Math.abs));
const deviation = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  largest(Array.from(a, (value, i) => value - (b[i] as number))) / largest(b);

test('with as many KV heads as heads, gqa is mha', () => {
  const inputs = images(3);
  assert.ok(deviation(logits('gqa', HEADS, inputs), logits('mha', HEADS, inputs)) <= 1e-5);
});

test('with as many KV heads as heads and its noise off, pgqa is mha', () => {
  const inputs = images(3);
  assert.ok(deviation(logits('pgqa', HEADS, inputs), logits('mha', HEADS, inputs)) <= 1e-5);
});

/** A state under which the frozen rule gives every key head the same number of query heads. */
const even: Partial<Record<VariantName, (kvHeads: number) => Record<string, number[]>>> = {
  kdgqa: (kvHeads) => ({ norms: Array(kvHeads).fill(2) }),
  'dgqa-diff': (kvHeads) => ({ cache: Array(kvHeads).fill(0), allocation: Array(kvHeads).fill(HEADS / kvHeads) }),
  'dgqa-ema': (kvHeads) => ({ cache: Array(kvHeads).fill(0), allocation: Array(kvHeads).fill(HEADS / kvHeads) }),
};

for (const variant of Object.keys(even) as VariantName[]) {
  for (const kvHeads of [1, 3, HEADS]) {
    test(`with an even allocation ${variant} with ${kvHeads} KV heads is gqa${kvHeads === HEADS ? ', and so mha' : ''}`, () => {
      const inputs = images(3);
      const block = (even[variant] as (kvHeads: number) => Record<string, number[]>)(kvHeads);
      const ours = logits(variant, kvHeads, inputs, { state: attentionTensors([block, block]) });
      assert.ok(deviation(ours, logits(kvHeads === HEADS ? 'mha' : 'gqa', kvHeads, inputs)) <= 1e-5);
    });
  }
}

test('an uneven allocation reads the key heads it names: query heads 0–3 the first, 4 the second, 5 the third', () => {
  const inputs = images(2);
  const shape = shapeWith(3);
  const block = { cache: [0, 0, 0], allocation: [4, 1, 1] };
  const ours = logits('dgqa-ema', 3, inputs, { state: attentionTensors([block, block]) });
  // The same model as MHA whose K and V heads are copies of the grouped ones.
  const reader = [0, 0, 0, 0, 1, 2];
  const expected = tf.tidy(() => {
    const grouped = params(shape);
    const copied = Object.fromEntries(
      Object.entries(grouped).map(([name, value]) => {
        if (!/\.attn\.[kv]\./.test(name)) return [name, value];
        const rows = tf.reshape(value, [3, headDim(shape), -1]);
        const heads = tf.gather(rows, tf.tensor1d(reader, 'int32'));
        return [name, tf.reshape(heads, [HEADS * headDim(shape), ...value.shape.slice(1)])];
      }),
    );
    const full = shapeWith(HEADS);
    return forward(copied, inputs, {
      shape: full,
      variant: 'mha',
      state: attentionTensors(initialAttention(full, 'mha')),
      allocation: { by: 'state' },
      noise: null,
      weights: tf.ones([2]),
    }).logits.dataSync();
  });
  assert.ok(deviation(ours, expected) <= 1e-5);
});

test('merging heads that are equal loses nothing', () => {
  const twice = Float32Array.from({ length: 12 }, (_, i) => i % 3); // 4 heads of 3 values, all the same
  assert.deepEqual([...meanOfHeads(twice, [0, 0, 1, 1])], [0, 1, 2, 0, 1, 2]);
});

for (const variant of STEPS) {
  test(`an image’s prediction is the same alone and in any batch: ${variant}`, () => {
    const kvHeads = { all: HEADS, one: 1, any: 3 }[variantOf(variant).kvHeads ?? 'any'];
    const shape = shapeWith(kvHeads);
    const inputs = images(7);
    const blocks: Record<string, number[]>[] = [
      { norms: [1, 4, 2], cache: [0, 0, 0], allocation: [1, 3, 2] },
      { norms: [3, 1, 2], cache: [0, 0, 0], allocation: [6, 0, 0] },
    ];
    const keep = variantOf(variant).allocate?.initialState(neighbours(1, HEADS, kvHeads)[0] ?? []) ?? {};
    const state: BlockState[] = attentionTensors(
      blocks.map((block) => Object.fromEntries(Object.keys(keep).map((name) => [name, block[name] as number[]]))),
    );
    const noise = uniformNoise(shape, variant, 42, 'eval', tf.scalar(0, 'int32'));
    const together = logits(variant, kvHeads, inputs, { state, noise });
    for (let i = 0; i < 7; i++) {
      const alone = logits(variant, kvHeads, tf.slice(inputs, [i, 0, 0, 0], [1, -1, -1, -1]), { state, noise });
      const row = together.subarray(i * 7, (i + 1) * 7);
      assert.ok(largest(Array.from(alone, (value, c) => value - (row[c] as number))) <= 1e-4 * largest(row));
      assert.equal(alone.indexOf(Math.max(...alone)), row.indexOf(Math.max(...row)));
    }
  });
}

test('the paper’s evaluation allocates by the batch, so that an image’s batch-mates change what its heads read', () => {
  const inputs = images(6);
  const first = tf.slice(inputs, [0, 0, 0, 0], [1, -1, -1, -1]);
  const rest = tf.mul(tf.slice(inputs, [1, 0, 0, 0], [5, -1, -1, -1]), 4);
  const crowd = tf.concat([first, rest]);
  const shape = shapeWith(3);
  const counts = (batch: tf.Tensor): number[][] =>
    forward(params(shape), batch, {
      shape,
      variant: 'kdgqa',
      state: attentionTensors(initialAttention(shape, 'kdgqa')),
      allocation: { by: 'batch' },
      noise: null,
      weights: tf.ones([batch.shape[0] as number]),
    }).counts.map((block) => Array.from(block.dataSync()));
  assert.notDeepEqual(counts(first), counts(crowd));
});

/** d(sum of weights · logits)/d(parameter) along a random direction, by tape and by central differences. */
function directional(variant: VariantName, name: string): { tape: number; differences: number } {
  const kvHeads = 3;
  const shape = shapeWith(kvHeads);
  return tf.tidy(() => {
    const inputs = images(2);
    const all = params(shape);
    const noise = uniformNoise(shape, variant, 42, 'train', tf.scalar(0, 'int32'));
    const from = draws(5, `direction/${name}`);
    const random = (of: number[]): tf.Tensor => tf.tensor(from.normals(tf.util.sizeFromShape(of)), of);
    const weights = random([2, 7]);
    const any = random((all[name] as tf.Tensor).shape);
    const direction = tf.div(any, tf.norm(any));
    const value = (parameter: tf.Tensor): tf.Scalar => {
      const result = forward({ ...all, [name]: parameter }, inputs, {
        shape,
        variant,
        state: attentionTensors(initialAttention(shape, variant)),
        allocation: { by: 'state' },
        noise,
        weights: tf.ones([2]),
      });
      return tf.sum(tf.mul(result.logits, weights));
    };
    const tape = tf.sum(tf.mul(tf.grad(value)(all[name] as tf.Tensor), direction)).dataSync()[0] as number;
    const h = 5e-3;
    const at = (sign: number): number =>
      value(tf.add(all[name] as tf.Tensor, tf.mul(direction, sign * h))).dataSync()[0] as number;
    return { tape, differences: (at(1) - at(-1)) / (2 * h) };
  });
}

for (const variant of ['gqa', 'dgqa-ema', 'pgqa'] as const) {
  test(`the gradient of ${variant} agrees with finite differences`, () => {
    for (const name of [
      'blocks.0.attn.v.weight',
      'blocks.0.attn.k.weight',
      'blocks.1.attn.q.bias',
      'blocks.0.norm1.weight',
      'blocks.1.mlp.fc1.weight',
      'patch_embed.proj.weight',
      'pos_embed',
    ]) {
      const { tape, differences } = directional(variant, name);
      assert.ok(
        Math.abs(tape - differences) <= 0.01 * Math.max(1, Math.abs(tape)),
        `${name}: ${tape} by the tape, ${differences} by differences`,
      );
    }
  });
}

test('the key bias moves no logit, and its gradient is 0', () => {
  const { tape, differences } = directional('gqa', 'blocks.0.attn.k.bias');
  assert.equal(tape, 0);
  assert.ok(Math.abs(differences) < 2e-2, `by differences ${differences}`);
});

test('the noise of pgqa has a zero diagonal and the row statistics of the output it is taken from', () => {
  const [kvHeads, groupSize, row] = [3, 2, tokens(shapeWith(3)) * 4];
  const perturb = variantOf('pgqa').perturb?.apply as Perturbation['apply'];
  tf.tidy(() => {
    const output = tf.randomNormal([2, kvHeads * groupSize, row / 4, 4], 1, 3, 'float32', 9);
    const uniform = uniformNoise(shapeWith(3), 'pgqa', 1, 'train', tf.scalar(0, 'int32'))?.[0] as tf.Tensor;
    const rows = (x: tf.Tensor): tf.Tensor => tf.reshape(x, [2, kvHeads * groupSize, row]);
    const noise = rows(tf.sub(output, perturb(output, uniform)));
    const { mean: noiseMean, variance: noiseVariance } = tf.moments(noise, -1);
    const { mean, variance } = tf.moments(rows(output), -1);
    assert.ok(deviation(noiseMean.dataSync(), mean.dataSync()) < 1e-4);
    assert.ok(deviation(noiseVariance.dataSync(), variance.dataSync()) < 1e-4);
    const lifted = tf.max(tf.abs(tf.sub(noise, perturbedWith(uniform, 5)))).dataSync()[0] as number;
    assert.ok(lifted < 1e-4, 'what stands on the diagonal of the draw does not count');

    function perturbedWith(draw: tf.Tensor, onDiagonal: number): tf.Tensor {
      const changed = tf.add(draw, tf.mul(tf.eye(groupSize, row), onDiagonal));
      return rows(tf.sub(output, perturb(output, changed)));
    }
  });
});
