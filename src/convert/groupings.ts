/** The ways of grouping heads, by the config's `model.grouping`; anything else there is a file of labels. */
import { looksLikePath } from '../config/paths.js';
import { GqaError } from '../errors.js';
import { fromLabels, readLabels } from './groupings/labels.js';
import { neighbours } from './groupings/neighbours.js';
import type { GroupingRule } from './groupings/rule.js';

/** A test may add a line of its own. */
export const GROUPINGS: Record<string, GroupingRule> = {
  neighbours,
};

/** @throws GqaError `usage` when it is no rule's name, and no file of labels for `depth` layers */
export function groupingRule(name: string, depth: number): GroupingRule {
  const rule = GROUPINGS[name];
  if (rule !== undefined) return rule;
  if (looksLikePath(name)) return fromLabels(readLabels(name, depth), name);
  const names = Object.keys(GROUPINGS).join(', ');
  throw new GqaError('usage', `model.grouping is ${name}; expected one of ${names}, or a file of labels (.json)`);
}
