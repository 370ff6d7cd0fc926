/** Decompositions and products of conversion, by what they must satisfy. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eigenvalues } from '../../src/convert/eigenvalues.js';
import {
  eigen,
  identity,
  type Matrix,
  matrix,
  multiply,
  nearestOrthogonal,
  plus,
  sandwich,
  solveSymmetric,
  squareRoot,
  timesTransposed,
  trace,
  transposed,
} from '../../src/convert/matrix.js';
import { draws } from '../../src/random.js';

const drawn = (rows: number, cols: number, stream = 'matrix'): Matrix =>
  matrix(rows, cols, draws(1, stream, rows, cols).normals(rows * cols));

const furthest = (a: Matrix, b: Matrix): number => Math.max(...plus(a, b, -1).data.map(Math.abs));

test('products of every size are sums of products', () => {
  for (const [n, k, m] of [
    [1, 1, 1],
    [3, 4, 2],
    [5, 7, 6],
    [2, 9, 3],
  ] as const) {
    const [a, b] = [drawn(n, k), drawn(k, m, 'other')];
    const found = multiply(a, b);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < m; j++) {
        let sum = 0;
        for (let l = 0; l < k; l++) sum += (a.data[i * k + l] as number) * (b.data[l * m + j] as number);
        assert.ok(Math.abs((found.data[i * m + j] as number) - sum) < 1e-12);
      }
  }
  assert.throws(() => multiply(drawn(2, 3), drawn(2, 3)));
});

test('eigenvalues alone are those of the library, of any rank, with zeros and ties', () => {
  const full = timesTransposed(drawn(20, 30), drawn(20, 30));
  const low = timesTransposed(drawn(17, 3), drawn(17, 3));
  const steep = drawn(120, 40);
  for (let i = 0; i < steep.data.length; i++) steep.data[i] = (steep.data[i] as number) * 10 ** -((i % 40) / 4);
  const graded = timesTransposed(steep, steep);
  const tied = identity(6);
  const zero = matrix(5, 5);
  const one = matrix(1, 1, [3]);
  const blocks = matrix(4, 4, [2, 1, 0, 0, 1, 2, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1]);
  for (const each of [full, low, graded, tied, zero, one, blocks]) {
    const [ours, theirs] = [eigenvalues(each), eigen(each).values];
    const scale = Math.max(1, ...theirs.map(Math.abs));
    assert.equal(ours.length, theirs.length);
    for (const [i, value] of ours.entries())
      assert.ok(Math.abs(value - (theirs[i] as number)) < 1e-10 * scale, `${value} ${theirs[i]}`);
    assert.ok(Math.abs(ours.reduce((sum, value) => sum + value, 0) - trace(each)) < 1e-9 * scale);
  }
  assert.throws(() => eigenvalues(matrix(2, 2, [Number.NaN, 1, 1, 2])), /not finite/);
});

test('roots, orthogonal parts and solutions are what they say', () => {
  const positive = timesTransposed(drawn(8, 12), drawn(8, 12));
  assert.ok(furthest(sandwich(squareRoot(positive), identity(8)), positive) < 1e-9);
  const turn = nearestOrthogonal(drawn(8, 8));
  assert.ok(furthest(timesTransposed(turn, turn), identity(8)) < 1e-12);
  const right = drawn(8, 3);
  assert.ok(furthest(multiply(positive, solveSymmetric(positive, right)), right) < 1e-8);
  const singular = timesTransposed(drawn(6, 2), drawn(6, 2)); // solved with a ridge, not refused
  const inside = multiply(singular, drawn(6, 1));
  assert.ok(furthest(multiply(singular, solveSymmetric(singular, inside)), inside) < 1e-4);
  assert.ok(furthest(transposed(transposed(right)), right) === 0);
});
