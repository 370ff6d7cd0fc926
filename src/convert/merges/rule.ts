/** What a way of merging is: how the heads of a group become one key-value head. */
import type { Groups } from '../../model/grouping.js';
import type { AttentionWeights, LayerSizes } from '../../model/weights.js';
import type { LayerStatistics, StatisticName } from '../statistics.js';

export interface MergeRule {
  /** Statistics of the MHA model on calibration images that the rule looks at. */
  needs?: readonly StatisticName[];
  /**
   * @param weights of MHA: K = H
   * @returns the layer with a key-value head for each group; queries and output projection may change too
   */
  merge(
    weights: AttentionWeights,
    groups: Groups,
    sizes: LayerSizes,
    statistics: LayerStatistics | null,
  ): AttentionWeights;
}
