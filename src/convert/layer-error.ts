/**
 * What converting a layer costs, in one measure for all ways of grouping and merging: the expected squared error of the
 * logits before the softmax, and of what heads add to the layer's output, in parts of their own squares. It depends on
 * the functions only, not on the coordinates that a merge stores them in. On calibration images; without them inputs
 * count as white noise.
 */
import type { AttentionWeights, LayerSizes } from '../model/weights.js';
import type { LayerGroups } from './groupings/rule.js';
import { headsOf, withBias } from './heads.js';
import { dot, identity, type Matrix, multiply, sandwich, stacked, times, transposed } from './matrix.js';
import { attendedMoments, inputProducts, keyCovariance } from './moments.js';
import type { LayerStatistics, StatisticName } from './statistics.js';

export interface LayerError {
  keys: number;
  values: number;
}

/** What the measure looks at where there are images. */
export const ERROR_NEEDS: readonly StatisticName[] = ['inputs', 'imageMeans', 'attended'];

/** @param before of MHA. @param after the same heads, their KV heads by `groups` */
export function layerError(
  before: AttentionWeights,
  after: AttentionWeights,
  groups: LayerGroups,
  sizes: LayerSizes,
  statistics: LayerStatistics | null,
): LayerError {
  const { embedDim: width } = sizes;
  const [own, new_] = [headsOf(before, sizes), headsOf(after, sizes)];
  const inputs =
    statistics === null
      ? withoutLast(identity(width + 1))
      : times(inputProducts(statistics, sizes), 1 / statistics.tokens);
  const keyed = statistics === null ? identity(width) : keyCovariance(statistics, sizes);
  const attended = statistics === null ? null : attendedMoments(statistics, sizes);
  const keys = own.q.map((query, h) => {
    const [key, group] = [own.k[h], new_.k[groups.keys[h] as number]];
    return shares((turn) => sandwich(turn, inputs), [withBias(query), withBias(new_.q[h] as typeof query)], keyed, [
      key?.weight as Matrix,
      group?.weight as Matrix,
    ]);
  });
  const values = own.v.map((value, h) => {
    const group = new_.v[groups.values[h] as number];
    return shares(
      (outputs) => multiply(outputs, transposed(outputs)),
      [transposed(own.o[h] as Matrix), transposed(new_.o[h] as Matrix)],
      attended?.[h]?.covariance ?? identity(width),
      [value.weight, group?.weight as Matrix],
    );
  });
  return { keys: ratioOf(keys), values: ratioOf(values) };
}

/** Of |Lᵀ R|² with L = [a; −a'], R = [b; b']: the error, and the square of aᵀ b itself. */
function shares(
  moment: (left: Matrix) => Matrix,
  [a, a2]: [Matrix, Matrix],
  covariance: Matrix,
  [b, b2]: [Matrix, Matrix],
): { error: number; all: number } {
  const left = moment(stacked([a, times(a2, -1)]));
  const right = sandwich(stacked([b, b2]), covariance);
  const [n, m] = [a.rows, left.cols];
  let all = 0;
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) all += (left.data[i * m + j] as number) * (right.data[i * m + j] as number);
  return { error: Math.max(0, dot(left, right)), all };
}

function ratioOf(parts: readonly { error: number; all: number }[]): number {
  const all = parts.reduce((sum, part) => sum + part.all, 0);
  return all === 0 ? 0 : parts.reduce((sum, part) => sum + part.error, 0) / all;
}

/** Queries' bias counts for nothing where there are no images. */
function withoutLast(m: Matrix): Matrix {
  m.data[m.data.length - 1] = 0;
  return m;
}
