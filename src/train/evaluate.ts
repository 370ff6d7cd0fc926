/** Evaluation: sums over real images, divided once. Changes nothing of what was trained. */
import { counted } from '../counted.js';
import type { Batch } from '../data/dataset.js';
import { GqaError } from '../errors.js';
import type { EvaluationSums, Trainer } from './trainer.js';

/** Fractions from 0 to 1; `top5` is null with five classes or fewer. */
export interface Metrics {
  top1: number;
  top5: number | null;
  /** Mean cross-entropy, without label smoothing, in nats. */
  loss: number;
  images: number;
}

/** Milliseconds between two readings of the sums, each of which waits for what the device still has to do. */
const SHOWN_EVERY_MS = 500;

/**
 * @param show    after every batch the images so far, and every so often and at the end the figures so far, which are
 *   read from the device
 * @param onLogits called with the logits [images · C] and labels of the batch's real images; null: they are not read
 *   back
 * @throws GqaError `training` when the loss is not finite
 */
export async function evaluate(
  trainer: Pick<Trainer, 'beginEvaluation' | 'evaluate' | 'readEvaluation'>,
  numClasses: number,
  batches: AsyncIterable<Batch>,
  show: { seen(images: number): void; figures(soFar: Metrics): void } = { seen() {}, figures() {} },
  onLogits: ((logits: Float32Array, labels: Int32Array) => void) | null = null,
): Promise<Metrics> {
  trainer.beginEvaluation();
  const figures = (): Metrics => metricsOf(trainer.readEvaluation(), numClasses);
  let seen = 0;
  let shown = performance.now();
  for await (const batch of batches) {
    const logits = trainer.evaluate(batch);
    if (onLogits !== null)
      onLogits(realRows(batch, logits.dataSync() as Float32Array, numClasses), realRows(batch, batch.labels, 1));
    logits.dispose();
    seen += batch.images;
    show.seen(seen);
    if (performance.now() - shown > SHOWN_EVERY_MS) {
      show.figures(figures());
      shown = performance.now();
    }
  }
  const metrics = figures();
  show.figures(metrics);
  if (!Number.isFinite(metrics.loss)) {
    throw new GqaError(
      'training',
      `evaluation: the loss is ${metrics.loss} after ${counted(metrics.images, 'image')}`,
      {
        hint: 'The model’s outputs are not finite: its training diverged, or there were no images.',
      },
    );
  }
  return metrics;
}

/** What belongs to images that count, of [B · width] values. */
function realRows<T extends Float32Array | Int32Array>({ weights }: Batch, values: T, width: number): T {
  return values.filter((_, i) => weights[Math.floor(i / width)] === 1) as T;
}

function metricsOf({ loss, top1, top5, images }: EvaluationSums, numClasses: number): Metrics {
  return { top1: top1 / images, top5: numClasses > 5 ? top5 / images : null, loss: loss / images, images };
}
