/** The ways of merging the heads of a group, by the config's `model.merge`. */
import { mean } from './merges/mean.js';
import type { MergeRule } from './merges/rule.js';

/** A test may add a line of its own. */
export const MERGES: Record<string, MergeRule> = {
  mean,
};

/** @throws Error for a name that is not in the table, which no config has */
export function mergeRule(name: string): MergeRule {
  const rule = MERGES[name];
  if (rule === undefined) throw new Error(`no merge is named ${name}`);
  return rule;
}
