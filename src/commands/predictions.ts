/** What an evaluation says of every image, and what that makes of the classes: `gqa eval --predictions`. */
import { toCsv } from '../run/table.js';

/** Labels and predictions of an evaluation, in its order. */
export interface Predictions {
  labels: Int32Array;
  /** The class with the largest logit; of equal ones the first. */
  predicted: Int32Array;
  /** [images][classes] */
  logits: Float32Array;
}

/** @param logits [images, classes] */
export function predictionsOf(logits: Float32Array, labels: Int32Array, classes: number): Predictions {
  const predicted = labels.map((_, i) => {
    const row = logits.subarray(i * classes, (i + 1) * classes);
    return row.reduce((best, logit, c) => (logit > (row[best] as number) ? c : best), 0);
  });
  return { labels, predicted, logits };
}

/**
 * A row an image: its place in the split, its class, what was predicted, and the probability of that.
 * @param names of the images
 */
export function predictionsCsv(
  { labels, predicted, logits }: Predictions,
  classes: readonly string[],
  names: readonly string[],
): string {
  const rows = Array.from(labels, (label, i): (string | number)[] => {
    const row = logits.subarray(i * classes.length, (i + 1) * classes.length);
    const best = predicted[i] as number;
    const sum = row.reduce((total, logit) => total + Math.exp(logit - (row[best] as number)), 0);
    return [names[i] ?? i, classes[label] ?? label, classes[best] ?? best, Number((1 / sum).toPrecision(7))];
  });
  return toCsv([['image', 'class', 'predicted', 'probability'], ...rows]);
}

/** Images by their class (row) and by what was predicted (column). */
export function confusionOf({ labels, predicted }: Predictions, classes: number): number[][] {
  const counts = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  for (const [i, label] of labels.entries()) {
    const row = counts[label];
    if (row !== undefined) row[predicted[i] as number] = (row[predicted[i] as number] ?? 0) + 1;
  }
  return counts;
}

/** confusion.csv: a row a class, with its accuracy. */
export const confusionCsv = (confusion: readonly (readonly number[])[], classes: readonly string[]): string =>
  toCsv([
    ['class', 'images', 'top1', ...classes],
    ...confusion.map((row, c): (string | number | null)[] => {
      const images = row.reduce((sum, count) => sum + count, 0);
      return [classes[c] ?? c, images, images === 0 ? null : Number(((row[c] ?? 0) / images).toPrecision(7)), ...row];
    }),
  ]);
