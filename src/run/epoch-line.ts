/** What stays of an epoch on the terminal and in log.txt: one line. */
import { counted } from '../counted.js';
import { fitted } from './fit.js';
import { clock, shortPercent, shortRate } from './progress.js';
import type { EpochResult, Figures } from './results.js';

/** What the line tells beside the figures. */
export interface EpochEnd {
  /** Of the whole run. */
  epochs: number;
  /** Whether none before it was as good. */
  best: boolean;
  /** Of the epoch with its evaluation. */
  seconds: number;
  /** What the run still takes; null: not known. */
  secondsLeft: number | null;
}

/** Names of the parts, and how they are called where there is little room. */
const SHORT = { validation: 'val', test: 'test' };

/**
 * `epoch 3/10 · train loss 0.7123 top-1 80.2 % · validation loss 0.8012 top-1 77.0 % (best) · 375 images/s · 0:05, 1:10
 * left`; epoch 0 is the model as converted. After the epoch's number: how many steps float16 left out, if any. What
 * gives way first where the terminal is narrow: images/s, the epoch's own time, losses, the figures of training; epoch,
 * top-1 and what is left of the run stay.
 * @param selection what the best epoch is chosen on
 */
export function epochLine(
  { epoch, train, selection: figures, imagesPerSecond, stepsLeftOut }: EpochResult,
  { epochs, best, seconds, secondsLeft }: EpochEnd,
  selection: keyof typeof SHORT,
  columns = Number.POSITIVE_INFINITY,
): string {
  if (figures === null) return 'as converted · – (fresh head)';
  const mark = best ? ' (best)' : '';
  const [top1, left] = [shortPercent(figures.top1), secondsLeft === null ? '' : clock(secondsLeft)];
  const timeLeft = left === '' ? '' : `${left} left`;
  return fitted<'epoch' | 'leftOut' | 'train' | 'selection' | 'rate' | 'time'>(
    {
      epoch: epoch === 0 ? 'as converted' : `epoch ${epoch}/${epochs}`,
      leftOut: stepsLeftOut ? `${counted(stepsLeftOut, 'step')} left out` : '',
      train: train === null ? '' : `train ${lossAndTop1(train)}`,
      selection: `${selection} ${lossAndTop1(figures)}${mark}`,
      rate: imagesPerSecond === null ? '' : `${shortRate(imagesPerSecond)} images/s`,
      time: [clock(seconds), timeLeft].filter((part) => part !== '').join(', '),
    },
    [
      ['rate', ''],
      ['time', timeLeft],
      ['train', train === null ? '' : `train top-1 ${shortPercent(train.top1)}`],
      ['selection', `${selection} top-1 ${top1}${mark}`],
      ['train', ''],
      ['selection', `${selection} ${top1}${mark}`],
      ['selection', `${SHORT[selection]} ${top1}${mark}`],
      ['time', left],
      ['selection', `${top1}${mark}`],
      ['leftOut', ''],
    ],
    columns,
  );
}

/** `loss 0.8012 top-1 77.0 %` */
export const lossAndTop1 = ({ loss, top1 }: Pick<Figures, 'loss' | 'top1'>): string =>
  `loss ${loss.toFixed(4)} top-1 ${shortPercent(top1)}`;
