/**
 * Dense matrices of float64, row by row: what conversion computes with. Products are ours, since they run on the arrays
 * as they are; decompositions are those of ml-matrix.
 */
import {
  CholeskyDecomposition,
  EigenvalueDecomposition,
  Matrix as Library,
  SingularValueDecomposition,
} from 'ml-matrix';

export interface Matrix {
  rows: number;
  cols: number;
  data: Float64Array;
}

export const matrix = (rows: number, cols: number, data: ArrayLike<number> | null = null): Matrix => ({
  rows,
  cols,
  data: data === null ? new Float64Array(rows * cols) : Float64Array.from(data),
});

export function identity(n: number): Matrix {
  const found = matrix(n, n);
  for (let i = 0; i < n; i++) found.data[i * n + i] = 1;
  return found;
}

/** a · b, four rows of b at a time: memory is the bound. */
export function multiply(a: Matrix, b: Matrix): Matrix {
  if (a.cols !== b.rows) throw new Error(`[${a.rows}, ${a.cols}] · [${b.rows}, ${b.cols}]`);
  const [n, inner, m] = [a.rows, a.cols, b.cols];
  const [x, y] = [a.data, b.data];
  const found = new Float64Array(n * m);
  for (let i = 0; i < n; i++) {
    const to = i * m;
    let k = 0;
    for (; k + 4 <= inner; k += 4) {
      const at = i * inner + k;
      const [f0, f1, f2, f3] = [x[at] as number, x[at + 1] as number, x[at + 2] as number, x[at + 3] as number];
      const [r0, r1, r2, r3] = [k * m, (k + 1) * m, (k + 2) * m, (k + 3) * m];
      for (let j = 0; j < m; j++)
        found[to + j] =
          (found[to + j] as number) +
          (f0 * (y[r0 + j] as number) + f1 * (y[r1 + j] as number)) +
          (f2 * (y[r2 + j] as number) + f3 * (y[r3 + j] as number));
    }
    for (; k < inner; k++) {
      const factor = x[i * inner + k] as number;
      const row = k * m;
      for (let j = 0; j < m; j++) found[to + j] = (found[to + j] as number) + factor * (y[row + j] as number);
    }
  }
  return { rows: n, cols: m, data: found };
}

/** a · bᵀ */
export function timesTransposed(a: Matrix, b: Matrix): Matrix {
  return multiply(a, transposed(b));
}

/** aᵀ · b */
export const transposedTimes = (a: Matrix, b: Matrix): Matrix => multiply(transposed(a), b);

export function transposed({ rows, cols, data }: Matrix): Matrix {
  const found = new Float64Array(data.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) found[j * rows + i] = data[i * cols + j] as number;
  return { rows: cols, cols: rows, data: found };
}

/** m · a · mᵀ */
export const sandwich = (m: Matrix, a: Matrix): Matrix => timesTransposed(multiply(m, a), m);

/** a + factor · b */
export function plus(a: Matrix, b: Matrix, factor = 1): Matrix {
  if (a.rows !== b.rows || a.cols !== b.cols) throw new Error(`[${a.rows}, ${a.cols}] + [${b.rows}, ${b.cols}]`);
  return { ...a, data: a.data.map((value, i) => value + factor * (b.data[i] as number)) };
}

export const times = (a: Matrix, factor: number): Matrix => ({ ...a, data: a.data.map((value) => value * factor) });

/** Σ of the matrices, of which there is one at least. */
export const sumOf = (all: readonly Matrix[]): Matrix => all.reduce((sum, each) => plus(sum, each));

/** Mean of the matrices, of which there is one at least. */
export const meanOf = (all: readonly Matrix[]): Matrix => times(sumOf(all), 1 / all.length);

export function trace({ rows, cols, data }: Matrix): number {
  let sum = 0;
  for (let i = 0; i < rows; i++) sum += data[i * cols + i] as number;
  return sum;
}

/** Σ a ∘ b: tr(a · bᵀ) */
export function dot(a: Matrix, b: Matrix): number {
  let sum = 0;
  for (let i = 0; i < a.data.length; i++) sum += (a.data[i] as number) * (b.data[i] as number);
  return sum;
}

export function rowsFrom({ cols, data }: Matrix, from: number, to: number): Matrix {
  return { rows: to - from, cols, data: data.slice(from * cols, to * cols) };
}

export function columnsFrom({ rows, cols, data }: Matrix, from: number, to: number): Matrix {
  const found = matrix(rows, to - from);
  for (let i = 0; i < rows; i++) found.data.set(data.subarray(i * cols + from, i * cols + to), i * (to - from));
  return found;
}

/** Matrices of the same width, one under the other. */
export function stacked(all: readonly Matrix[]): Matrix {
  const found = matrix(
    all.reduce((sum, { rows }) => sum + rows, 0),
    all[0]?.cols ?? 0,
  );
  let at = 0;
  for (const { data } of all) {
    found.data.set(data, at);
    at += data.length;
  }
  return found;
}

/** Matrices of the same height, side by side. */
export function beside(all: readonly Matrix[]): Matrix {
  return transposed(stacked(all.map(transposed)));
}

/** The rows and columns of the blocks of `size` that `chosen` names, in their order. */
export function principalBlocks({ cols, data }: Matrix, chosen: readonly number[], size: number): Matrix {
  const found = matrix(chosen.length * size, chosen.length * size);
  for (const [a, row] of chosen.entries())
    for (let i = 0; i < size; i++)
      for (const [b, column] of chosen.entries()) {
        const from = (row * size + i) * cols + column * size;
        found.data.set(data.subarray(from, from + size), (a * size + i) * found.cols + b * size);
      }
  return found;
}

/** Scales row i by factors[i]. */
export function rowsTimes({ rows, cols, data }: Matrix, factors: ArrayLike<number>): Matrix {
  return { rows, cols, data: data.map((value, at) => value * (factors[Math.floor(at / cols)] as number)) };
}

const forLibrary = ({ rows, cols, data }: Matrix): Library => Library.from1DArray(rows, cols, data);

const fromLibrary = (m: Library): Matrix => matrix(m.rows, m.columns, m.to1DArray());

/** Of a symmetric matrix: values from the largest down, and for each a row of `vectors`. */
export function eigen(symmetric: Matrix): { values: number[]; vectors: Matrix } {
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(forLibrary(symmetric), {
    assumeSymmetric: true,
  });
  const order = realEigenvalues.map((_, i) => i).sort((a, b) => (realEigenvalues[b] ?? 0) - (realEigenvalues[a] ?? 0));
  const columns = transposed(fromLibrary(eigenvectorMatrix));
  return {
    values: order.map((i) => realEigenvalues[i] as number),
    vectors: stacked(order.map((i) => rowsFrom(columns, i, i + 1))),
  };
}

/** Of a symmetric matrix that is not negative: what lies below 0 by rounding counts as 0. */
export function squareRoot(symmetric: Matrix): Matrix {
  const { values, vectors } = eigen(symmetric);
  return transposedTimes(
    vectors,
    rowsTimes(
      vectors,
      values.map((value) => Math.sqrt(Math.max(value, 0))),
    ),
  );
}

/** The orthogonal matrix R that maximises tr(R mᵀ): U Wᵀ of m = U S Wᵀ. @param m square */
export function nearestOrthogonal(m: Matrix): Matrix {
  const { leftSingularVectors, rightSingularVectors } = new SingularValueDecomposition(forLibrary(m));
  return timesTransposed(fromLibrary(leftSingularVectors), fromLibrary(rightSingularVectors));
}

/**
 * x of symmetric · x = right. A matrix that is not positive by rounding (fewer tokens than dimensions) is solved with a
 * ridge of 1e-12 of its mean diagonal, and ten times as much until it is.
 */
export function solveSymmetric(given: Matrix, right: Matrix): Matrix {
  const n = given.rows;
  const symmetric = times(plus(given, transposed(given)), 0.5); // to the last bit
  const mean = Math.max(trace(symmetric) / n, Number.MIN_VALUE);
  for (let ridge = 0; ; ridge = ridge === 0 ? 1e-12 * mean : ridge * 10) {
    const shifted = ridge === 0 ? symmetric : plus(symmetric, times(identity(n), ridge));
    const found = new CholeskyDecomposition(forLibrary(shifted));
    if (found.isPositiveDefinite()) return fromLibrary(found.solve(forLibrary(right)));
    if (ridge > mean) throw new Error('a matrix of products is not finite');
  }
}
