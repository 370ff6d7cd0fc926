/** The ways of merging the heads of a group, by the config's `model.merge`. */
import { closest } from '../config/expectations.js';
import { GqaError } from '../errors.js';
import { basisOnActivations, basisOnAttention, basisOnWeights } from './merges/basis.js';
import { first } from './merges/first.js';
import { mean } from './merges/mean.js';
import { rotatedOnActivations, rotatedOnWeights } from './merges/rotated.js';
import type { MergeRule } from './merges/rule.js';

/** A test may add a line of its own. */
export const MERGES: Record<string, MergeRule> = {
  mean,
  first,
  rotated: rotatedOnActivations,
  'rotated-weights': rotatedOnWeights,
  basis: basisOnActivations,
  'basis-attention': basisOnAttention,
  'basis-weights': basisOnWeights,
};

/** @throws GqaError `usage` for a name that is not in the table */
export function mergeRule(name: string): MergeRule {
  const rule = MERGES[name];
  if (rule !== undefined) return rule;
  const near = closest(name, Object.keys(MERGES));
  throw new GqaError('usage', `model.merge is ${name}; expected one of ${Object.keys(MERGES).join(', ')}`, {
    ...(near === undefined ? {} : { hint: `Did you mean ${near}?` }),
  });
}
