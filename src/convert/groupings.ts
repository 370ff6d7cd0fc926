/** The ways of grouping heads, by the config's `model.grouping`; anything else there is a file of labels. */
import type { Grouping } from '../model/grouping.js';
import { fromLabels, readLabels } from './groupings/labels.js';
import { neighbours } from './groupings/neighbours.js';
import type { GroupingRule } from './groupings/rule.js';

/** A test may add a line of its own. */
export const GROUPINGS: Record<string, GroupingRule> = {
  neighbours,
};

/** @throws GqaError when it is no rule's name, and no file of labels for `depth` layers */
export function groupingRule(name: string, depth: number): GroupingRule {
  return GROUPINGS[name] ?? fromLabels(readLabels(name, depth) satisfies Grouping, name);
}
