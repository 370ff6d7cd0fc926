/** What a way of grouping is: which heads of a layer are put together. */
import type { Groups } from '../../model/grouping.js';
import type { AttentionWeights, LayerSizes } from '../../model/weights.js';
import type { LayerStatistics, StatisticName } from '../statistics.js';

/** What a rule can look at. */
export interface GroupingInput {
  /** From 0. */
  index: number;
  sizes: LayerSizes;
  /** KV heads that are wanted; divides the heads. */
  kvHeads: number;
  /** The layer of the MHA model; null for a model from scratch. */
  weights: AttentionWeights | null;
  /** What the rule needs; null when it needs nothing. */
  statistics: LayerStatistics | null;
}

export interface GroupingRule {
  /** The groups do not depend on the model's weights: they are known before a checkpoint is read. */
  fixed?: true;
  /** Statistics of the MHA model on calibration images that the rule looks at. */
  needs?: readonly StatisticName[];
  group(input: GroupingInput): Groups;
}
