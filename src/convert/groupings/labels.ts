/**
 * Labels from a file: JSON, for each layer the group of every head, `[[0, 0, 1, 1], [0, 1, 0, 1]]`, or an object whose
 * `groups` is that.
 */
import { readFileSync } from 'node:fs';
import { GqaError } from '../../errors.js';
import { type Grouping, type Groups, groupsProblem } from '../../model/grouping.js';
import type { GroupingRule } from './rule.js';

/** @param file what messages name */
export const fromLabels = (labels: Grouping, file: string): GroupingRule => ({
  fixed: true,
  group({ index, sizes }) {
    const groups = labels[index] as Groups;
    const problem = groupsProblem(groups, sizes.heads);
    if (problem !== null) throw wrong(file, `layer ${index} ${problem}`);
    return groups;
  },
});

/**
 * @param depth layers of the model
 * @throws GqaError `usage` when it is no list of labels for so many layers, `io` when it cannot be read
 */
export function readLabels(file: string, depth: number): Grouping {
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
  const layers = Array.isArray(value) ? value : (value as { groups?: unknown } | null)?.groups;
  if (!Array.isArray(layers) || !layers.every(Array.isArray)) throw wrong(file, 'it has no list of lists');
  if (layers.length !== depth) throw wrong(file, `it has ${layers.length} layers, the model ${depth}`);
  return layers as Grouping;
}

const wrong = (file: string, what: string): GqaError =>
  new GqaError('usage', `model.grouping: ${file}: ${what}`, {
    hint: 'Expected JSON: for each layer a list with the group of every head, groups numbered from 0.',
  });
