/**
 * Labels from a file: JSON, for each layer the group of every head, `[[0, 0, 1, 1], [0, 1, 0, 1]]`, or an object whose
 * `groups` is that; `value_groups`, of the same form, where values are grouped otherwise than keys.
 */
import { readFileSync } from 'node:fs';
import { GqaError } from '../../errors.js';
import { type Grouping, type Groups, groupsProblem } from '../../model/grouping.js';
import { pooledCosts } from './neighbours.js';
import { type GroupingRule, together } from './rule.js';

export interface Labels {
  keys: Grouping;
  values: Grouping;
}

/** @param file what messages name */
export const fromLabels = ({ keys, values }: Labels, file: string): GroupingRule => ({
  fixed: true,
  layer: (input) => () => {
    const { index, sizes } = input;
    const [ofKeys, ofValues] = [keys, values].map((grouping) => {
      const groups = grouping[index] as Groups;
      const problem = groupsProblem(groups, sizes.heads);
      if (problem !== null) throw wrong(file, `layer ${index} ${problem}`);
      return groups;
    }) as [Groups, Groups];
    return { ...together(ofKeys, pooledCosts(input, ofKeys, ofValues)), values: ofValues };
  },
});

/**
 * @param depth layers of the model
 * @throws GqaError `usage` when it is no list of labels for so many layers, `io` when it cannot be read
 */
export function readLabels(file: string, depth: number): Labels {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const missing = code === 'ENOENT' || code === 'ENOTDIR';
    throw new GqaError(missing ? 'usage' : 'io', `model.grouping: ${file} cannot be read (${code})`, { cause });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw wrong(file, `it is not JSON (${(cause as Error).message})`);
  }
  const object = value as { groups?: unknown; value_groups?: unknown } | null;
  const keys = layersOf(Array.isArray(value) ? value : object?.groups, depth, file);
  const ofValues = Array.isArray(value) ? undefined : object?.value_groups;
  return { keys, values: ofValues === undefined ? keys : layersOf(ofValues, depth, file) };
}

function layersOf(layers: unknown, depth: number, file: string): Grouping {
  if (!Array.isArray(layers) || !layers.every(Array.isArray)) throw wrong(file, 'it has no list of lists');
  if (layers.length !== depth) throw wrong(file, `it has ${layers.length} layers, the model ${depth}`);
  return layers as Grouping;
}

const wrong = (file: string, what: string): GqaError =>
  new GqaError('usage', `model.grouping: ${file}: ${what}`, {
    hint: 'Expected JSON: for each layer a list with the group of every head, groups numbered from 0.',
  });
