/** The fused operations as they are, and compiled with the sanitizers for addresses and for undefined behaviour. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { addonFile } from '../../src/native/addons.js';
import { startBackend } from '../../src/native/backend.js';
import { compile } from '../../src/trace/compile.js';
import { float32, traced } from '../../src/trace/function.js';
import { layersInUse } from '../../src/train/fused-layers.js';
import { compareAttention, compareProducts, compareRows, PRECISIONS } from './fused-cases.js';
import { sanitizedEnvironment, sanitizer, withSanitizers } from './sanitizers.js';

const require = createRequire(import.meta.url);
const { fused } = await startBackend('auto');
const skip = 'problem' in fused ? `no fused operations: ${fused.problem}` : false;

for (const precision of PRECISIONS) {
  test(`layer norm, GELU and residual are their formulas: ${precision}`, { skip }, () => compareRows(precision));
  test(`attention is its formula, for every way of sharing heads: ${precision}`, { skip }, () =>
    compareAttention(precision),
  );
}

const { products } =
  'problem' in fused ? { products: false } : (require(addonFile('gqa_fused')) as { products: boolean });
const withoutOpenBlas = skip || (!products && 'OpenBLAS is not beside libtensorflow (GQA_LIBTENSORFLOW?)');

test('a product by OpenBLAS is its formula', { skip: withoutOpenBlas }, compareProducts);

test('with large weights a graph multiplies by OpenBLAS as TensorFlow does, gradients too', {
  skip: withoutOpenBlas,
}, () => {
  const [rows, width, height] = [3, 1024, 1056];
  const f = traced({ x: float32(rows, width), w: float32(width, height) }, ({ x, w }) => {
    const { value, grads } = tf.valueAndGrads((x: tf.Tensor, w: tf.Tensor) =>
      tf.sum(tf.square(tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D))),
    )([x, w]);
    return { value, dx: grads[0] as tf.Tensor, dw: grads[1] as tf.Tensor };
  });
  const x = Float32Array.from({ length: rows * width }, (_, i) => Math.sin(i));
  const w = Float32Array.from({ length: width * height }, (_, i) => Math.cos(3 * i) / 30);
  const [ours, theirs] = [true, false].map((openblas) => {
    const program = compile({ f }, { fused: true, openblas });
    const found = Object.values(program.run.f({ x, w })).map((each) => (each as tf.Tensor).dataSync());
    program.dispose();
    return { found };
  });
  for (const [i, values] of (ours?.found ?? []).entries()) {
    const others = theirs?.found[i] as Float32Array;
    const largest = others.reduce((most, each) => Math.max(most, Math.abs(each)), 0);
    assert.ok(values.every((value, at) => Math.abs(value - (others[at] as number)) <= 1e-5 * largest));
  }
  assert.equal(ours?.found.length, 3);
});

for (const instructions of ['avx2', 'avx512'])
  test(`the same with instructions up to ${instructions}, whatever this processor has`, { skip }, () => {
    const script = fileURLToPath(new URL('fused-alone.js', import.meta.url));
    const ran = spawnSync(process.execPath, [script, addonFile('gqa_fused')], {
      encoding: 'utf8',
      env: { ...process.env, GQA_INSTRUCTIONS: instructions, TF_CPP_MIN_LOG_LEVEL: '3' },
    });
    assert.equal(ran.status, 0, ran.stderr.slice(-4000));
    assert.match(ran.stdout, instructions === 'avx2' ? /AVX2: all compared/ : /AVX-?512|AVX2/);
    assert.doesNotMatch(ran.stdout, /AMX/);
  });

test('no sanitizer finds anything amiss in the fused operations', {
  skip: skip || (sanitizer() === null && 'g++ or its address sanitizer (libasan.so) is not on this machine'),
}, async (t) => {
  const addon = await withSanitizers(t, 'gqa_fused.node');
  const script = fileURLToPath(new URL('fused-alone.js', import.meta.url));
  const ran = spawnSync(process.execPath, [script, path.resolve(addon)], {
    encoding: 'utf8',
    timeout: 300_000,
    env: sanitizedEnvironment(),
  });
  assert.equal(ran.status, 0, ran.stderr.slice(-4000));
  assert.match(ran.stdout, /all compared/);
});

test('numbers that are not finite stay what they are', { skip }, () => {
  const program = compile(
    {
      f: traced({ x: float32(2, 40) }, ({ x }) => ({
        norm: layersInUse().norm(x, tf.ones([40]), tf.zeros([40]), 1e-6),
        gelu: layersInUse().biasGelu(x, tf.zeros([40])),
      })),
    },
    { fused: true },
  );
  const x = new Float32Array(80).fill(0.5);
  x[3] = Number.NaN;
  const { norm, gelu } = program.run.f({ x }) as Record<string, tf.Tensor>;
  const [normed, activated] = [(norm as tf.Tensor).dataSync(), (gelu as tf.Tensor).dataSync()];
  assert.ok(normed.slice(0, 40).every(Number.isNaN) && normed.slice(40).every(Number.isFinite));
  assert.deepEqual(
    [...activated].flatMap((value, i) => (Number.isNaN(value) ? [i] : [])),
    [3],
  );
  tf.dispose([norm as tf.Tensor, gelu as tf.Tensor]);
  program.dispose();
});
