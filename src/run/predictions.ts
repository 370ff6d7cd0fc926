/** What an evaluation says of every image, and what that makes of the classes: predictions.csv and confusion.csv. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { testedIn } from './evaluation.js';
import { parseCsv, toCsv } from './table.js';

/** A number for each image, in the order of the evaluation. */
export interface Predictions {
  /** Class numbers. */
  labels: number[];
  /** The class with the largest logit; of equal ones the first. */
  predicted: number[];
  /** That class's probability. */
  probabilities: number[];
}

/** Gathers them batch by batch; `add` takes logits [images · classes] and labels. */
export function gatherPredictions(classes: number): {
  all: Predictions;
  add(logits: Float32Array, labels: Int32Array): void;
} {
  const all: Predictions = { labels: [], predicted: [], probabilities: [] };
  return {
    all,
    add(logits, labels) {
      for (const [i, label] of labels.entries()) {
        const row = logits.subarray(i * classes, (i + 1) * classes);
        const best = row.reduce((found, logit, c) => (logit > (row[found] as number) ? c : found), 0);
        const sum = row.reduce((total, logit) => total + Math.exp(logit - (row[best] as number)), 0);
        all.labels.push(label);
        all.predicted.push(best);
        all.probabilities.push(1 / sum);
      }
    },
  };
}

/**
 * A row an image: its place in the split, its class, what was predicted, and the probability of that.
 * @param names of the images
 */
export function predictionsCsv(
  { labels, predicted, probabilities }: Predictions,
  classes: readonly string[],
  names: readonly string[],
): string {
  const rows = labels.map((label, i): (string | number)[] => {
    const best = predicted[i] as number;
    return [
      names[i] ?? i,
      classes[label] ?? label,
      classes[best] ?? best,
      Number((probabilities[i] as number).toPrecision(7)),
    ];
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

export interface Confusion {
  classes: string[];
  counts: number[][];
}

const keptIn = (run: string, file: string): string[][] | null => {
  try {
    return parseCsv(readFileSync(path.join(testedIn(run), file), 'utf8'));
  } catch {
    return null; // the run was not tested, or is an older one
  }
};

/** Of the test images of a run. */
export function confusionIn(run: string): Confusion | null {
  const [head, ...rows] = keptIn(run, 'confusion.csv') ?? [];
  const classes = head?.slice(3) ?? [];
  const counts = rows.map((row) => row.slice(3).map(Number));
  return classes.length > 0 && counts.length === classes.length ? { classes, counts } : null;
}

/** A test image and what was said of it, by the names of classes. */
export interface Predicted {
  image: string;
  label: string;
  predicted: string;
  /** Of what was predicted. */
  probability: number;
}

/** Every test image of a run; null: the run kept no predictions. */
export function predictionsIn(run: string): Predicted[] | null {
  const rows = keptIn(run, 'predictions.csv');
  if (rows === null) return null;
  return rows.slice(1).map(([image = '', label = '', predicted = '', probability]) => ({
    ...{ image, label, predicted, probability: Number(probability) },
  }));
}

/** Whether each test image's class was predicted, by the image's name; null: the run kept no predictions. */
export function rightIn(run: string): ReadonlyMap<string, boolean> | null {
  const all = predictionsIn(run);
  return all === null ? null : new Map(all.map(({ image, label, predicted }) => [image, label === predicted]));
}
