/** Which images a command will ask for, so that a data set in memory holds no others. */
import { sampled } from './common-size.js';
import type { SplitName, Take } from './dataset.js';
import { takeStratified } from './subset.js';

/** What `data.limit` leaves of every split, as the run takes it; undefined: everything. */
export function takeLimited(limit: Readonly<Record<SplitName, number | null>>, seed: number): Take | undefined {
  if (Object.values(limit).every((count) => count === null)) return undefined;
  return (split, labels) =>
    limit[split] === null ? null : withSampled(labels, takeLimit(labels, limit[split], seed, split));
}

/** Some training images, and of other splits none. */
export const takeOfTraining =
  (chosen: (labels: Int32Array) => Int32Array): Take =>
  (split, labels) =>
    withSampled(labels, split === 'train' ? chosen(labels) : new Int32Array());

/** The images of a split that its limit leaves: sorted indices. @param limit null: all */
export const takeLimit = (labels: Int32Array, limit: number | null, seed: number, split: SplitName): Int32Array =>
  takeStratified(labels, limit, seed, `limit/${split}`);

/** With those that common-size.ts looks at, whatever is taken: the size at which images cross must not depend on it. */
const withSampled = (labels: Int32Array, taken: Int32Array): Int32Array =>
  Int32Array.from(new Set([...taken, ...sampled(labels.length)])).sort();
