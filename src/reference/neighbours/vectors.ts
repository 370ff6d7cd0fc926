/** What all cases of the neighbouring methods are computed from. */
import type * as tf from '@tensorflow/tfjs-core';
import type { Weighted } from '../../convert/checkpoint.js';
import { attentionOf, sizesOf } from '../../convert/convert.js';
import { headsOf } from '../../convert/heads.js';
import { type Matrix, multiply, transposedTimes } from '../../convert/matrix.js';
import type { LayerStatistics } from '../../convert/statistics.js';
import type { Groups } from '../../model/grouping.js';
import type { TrainerMode } from '../../train/trainer.js';
import type { NeighboursIndex } from '../neighbours-index.js';

export interface Vectors {
  dir: string;
  index: NeighboursIndex;
  mode: TrainerMode;
  mha: Weighted;
  /** [B, S, S, 3], normalised. */
  images: tf.Tensor;
  labels: Int32Array;
  mhaLogits: Float32Array;
  statistics: readonly LayerStatistics[];
}

/** |Q_hᵀ K_g|_F and |O_h V_g|_F of every layer and head: they do not depend on the coordinates of a KV head. */
export function productNorms({ values, shape }: Weighted, grouping: readonly Groups[]): { qk: number[]; ov: number[] } {
  const found = { qk: [] as number[], ov: [] as number[] };
  for (const [i, groups] of grouping.entries()) {
    const { q, k, v, o } = headsOf(attentionOf(values, i), sizesOf(shape));
    for (const [h, group] of groups.entries()) {
      const [query, key, value, output] = [q[h], k[group], v[group], o[h]];
      if (!query || !key || !value || !output) throw new Error(`no head ${h}`);
      found.qk.push(norm(transposedTimes(query.weight, key.weight)));
      found.ov.push(norm(multiply(output, value.weight)));
    }
  }
  return found;
}

const norm = (m: Matrix): number => Math.sqrt(m.data.reduce((sum, value) => sum + value ** 2, 0));
