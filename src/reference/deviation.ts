/** How far numbers are from those they should be. */

export const zerosLike = (values: Float32Array): Float32Array => new Float32Array(values.length);

/** The larger one; NaN wins, so that it fails a check instead of hiding. */
export const worse = (a: number, b: number): number => (Number.isNaN(a) || a > b ? a : b);
export const largest = (values: number[]): number => values.reduce(worse, 0);

export function largestMagnitude(values: ArrayLike<number>): number {
  return largest(Array.from(values, Math.abs));
}

/** NaN when the lengths differ. */
export function largestDifference(ours: ArrayLike<number>, reference: ArrayLike<number>): number {
  if (ours.length !== reference.length) return Number.NaN;
  return largest(Array.from(ours, (value, i) => Math.abs(value - (reference[i] as number))));
}

/** Largest difference in units of the reference's largest magnitude. */
export const relativeDeviation = (ours: ArrayLike<number>, reference: ArrayLike<number>): number =>
  largestDifference(ours, reference) / largestMagnitude(reference);

/** Largest difference of an element in units of itself. */
export function elementwiseDeviation(ours: ArrayLike<number>, reference: ArrayLike<number>): number {
  if (ours.length !== reference.length) return Number.NaN;
  return largest(
    Array.from(
      ours,
      (value, i) => Math.abs(value - (reference[i] as number)) / Math.max(Math.abs(reference[i] as number), 1e-12),
    ),
  );
}
