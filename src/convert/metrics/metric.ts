/** What a measure of grouping is: the cost of putting heads together, for keys and for values, added up over groups. */
import type { AttentionWeights, LayerSizes } from '../../model/weights.js';
import type { GroupCost } from '../search/partition.js';
import type { LayerStatistics, StatisticName } from '../statistics.js';

export interface GroupCosts {
  keys: GroupCost;
  values: GroupCost;
}

/** Of keys and values that are grouped alike. */
export const bothOf =
  ({ keys, values }: GroupCosts): GroupCost =>
  (members) =>
    keys(members) + values(members);

export interface Metric {
  needs?: readonly StatisticName[];
  of(weights: AttentionWeights, sizes: LayerSizes, statistics: LayerStatistics | null): GroupCosts;
  /** About how many floating-point operations the cost of a group takes; for the bound of an exact search. */
  work(members: number, sizes: LayerSizes): number;
}
