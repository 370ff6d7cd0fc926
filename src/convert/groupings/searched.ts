/**
 * Groups that a search finds, by a measure of the error and the sizes that groups may have. Where there is room, the
 * exact optimum is computed too, so that a search shows how far it is from it.
 */
import { GqaError } from '../../errors.js';
import { kvHeadsOf, neighbouring } from '../../model/grouping.js';
import { draws } from '../../random.js';
import { bothOf, type Metric } from '../metrics/metric.js';
import { exact, MOST_HEADS } from '../search/exact.js';
import { costOf, type GroupCost, type Partitioned, remembered, type Sizes } from '../search/partition.js';
import { stage1 } from '../search/qcqa.js';
import { swap } from '../search/swap.js';
import type { GroupingInput, GroupingRule, SearchName, SearchRecord } from './rule.js';

/** Floating-point operations that an exact search may take for a layer: some minutes. */
const MOST_WORK = 1e11;
/** The same for hill climbing to one number of groups. */
const MOST_WORK_CLIMBING = 1e10;

/** @param always searches that are run beside the one that the config chooses */
export const searched = (metric: Metric, sizes: Sizes, always: readonly SearchName[] = []): GroupingRule => ({
  ...(metric.needs === undefined ? {} : { needs: metric.needs }),
  layer(input) {
    const { weights, sizes: layer, statistics, plan } = input;
    if (weights === null) throw noWeights();
    const { heads } = layer;
    const costs = metric.of(weights, layer, statistics);
    const room = roomFor(metric, input, sizes);
    if (plan.search === 'exact' && room !== null) throw noRoom(room);
    const search = plan.search === 'auto' ? (room === null ? 'exact' : 'swap') : plan.search;
    const climbs = MOST_WORK_CLIMBING / (heads ** 2 * metric.work(heads / 3, layer));
    const searchesOf = (cost: GroupCost, of: SearchRecord['of']) => {
      const known = remembered(cost, heads);
      return (kvHeads: number): { found: Partitioned; record: SearchRecord } => {
        const first = neighbouring(heads, kvHeads);
        const position = [input.index, kvHeads, of.length] as const;
        const found: Partial<Record<SearchName, Partitioned>> = {};
        let front: Partitioned[] | null = null;
        if (search === 'none') found.none = { groups: first, error: costOf(known, first) };
        else if (room === null) found.exact = exact(known, heads, kvHeads, sizes);
        if (search === 'nsga2' || (search !== 'none' && always.includes('nsga2'))) {
          front = stage1(known, first, sizes, draws(plan.seed, 'grouping/nsga2', ...position));
          found.nsga2 = front.at(-1) as Partitioned;
        }
        if (search === 'swap')
          found.swap = swap(known, first, sizes, draws(plan.seed, 'grouping/swap', ...position), climbs);
        const best = found[search] as Partitioned;
        const others = Object.entries(found).filter(([name]) => name !== search);
        return {
          found: best,
          record: {
            of,
            by: search,
            error: best.error,
            neighbours: costOf(known, first),
            others: Object.fromEntries(others.map(([name, { error }]) => [name, error])),
            ...(front === null
              ? {}
              : { front: front.map(({ groups, error }) => ({ kvHeads: kvHeadsOf(groups), error, groups })) }),
          },
        };
      };
    };
    const impossible = (kvHeads: number): boolean => sizes === 'equal' && heads % kvHeads !== 0;
    if (plan.apart) {
      const [keys, values] = [searchesOf(costs.keys, 'keys'), searchesOf(costs.values, 'values')];
      return (keyHeads, valueHeads) => {
        if (impossible(keyHeads) || impossible(valueHeads)) return null;
        const [ofKeys, ofValues] = [keys(keyHeads), values(valueHeads)];
        return {
          keys: ofKeys.found.groups,
          values: ofValues.found.groups,
          errors: { keys: ofKeys.found.error, values: ofValues.found.error },
          searches: [ofKeys.record, ofValues.record],
        };
      };
    }
    const both = searchesOf(bothOf(costs), 'both');
    return (kvHeads) => {
      if (impossible(kvHeads)) return null;
      const { found, record } = both(kvHeads);
      const { groups } = found;
      const errors = { keys: costOf(costs.keys, groups), values: costOf(costs.values, groups) };
      return { keys: groups, values: groups, errors, searches: [record] };
    };
  },
});

/** Why there is no room for an exact search; null: there is. */
function roomFor(metric: Metric, { sizes }: GroupingInput, of: Sizes): string | null {
  const { heads } = sizes;
  if (heads > MOST_HEADS) return `${heads} heads have 2^${heads} sets; at most ${MOST_HEADS} heads are searched`;
  let work = 0;
  for (let members = 2, count = heads; members <= heads; members++) {
    count = (count * (heads - members + 1)) / members; // sets of so many heads
    if (of === 'free' || heads % members === 0) work += count * metric.work(members, sizes);
  }
  if (work <= MOST_WORK) return null;
  return `${heads} heads of ${sizes.headDim} take about ${work.toExponential(0)} operations a layer; at most ${MOST_WORK.toExponential(0)} are spent`;
}

const noRoom = (room: string): GqaError =>
  new GqaError('usage', `model.search is exact, but ${room}`, { hint: 'Set model.search: nsga2, or swap.' });

const noWeights = (): GqaError =>
  new GqaError('usage', 'model.grouping looks for groups in a pretrained model, but there is none', {
    hint: 'Give model.pretrained, or model.grouping: neighbours.',
  });
