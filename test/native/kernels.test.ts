import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { startBackend } from '../../src/native/backend.js';

before(() => startBackend('wasm'));

/** Numbers that no two positions share, small enough that float32 sums of them stay exact. */
function counting(shape: number[], factor: number): tf.Tensor {
  const size = tf.util.sizeFromShape(shape);
  return tf.tensor(
    Float32Array.from({ length: size }, (_, i) => ((i * factor) % 17) - 8),
    shape,
  );
}

/** The definition, in JavaScript: batch dimensions broadcast, sums in order. */
function product(
  a: tf.Tensor,
  b: tf.Tensor,
  transposeA: boolean,
  transposeB: boolean,
): { shape: number[]; values: number[] } {
  const [m, k] = transposeA ? [a.shape.at(-1)!, a.shape.at(-2)!] : [a.shape.at(-2)!, a.shape.at(-1)!];
  const n = transposeB ? b.shape.at(-2)! : b.shape.at(-1)!;
  const batch = tf.broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  const left = tf.broadcastTo(a, [...batch, ...a.shape.slice(-2)]).dataSync();
  const right = tf.broadcastTo(b, [...batch, ...b.shape.slice(-2)]).dataSync();
  const values: number[] = [];
  for (let i = 0; i < tf.util.sizeFromShape(batch); i++) {
    for (let row = 0; row < m; row++) {
      for (let column = 0; column < n; column++) {
        let sum = 0;
        for (let inner = 0; inner < k; inner++) {
          const x = left[i * m * k + (transposeA ? inner * m + row : row * k + inner)]!;
          const y = right[i * k * n + (transposeB ? column * k + inner : inner * n + column)]!;
          sum += x * y;
        }
        values.push(sum);
      }
    }
  }
  return { shape: [...batch, m, n], values };
}

const BATCHES: [left: number[], right: number[]][] = [
  [[], []],
  [[3], [3]],
  [
    [2, 3],
    [2, 3],
  ],
  [[1], [4]],
  [[4], [1]],
  [[2, 3], []],
  [[], [2, 3]],
  [
    [2, 1],
    [1, 3],
  ],
  [[3], [2, 1]],
];

for (const transposeA of [false, true]) {
  for (const transposeB of [false, true]) {
    test(`matMul on wasm agrees with its definition, transposeA ${transposeA}, transposeB ${transposeB}, for equal and broadcast batches`, () => {
      for (const [left, right] of BATCHES) {
        const a = counting([...left, ...(transposeA ? [7, 5] : [5, 7])], 3);
        const b = counting([...right, ...(transposeB ? [6, 7] : [7, 6])], 5);
        const expected = product(a, b, transposeA, transposeB);
        const found = tf.matMul(a, b, transposeA, transposeB);
        assert.deepEqual(found.shape, expected.shape);
        assert.deepEqual([...found.dataSync()], expected.values, `batches [${left}] and [${right}]`);
      }
    });
  }
}

test('matMul on wasm leaves its operands as they were and gives back all memory it used', () => {
  const backend = tf.backend() as BackendWasm;
  const memory = backend.wasm as unknown as { HEAPU8: Uint8Array };
  const a = counting([4, 64, 64], 3);
  const b = counting([4, 64, 64], 5);
  const before = [...a.dataSync(), ...b.dataSync()];
  const run = (): void => tf.dispose(tf.matMul(a, b, true, true));
  run();
  const names = backend.numDataIds();
  const heap = memory.HEAPU8.byteLength;
  for (let i = 0; i < 1000; i++) run(); // 64 MB if only the packed matrices stayed
  assert.equal(backend.numDataIds(), names);
  assert.equal(memory.HEAPU8.byteLength, heap);
  assert.deepEqual([...a.dataSync(), ...b.dataSync()], before);
});

test('matMul on wasm gives zeros for an empty sum and refuses sizes that do not fit', () => {
  assert.deepEqual([...tf.matMul(tf.zeros([2, 2, 0]), tf.zeros([2, 0, 3])).dataSync()], Array(12).fill(0));
  assert.throws(() => tf.matMul(tf.ones([2, 3]), tf.ones([4, 2])));
});

test('the gradient of matMul has the shape of a side that was broadcast, summed over the batch', () => {
  for (const transposeA of [false, true]) {
    for (const transposeB of [false, true]) {
      const a = counting(transposeA ? [1, 3, 2] : [1, 2, 3], 3);
      const b = counting(transposeB ? [4, 5, 3] : [4, 3, 5], 5);
      const full = tf.tile(a, [4, 1, 1]);
      const f = (x: tf.Tensor, y: tf.Tensor): tf.Scalar => tf.sum(tf.square(tf.matMul(x, y, transposeA, transposeB)));
      const [da, db] = tf.grads(f)([a, b]) as [tf.Tensor, tf.Tensor];
      const [dFull, dbFull] = tf.grads(f)([full, b]) as [tf.Tensor, tf.Tensor];
      assert.deepEqual(da.shape, a.shape);
      assert.deepEqual([...da.dataSync()], [...tf.sum(dFull, 0, true).dataSync()]);
      assert.deepEqual([...db.dataSync()], [...dbFull.dataSync()]);
    }
  }
});

test('the gradient passes through a choice that depends on the differentiated value', () => {
  const gradient = tf.grad((x) => tf.sum(tf.where(tf.greater(x, 2), tf.square(x), tf.zerosLike(x))))(
    tf.tensor1d([1, 2, 3, 4]),
  );
  assert.deepEqual([...gradient.dataSync()], [0, 0, 6, 8]);
});

test('oneHot on wasm is right in both dtypes', () => {
  const index = tf.tensor1d([2, 0], 'int32');
  assert.deepEqual([...tf.oneHot(index, 3).dataSync()], [0, 0, 1, 1, 0, 0]);
  assert.deepEqual([...tf.oneHot(index, 3, 1, 0, 'float32').dataSync()], [0, 0, 1, 1, 0, 0]);
});

test('round on wasm takes halves to the even neighbour', () => {
  assert.deepEqual(
    [...tf.round(tf.tensor1d([0.5, 1.5, 2.5, 3.5, -1.5, 8388609])).dataSync()],
    [0, 2, 2, 4, -2, 8388609],
  );
});

test('erf on wasm is right to 2e-7', () => {
  const cases = [0, 1e-3, 0.1, 0.5, 1, 2, 3, -1];
  const expected = [
    0, 0.0011283787909692, 0.1124629160182849, 0.5204998778130465, 0.8427007929497149, 0.9953222650189527,
    0.9999779095030014, -0.8427007929497149,
  ];
  for (const [i, found] of tf.erf(tf.tensor1d(cases)).dataSync().entries()) {
    assert.ok(Math.abs(found - expected[i]!) < 2e-7, `erf(${cases[i]}) = ${found}, expected ${expected[i]}`);
  }
});

test('the other operations that the model and its allocation use are right on wasm', () => {
  const x = tf.tensor2d([
    [1, 3, 3],
    [6, 5, 4],
  ]);
  const read = (t: tf.Tensor): number[] => [...t.dataSync()];
  assert.deepEqual(read(tf.cumsum(x, 1)), [1, 4, 7, 6, 11, 15]);
  assert.deepEqual(read(tf.cumsum(x, 1, true, true)), [6, 3, 0, 9, 4, 0]);
  assert.deepEqual(read(tf.argMax(x, 1)), [1, 0]); // the first of equals
  assert.deepEqual(read(tf.argMin(x, 0)), [0, 0, 0]);
  const top = tf.topk(x, 2);
  assert.deepEqual(read(top.values), [3, 3, 6, 5]);
  assert.deepEqual(read(top.indices), [1, 2, 0, 1]);
  assert.deepEqual(read(tf.isFinite(tf.tensor1d([1, Number.NaN, Number.POSITIVE_INFINITY]))), [1, 0, 0]);
  assert.deepEqual(
    read(tf.transpose(tf.reshape(tf.range(0, 8), [1, 2, 2, 1, 2]), [0, 3, 2, 1, 4])),
    [0, 1, 4, 5, 2, 3, 6, 7],
  );
  assert.deepEqual(
    read(
      tf.pad(x, [
        [0, 0],
        [1, 0],
      ]),
    ),
    [0, 1, 3, 3, 0, 6, 5, 4],
  );
  assert.deepEqual(read(tf.tile(tf.slice(x, [0, 1], [2, 1]), [1, 2])), [3, 3, 5, 5]);
  assert.deepEqual(read(tf.concat([x, x], 0)).length, 12);
  assert.deepEqual(
    read(
      tf.softmax(
        tf.tensor2d([
          [1000, 1000],
          [-1000, 1000],
        ]),
      ),
    ),
    [0.5, 0.5, 0, 1],
  );
  assert.deepEqual(read(tf.rsqrt(tf.tensor1d([4, 16]))), [0.5, 0.25]);
});
