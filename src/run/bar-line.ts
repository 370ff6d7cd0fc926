/** What a bar shows, for the columns there are. */
import cliProgress from 'cli-progress';
import { columnsIn, cutTo, fitted } from './fit.js';
import { type Counted, clock, type ProgressFields, shortPercent, shortRate } from './progress.js';

/** Times in seconds since it began. */
export interface State {
  label: string;
  total: number;
  counted: Counted;
  from: number;
  fields: ProgressFields;
  elapsed: number;
  done: number;
  /** The first and the last report; `delta` is the time between the last two. */
  first: { at: number; done: number } | null;
  last: { at: number; done: number };
  delta: number;
}

export function secondsEach({ first, last }: State): number | null {
  return first !== null && last.done > first.done ? (last.at - first.at) / (last.done - first.done) : null;
}

/** What a line may tell, each in words or empty. */
interface Shown {
  counts: string;
  speed: string;
  loss: string;
  top1: string;
  /** Of what is shown: `2:01 left`; the time that has passed until that is known. */
  time: string;
  /** Of the whole run. */
  run: string;
}

/** `epoch 3/10 320/1800 · 12.3 images/s · loss 0.8123 · top-1 71.2 % · 2:01 left, run 9:30` */
export function plainLine(state: State): string {
  const { counts, ...figures } = shownOf(state);
  return fitted({ head: `${state.label} ${counts}`, ...figures }, [], Number.POSITIVE_INFINITY);
}

/** Columns of the bar itself. */
const WIDEST_BAR = 24;
const NARROWEST_BAR = 8;

/**
 * The same with a bar, in so many columns. What is left out first where it is narrow: images/s, loss, the bar, the
 * counts, the time of the whole run; then top-1 and the time lose their names, and the label its end.
 */
export function barLine(state: State, columns: number): string {
  const { label } = state;
  const { counts, ...figures } = shownOf(state);
  const head = (...parts: string[]): string => [label, ...parts].filter((part) => part !== '').join(' ');
  const barOf = (size: number): string => drawBar(state.done / state.total, size);
  const short = { top1: figures.top1.replace('top-1 ', ''), time: figures.time.replace(' left', '') };
  const least = columnsIn(
    fitted({ head: '', ...figures, speed: '', loss: '', run: '', ...short }, [], Number.POSITIVE_INFINITY),
  );
  const line = fitted(
    { head: head(barOf(NARROWEST_BAR), counts), ...figures },
    [
      ['speed', ''],
      ['loss', ''],
      ['head', head(counts)],
      ['head', label],
      ['run', ''],
      ['top1', short.top1],
      ['time', short.time],
      ['head', cutTo(label, Math.max(8, columns - least - 3))],
    ],
    columns,
  );
  const size = Math.min(WIDEST_BAR, NARROWEST_BAR + columns - columnsIn(line));
  return line.replace(barOf(NARROWEST_BAR), barOf(size));
}

/** Drawn by cli-progress; where the line stands, and what of it a terminal has room for, is ours. */
function drawBar(part: number, size: number): string {
  const { barCompleteChar, barIncompleteChar } = cliProgress.Presets.shades_classic;
  return cliProgress.Format.BarFormat(Number.isNaN(part) ? 1 : Math.min(1, Math.max(0, part)), {
    barsize: size,
    barGlue: '',
    barCompleteString: barCompleteChar.repeat(size),
    barIncompleteString: barIncompleteChar.repeat(size),
  });
}

function shownOf(state: State): Shown {
  const { imagesPerSecond, loss, top1 } = state.fields;
  const bytes = state.counted.unit === 'bytes';
  const done = state.done - state.from;
  const { own, run } = timeLeft(state);
  return {
    counts: bytes ? `${megabytes(state.done, 1)}/${megabytes(state.total, 1)} MB` : `${state.done}/${state.total}`,
    speed:
      bytes && done > 0 && state.elapsed > 0
        ? `${megabytes(done / state.elapsed, 2)} MB/s`
        : imagesPerSecond === undefined
          ? ''
          : `${shortRate(imagesPerSecond)} images/s`,
    loss: loss === undefined ? '' : `loss ${loss.toFixed(4)}`,
    top1: top1 === undefined ? '' : `top-1 ${shortPercent(top1)}`,
    time: own === null ? clock(state.elapsed) : `${clock(own)} left`,
    run: run === null ? '' : `run ${clock(run)} left`,
  };
}

/** Seconds. Between two reports they go down with the clock, until the next one is late. */
function timeLeft(state: State): { own: number | null; run: number | null } {
  const each = secondsEach(state);
  if (each === null || state.done >= state.total) return { own: null, run: null };
  const since = Math.min(state.elapsed - state.last.at, state.delta);
  const own = Math.max(0, each * (state.total - state.done) - since);
  const after = state.counted.after?.(each) ?? null;
  return { own, run: after === null ? null : own + after };
}

const megabytes = (bytes: number, digits: number): string => (bytes / 1e6).toFixed(digits);
