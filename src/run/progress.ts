/**
 * Progress on stderr while something runs: a bar on a terminal, a plain line now and then elsewhere (a log file, CI).
 * Neither stays: what was reached is reported by a line that is said when it is done. Between reports the clock goes
 * on, as long as the process is not inside a native call.
 */

import { barLine, plainLine, type State, secondsEach } from './bar-line.js';
import { columnsOf } from './fit.js';
import { drawLine, eraseLine, printLine } from './status-line.js';

/** What is shown beside the bar; what is not given is left out. */
export interface ProgressFields {
  imagesPerSecond?: number;
  loss?: number;
  /** Fraction, 0 to 1. */
  top1?: number;
}

/** What `total` counts, where it is not images or steps, and what comes after it. */
export interface Counted {
  /** Bytes are shown in MB, with MB/s. */
  unit?: 'bytes';
  /** How much was done before it began: no part of the rate, nor of the time that is left. */
  from?: number;
  /** The last state stays as a line: for what no other line tells of. */
  stays?: boolean;
  /** Seconds of what follows in the same run, given the seconds that one of `total` takes here; null: not known. */
  after?: (secondsEach: number) => number | null;
}

export interface Progress {
  /** @param done how much of `total` is done */
  update(done: number, fields?: ProgressFields): void;
  /** The same without figures: those shown before stay. Cheap enough for every step. */
  tick(done: number): void;
  /**
   * Seconds that one of `total` takes; null before two reports. What comes before the first report (a step is traced,
   * threads start) is no part of it.
   */
  secondsEach(): number | null;
  /** Takes the bar away. Calling it twice is harmless. */
  stop(): void;
}

/** Where progress goes and how often; tests give their own. */
export interface ProgressTarget {
  stream: NodeJS.WritableStream & { isTTY?: boolean; columns?: number };
  env: NodeJS.ProcessEnv;
  /** Milliseconds between two lines where there is no terminal, after so many milliseconds of the same job. */
  lineEveryMs: (elapsed: number) => number;
  /** Milliseconds, monotonic. */
  now: () => number;
  /** Calls `tick` every second until the function that comes back is called. */
  everySecond: (tick: () => void) => () => void;
}

const stderrTarget = (): ProgressTarget => ({
  stream: process.stderr,
  env: process.env,
  lineEveryMs: (elapsed) => (elapsed < 60_000 ? 10_000 : 60_000),
  now: () => performance.now(),
  everySecond(tick) {
    const timer = setInterval(tick, 1000).unref();
    return () => clearInterval(timer);
  },
});

/** Milliseconds between two drawings of a bar: often enough to be seen moving, seldom enough to cost nothing. */
const DRAW_EVERY_MS = 100;

/**
 * @param label what is being done: `epoch 1/5`, `test`
 * @param total in any unit: images or steps, bytes when `counted` says so
 */
export function progress(
  label: string,
  total: number,
  counted: Counted = {},
  target: ProgressTarget = stderrTarget(),
): Progress {
  const { from = 0 } = counted;
  const started = target.now();
  const state: State = {
    label,
    total,
    counted,
    from,
    fields: {},
    elapsed: 0,
    done: from,
    first: null,
    last: { at: 0, done: from },
    delta: 0,
  };
  const { show, end } = drawsBars(target) ? bar(state, target) : lines(state, target);
  const seconds = (): number => (target.now() - started) / 1000;
  let stopped = false;
  const report = (done: number): void => {
    const at = seconds();
    state.delta = at - state.last.at;
    state.last = { at, done };
    state.first ??= state.last;
    state.elapsed = at;
    state.done = done;
    if (!stopped) show();
  };
  const stopClock = target.everySecond(() => {
    state.elapsed = seconds();
    show();
  });
  return {
    update(done, fields = {}) {
      state.fields = fields;
      report(done);
    },
    tick: report,
    secondsEach: () => secondsEach(state),
    stop() {
      if (stopped) return;
      stopped = true;
      stopClock();
      end();
    },
  };
}

/**
 * CI services pretend to be terminals, and a dumb terminal cannot move its cursor. Bars have no colour, so NO_COLOR
 * needs no other form.
 */
function drawsBars(target: ProgressTarget): boolean {
  const ci = target.env.CI;
  return (
    target.stream.isTTY === true && target.env.TERM !== 'dumb' && (ci === undefined || ci === '' || ci === 'false')
  );
}

interface Display {
  /** Called at every report, and every second. */
  show(): void;
  end(): void;
}

function bar(state: State, { stream, now }: ProgressTarget): Display {
  let drawn = Number.NEGATIVE_INFINITY;
  const draw = (): void => {
    drawn = now();
    drawLine(stream, barLine(state, columnsOf(stream) - 1)); // a full last column would make some terminals wrap
  };
  stream.on('resize', draw);
  draw();
  return {
    show() {
      if (now() - drawn >= DRAW_EVERY_MS) draw();
    },
    end() {
      stream.off('resize', draw);
      eraseLine(stream);
      if (state.counted.stays) printLine(stream, plainLine(state));
    },
  };
}

function lines(state: State, { stream, now, lineEveryMs }: ProgressTarget): Display {
  const begun = now();
  let printed = begun;
  let shown = -1;
  const print = (): void => {
    printed = now();
    shown = state.done;
    printLine(stream, plainLine(state));
  };
  return {
    show() {
      // of all that was done the line tells that is said then
      if (state.done < state.total && now() - printed >= lineEveryMs(now() - begun)) print();
    },
    end() {
      if (state.counted.stays && shown !== state.done) print();
    },
  };
}

/** Images a second, three digits or more: `12.3`, `375` */
export const shortRate = (rate: number): string => rate.toFixed(rate < 100 ? 1 : 0);

/** Of a fraction: `71.2 %` */
export const shortPercent = (fraction: number): string => `${(100 * fraction).toFixed(1)} %`;

/** `0:05`, `12:30`, `1:02:55` */
export function clock(seconds: number): string {
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  const two = (n: number) => String(n).padStart(2, '0');
  return minutes < 60
    ? `${minutes}:${two(whole % 60)}`
    : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}
