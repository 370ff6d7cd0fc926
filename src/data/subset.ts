/**
 * Which images of a split take part: stratified, seeded, the same on every machine. Proportions are kept by the method
 * of largest remainders.
 */
import { counted } from '../counted.js';
import { GqaError } from '../errors.js';
import { draws, shuffle } from '../random.js';

/**
 * A part of a split with its class proportions.
 * @param labels class of every image, 0 … classes − 1
 * @param count  how many images; null, or more than there are: all
 * @param stream name of the draws, e.g. `limit/train`
 * @returns sorted indices; every class that occurs keeps at least one image when `count` allows it. A larger count
 *   takes the same images and more, up to rounding.
 */
export function takeStratified(labels: Int32Array, count: number | null, seed: number, stream: string): Int32Array {
  if (count === null || count >= labels.length) return Int32Array.from(labels, (_, index) => index);
  const members = byClass(labels);
  const sizes = members.map((indices) => indices.length);
  return drawFromClasses(members, shares(sizes, sizes, count), seed, stream);
}

/**
 * Splits `indices` into a training and a validation part, stratified. A class never loses its last image to validation.
 * @param labels   class of every image of the whole split
 * @param indices  the images to be divided
 * @param fraction of the images that goes to validation, 0 < fraction < 1; rounded, at least one image
 * @returns both sorted, together the given indices. Errors: exit 2 when nothing can be held out.
 */
export function holdOut(
  labels: Int32Array,
  indices: Int32Array,
  fraction: number,
  seed: number,
): { train: Int32Array; validation: Int32Array } {
  const members = byClass(Int32Array.from(indices, (index) => labels[index] ?? 0));
  const sizes = members.map((positions) => positions.length);
  const spare = sizes.map((size) => Math.max(0, size - 1));
  const spareTotal = spare.reduce((sum, size) => sum + size, 0);
  const count = Math.min(Math.max(1, Math.round(indices.length * fraction)), spareTotal);
  if (count === 0) {
    throw new GqaError(
      'usage',
      `A validation part cannot be taken from ${counted(indices.length, 'training image')} of ${counted(sizes.filter((size) => size > 0).length, 'class')}`,
      {
        hint: 'Raise data.limit.train, or set train.protocol: paper.',
      },
    );
  }
  const heldOut = new Set(drawFromClasses(members, shares(sizes, spare, count), seed, 'validation'));
  return {
    train: indices.filter((_, position) => !heldOut.has(position)).sort(),
    validation: indices.filter((_, position) => heldOut.has(position)).sort(),
  };
}

/** Positions of every class, in order. */
function byClass(labels: Int32Array): number[][] {
  const members: number[][] = [];
  for (const [position, label] of labels.entries()) {
    while (members.length <= label) members.push([]);
    members[label]?.push(position);
  }
  return members;
}

/**
 * How many images each class gives: `count` in the proportions of `sizes`, by largest remainder (ties: the lower
 * class), none above its `capacity`. When count allows it, a class with capacity gets at least one, taken from the
 * largest share.
 */
function shares(sizes: number[], capacity: number[], count: number): number[] {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  // Products of integers below 2⁵³: exact, so that remainders compare the same everywhere.
  const taken = sizes.map((size, label) => Math.min(Math.floor((count * size) / total), capacity[label] ?? 0));
  const order = sizes
    .map((_, label) => label)
    .sort((a, b) => ((count * sizes[b]!) % total) - ((count * sizes[a]!) % total) || a - b);
  let left = count - taken.reduce((sum, size) => sum + size, 0);
  while (left > 0) {
    for (const label of order) {
      if (left === 0 || taken[label]! >= capacity[label]!) continue;
      taken[label]!++;
      left--;
    }
  }
  const possible = capacity.filter((size) => size > 0).length;
  if (count >= possible) {
    for (const [label, size] of taken.entries()) {
      if (size > 0 || capacity[label] === 0) continue;
      taken[taken.indexOf(Math.max(...taken))]!--;
      taken[label] = 1;
    }
  }
  return taken;
}

/** The first `counts[c]` of every class in an order of its own. */
function drawFromClasses(members: number[][], counts: number[], seed: number, stream: string): Int32Array {
  const chosen = members.flatMap((positions, label) => [
    ...shuffle(Int32Array.from(positions), draws(seed, stream, label)).subarray(0, counts[label] ?? 0),
  ]);
  return Int32Array.from(chosen).sort();
}
