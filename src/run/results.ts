/** A run's results.csv: its columns, and the figures that become its rows. */

/**
 * Columns of results.csv; new ones are only ever added at the end. `row` is `epoch` (epoch 0: as converted, before any
 * training; without figures when the head is a fresh one) or, once and last, `best`: the best checkpoint, its epoch and
 * step, and its test figures. val_*: the validation part; empty under protocol `paper`, which has none and fills test_*
 * in every row. Fractions 0 to 1; time_s since the run began; images_per_s in training alone; rss_mb of this process,
 * in 10⁶ bytes; tensors alive in TensorFlow.js; data_wait: the part of the training time that steps waited for images;
 * steps_left_out: optimizer steps of the epoch that float16 left out, empty with other precisions.
 */
export const resultColumns = [
  'row',
  'epoch',
  'step',
  'time_s',
  'lr',
  'train_loss',
  'train_top1',
  'val_loss',
  'val_top1',
  'val_top5',
  'test_loss',
  'test_top1',
  'test_top5',
  'images_per_s',
  'rss_mb',
  'tensors',
  'data_wait',
  'steps_left_out',
] as const;
export type ResultColumn = (typeof resultColumns)[number];

export interface Figures {
  loss: number;
  top1: number;
  top5: number | null;
}

export interface EpochResult {
  /** From 1; 0 is the model before any training. */
  epoch: number;
  step: number;
  lr: number | null;
  train: { loss: number; top1: number } | null;
  /**
   * On what the best epoch is chosen by: the validation part, or the test split under protocol `paper`. Null: a fresh
   * head, not trained yet.
   */
  selection: Figures | null;
  imagesPerSecond: number | null;
  dataWait?: number;
  tensors?: number;
  /** With float16: optimizer steps of the epoch that were left out. */
  stepsLeftOut?: number | null;
}

export function prefixed(
  part: 'val' | 'test',
  { loss, top1, top5 }: Figures,
): Partial<Record<ResultColumn, number | null>> {
  return { [`${part}_loss`]: loss, [`${part}_top1`]: top1, [`${part}_top5`]: top5 };
}

/** Seven digits: what a float32 holds. */
export function rounded(cell: number | string | null): number | string | null {
  return typeof cell === 'number' && Number.isFinite(cell) ? Number(cell.toPrecision(7)) : cell;
}
