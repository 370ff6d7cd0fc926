/**
 * Whether a data set can be learned from or measured on, whichever form it was read from: what would otherwise end a
 * run within its computation.
 */
import { GqaError } from '../errors.js';
import { type Evaluable, splitsOf } from './dataset.js';

/**
 * @returns what a user should know, a line each
 * Errors: exit 3 for a single class, and for splits whose raw images have different sizes
 */
export function requireUsable(dataset: Evaluable): string[] {
  const { classes, from, train } = dataset;
  if (classes.length < 2) {
    throw new GqaError('data', `${from} has one class only (${classes.join()}): there is nothing to tell apart`, {
      hint: 'A classifier needs two classes or more. Is data.root one folder too deep, or is a class folder missing?',
    });
  }
  const sizes = splitsOf(dataset).flatMap(({ name, source }) =>
    source.kind === 'raw' ? [{ name, size: `${source.height} × ${source.width}` }] : [],
  );
  const other = sizes.find(({ size }) => size !== sizes[0]?.size);
  if (other !== undefined) {
    throw new GqaError(
      'data',
      `${from}: the images of ${sizes[0]?.name} are ${sizes[0]?.size}, those of ${other.name} ${other.size} pixels`,
      {
        hint: 'All splits must have images of one size here: do the files belong to the same data set?',
      },
    );
  }
  if (train === null) return [];
  const present = new Set(train.labels);
  const absent = classes.filter((_, label) => !present.has(label));
  if (absent.length === 0) return [];
  return [
    `${from}: no training image of ${absent.length} of ${classes.length} classes (${absent.slice(0, 5).join(', ')}${absent.length > 5 ? ', …' : ''}): they cannot be learned`,
  ];
}
