/**
 * Eigenvalues of a symmetric matrix without its eigenvectors, about ten times as fast as with them: a search over
 * groupings asks for thousands. Householder's reduction to three diagonals, then implicit QL steps. Source: EISPACK
 * `tred1` and `imtql1` (Martin, Reinsch and Wilkinson 1968; Dubrulle, Martin and Wilkinson 1968).
 */
import type { Matrix } from './matrix.js';

const MOST_STEPS = 60;

/** @returns from the largest down */
export function eigenvalues({ rows: n, data }: Matrix): number[] {
  const { diagonal, beside } = threeDiagonals(data.slice(), n);
  // what is nothing beside the largest: a matrix of low rank has rows of rounding, which converge to nothing else
  const nothing =
    Number.EPSILON * diagonal.reduce((most, d, i) => Math.max(most, Math.abs(d) + Math.abs(beside[i] as number)), 0);
  for (let l = 0; l < n; l++) converge(diagonal, beside, l, nothing);
  return Array.from(diagonal).sort((a, b) => b - a);
}

/** @param a the matrix, overwritten */
function threeDiagonals(a: Float64Array, n: number): { diagonal: Float64Array; beside: Float64Array } {
  const [diagonal, beside] = [new Float64Array(n), new Float64Array(n)];
  const p = new Float64Array(n);
  for (let i = n - 1; i > 0; i--) {
    const row = i * n; // what is left of it, columns 0 … i − 1
    let scale = 0;
    for (let k = 0; k < i; k++) scale += Math.abs(a[row + k] as number);
    if (scale === 0 || i === 1) {
      beside[i] = a[row + i - 1] as number;
      diagonal[i] = a[row + i] as number;
      continue;
    }
    let h = 0;
    for (let k = 0; k < i; k++) {
      const value = (a[row + k] as number) / scale;
      a[row + k] = value;
      h += value * value;
    }
    const f = a[row + i - 1] as number;
    const g = f >= 0 ? -Math.sqrt(h) : Math.sqrt(h);
    beside[i] = scale * g;
    h -= f * g;
    a[row + i - 1] = f - g;
    // A ← A − u qᵀ − q uᵀ with u the row, p = A u / h, q = p − (uᵀp / 2h) u; the lower triangle alone
    p.fill(0, 0, i);
    for (let j = 0; j < i; j++) {
      const u = a[row + j] as number;
      let sum = (a[j * n + j] as number) * u;
      for (let k = 0; k < j; k++) {
        const value = a[j * n + k] as number;
        sum += value * (a[row + k] as number);
        p[k] = (p[k] as number) + value * u;
      }
      p[j] = (p[j] as number) + sum;
    }
    let dot = 0;
    for (let j = 0; j < i; j++) {
      p[j] = (p[j] as number) / h;
      dot += (p[j] as number) * (a[row + j] as number);
    }
    const half = dot / (2 * h);
    for (let j = 0; j < i; j++) p[j] = (p[j] as number) - half * (a[row + j] as number);
    for (let j = 0; j < i; j++) {
      const [u, q] = [a[row + j] as number, p[j] as number];
      for (let k = 0; k <= j; k++)
        a[j * n + k] = (a[j * n + k] as number) - u * (p[k] as number) - q * (a[row + k] as number);
    }
    diagonal[i] = a[row + i] as number;
  }
  diagonal[0] = a[0] ?? 0;
  beside.copyWithin(0, 1);
  beside[n - 1] = 0;
  return { diagonal, beside };
}

/** QL steps until the entry beside diagonal[l] is nothing. */
function converge(diagonal: Float64Array, beside: Float64Array, l: number, nothing: number): void {
  const n = diagonal.length;
  for (let step = 0; step < MOST_STEPS; step++) {
    let m = l;
    while (m < n - 1 && !(Math.abs(beside[m] as number) <= nothing)) m++;
    if (m === l) return;
    let g = ((diagonal[l + 1] as number) - (diagonal[l] as number)) / (2 * (beside[l] as number));
    let r = Math.hypot(g, 1);
    g = (diagonal[m] as number) - (diagonal[l] as number) + (beside[l] as number) / (g + (g >= 0 ? r : -r));
    let [s, c, p] = [1, 1, 0];
    let i = m - 1;
    for (; i >= l; i--) {
      const f = s * (beside[i] as number);
      const b = c * (beside[i] as number);
      r = Math.sqrt(f * f + g * g);
      beside[i + 1] = r;
      if (r === 0) {
        diagonal[i + 1] = (diagonal[i + 1] as number) - p;
        beside[m] = 0;
        break;
      }
      s = f / r;
      c = g / r;
      g = (diagonal[i + 1] as number) - p;
      r = ((diagonal[i] as number) - g) * s + 2 * c * b;
      p = s * r;
      diagonal[i + 1] = g + p;
      g = c * r - b;
    }
    if (r === 0 && i >= l) continue;
    diagonal[l] = (diagonal[l] as number) - p;
    beside[l] = g;
    beside[m] = 0;
  }
  throw new Error('eigenvalues do not converge: the matrix is not finite');
}
