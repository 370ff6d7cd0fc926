/** Progress on stderr: a bar on a terminal, one plain line every few seconds elsewhere (a log file, CI). */
import { drawLine, eraseLine } from './status-line.js';

/** What is shown beside the bar; what is not given is left out. */
export interface ProgressFields {
  imagesPerSecond?: number;
  loss?: number;
  /** Fraction, 0 to 1. */
  top1?: number;
}

/** What `total` counts, where it is not pictures or steps. */
export interface Counted {
  /** Bytes are shown in MB, with MB/s. */
  unit?: 'bytes';
  /** How much was done before it began: no part of the rate, nor of the time that is left. */
  from?: number;
}

export interface Progress {
  /** @param done how much of `total` is done */
  update(done: number, fields?: ProgressFields): void;
  /** Leaves the last state standing. Calling it twice is harmless. */
  stop(): void;
}

/** Where progress goes and how often; tests give their own. */
export interface ProgressTarget {
  stream: NodeJS.WritableStream & { isTTY?: boolean; columns?: number };
  env: NodeJS.ProcessEnv;
  /** Milliseconds between two lines where there is no terminal. */
  lineEveryMs: number;
  /** Milliseconds, monotonic. */
  now: () => number;
}

const stderrTarget = (): ProgressTarget => ({ stream: process.stderr, env: process.env, lineEveryMs: 5000, now: () => performance.now() });

/**
 * @param label what is being done: `epoch 1/5`, `evaluating`
 * @param total in any unit: pictures or steps, bytes when `counted` says so
 */
export function progress(
  label: string,
  total: number,
  target: ProgressTarget = stderrTarget(),
  { unit, from = 0 }: Counted = {},
): Progress {
  const started = target.now();
  const state = { label, total, unit, from, done: from, fields: {} as ProgressFields, elapsed: () => (target.now() - started) / 1000 };
  return drawsBars(target) ? bar(state, target) : lines(state, target);
}

/** CI services pretend to be terminals, and a dumb terminal cannot move its cursor. Bars have no colour, so NO_COLOR needs no other form. */
function drawsBars(target: ProgressTarget): boolean {
  const ci = target.env.CI;
  return target.stream.isTTY === true && target.env.TERM !== 'dumb' && (ci === undefined || ci === '' || ci === 'false');
}

interface State {
  label: string;
  total: number;
  unit: 'bytes' | undefined;
  from: number;
  done: number;
  fields: ProgressFields;
  /** Seconds. */
  elapsed: () => number;
}

/** Milliseconds between two drawings: often enough to be seen moving, seldom enough to cost nothing. */
const DRAW_EVERY_MS = 100;
/** The clock goes on where nothing is reported, as long as the process is not inside a native call. */
const CLOCK_EVERY_MS = 1000;

function bar(state: State, target: ProgressTarget): Progress {
  const { stream } = target;
  let lastDrawn = Number.NEGATIVE_INFINITY;
  let stopped = false;
  const draw = (): void => {
    lastDrawn = target.now();
    const figures = describe(state);
    const size = Math.max(8, Math.min(24, (stream.columns ?? 80) - state.label.length - 62)); // the figures take about 60 columns
    const full = Math.round(size * Math.min(1, state.total > 0 ? state.done / state.total : 1));
    drawLine(stream, `${state.label} ${'█'.repeat(full)}${'░'.repeat(size - full)} ${figures}`.slice(0, (stream.columns ?? 80) - 1));
  };
  const timer = setInterval(draw, CLOCK_EVERY_MS).unref();
  draw();
  return {
    update(done, fields = {}) {
      state.done = done;
      state.fields = fields;
      if (!stopped && target.now() - lastDrawn >= DRAW_EVERY_MS) draw();
    },
    stop() {
      if (stopped) return;
      stopped = true;
      clearInterval(timer);
      draw();
      stream.write('\n');
      eraseLine(stream);
    },
  };
}

function lines(state: State, target: ProgressTarget): Progress {
  let lastLine = target.now();
  let shown = -1;
  let stopped = false;
  const print = () => {
    target.stream.write(`${state.label} ${describe(state)}\n`);
    shown = state.done;
  };
  return {
    update(done, fields = {}) {
      state.done = done;
      state.fields = fields;
      if (target.now() - lastLine < target.lineEveryMs) return;
      lastLine = target.now();
      print();
    },
    stop() {
      if (!stopped && shown !== state.done) print();
      stopped = true;
    },
  };
}

/** `320/1800 · 12.3 images/s · loss 0.8123 · top-1 71.2 % · 2:01 left`; `41.2/170.1 MB · 3.10 MB/s · 0:42 left` */
function describe(state: State): string {
  const { imagesPerSecond, loss, top1 } = state.fields;
  const seconds = state.elapsed();
  const done = state.done - state.from;
  const left = done > 0 && state.done < state.total ? `${clock((seconds / done) * (state.total - state.done))} left` : clock(seconds);
  const bytes = state.unit === 'bytes';
  return [
    bytes ? `${megabytes(state.done, 1)}/${megabytes(state.total, 1)} MB` : `${state.done}/${state.total}`,
    bytes && done > 0 && seconds > 0 ? `${megabytes(done / seconds, 2)} MB/s` : undefined,
    imagesPerSecond === undefined ? undefined : `${imagesPerSecond.toFixed(imagesPerSecond < 100 ? 1 : 0)} images/s`,
    loss === undefined ? undefined : `loss ${loss.toFixed(4)}`,
    top1 === undefined ? undefined : `top-1 ${(100 * top1).toFixed(1)} %`,
    left,
  ]
    .filter((part) => part !== undefined)
    .join(' · ');
}

const megabytes = (bytes: number, digits: number): string => (bytes / 1e6).toFixed(digits);

function clock(seconds: number): string {
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  const two = (n: number) => String(n).padStart(2, '0');
  return minutes < 60 ? `${minutes}:${two(whole % 60)}` : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}
