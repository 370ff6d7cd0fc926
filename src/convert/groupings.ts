/** The ways of grouping heads, by the config's `model.grouping`; anything else there is a file of labels. */
import { closest } from '../config/expectations.js';
import { looksLikePath } from '../config/paths.js';
import { GqaError } from '../errors.js';
import { keyNorms } from './groupings/key-norms.js';
import { fromLabels, readLabels } from './groupings/labels.js';
import { neighbours } from './groupings/neighbours.js';
import { random } from './groupings/random.js';
import type { GroupingRule } from './groupings/rule.js';
import { searched } from './groupings/searched.js';
import { activationCosine, activationError, weightError } from './metrics/pooled.js';
import { basisResidual } from './metrics/residual.js';

/** A test may add a line of its own. */
export const GROUPINGS: Record<string, GroupingRule> = {
  neighbours,
  random,
  'qcqa-ec': { ...searched(weightError, 'equal', ['nsga2']), choosesLayers: true },
  'qcqa-ac': { ...searched(weightError, 'free', ['nsga2']), choosesLayers: true },
  asym: searched(activationError, 'free'),
  'asym-sym': searched(activationError, 'equal'),
  'asym-cos': searched(activationCosine, 'free'),
  'asym-sym-cos': searched(activationCosine, 'equal'),
  basis: searched(basisResidual, 'equal'),
  'basis-free': searched(basisResidual, 'free'),
  'key-norms': keyNorms('proportional'),
  'key-norms-min-max': keyNorms('min-max'),
};

/** @throws GqaError `usage` when it is no rule's name, and no file of labels for `depth` layers */
export function groupingRule(name: string, depth: number): GroupingRule {
  const rule = GROUPINGS[name];
  if (rule !== undefined) return rule;
  if (looksLikePath(name)) return fromLabels(readLabels(name, depth), name);
  const near = closest(name, Object.keys(GROUPINGS));
  const names = Object.keys(GROUPINGS).join(', ');
  throw new GqaError('usage', `model.grouping is ${name}; expected one of ${names}, or a file of labels (.json)`, {
    ...(near === undefined ? {} : { hint: `Did you mean ${near}?` }),
  });
}
