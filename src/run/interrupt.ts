/**
 * How a command is ended from outside. The first signal asks: what computes looks before every step and between its
 * phases, saves or tidies what it has to, and ends with the signal's exit code. A signal that comes after that ends the
 * process at once. One `Stop` for the process, made by the command line and handed down.
 */
import { setImmediate } from 'node:timers/promises';
import { ExitCode, GqaError } from '../errors.js';

/** The signals that end a command, and their exit codes by name. */
export const SIGNALS = { SIGINT: 'sigint', SIGTERM: 'sigterm', SIGHUP: 'sighup' } as const;
export type Signal = keyof typeof SIGNALS;

const names = Object.keys(SIGNALS) as Signal[];
const codes: readonly string[] = Object.values(SIGNALS);

export interface Stop {
  /** Aborted by the first signal, whose name is the reason. */
  readonly signal: AbortSignal;
  /**
   * Lets signals in, which native calls and other computing hold back.
   * @throws GqaError the interruption, once asked to stop
   */
  check(): Promise<void>;
  /** What `work` gives. @throws GqaError the interruption as soon as asked to stop; the work is then left to itself */
  during<T>(work: Promise<T>): Promise<T>;
  /** The same items. @throws GqaError the interruption, before an item or while one is waited for */
  each<T>(items: AsyncIterable<T>): AsyncGenerator<T, void, undefined>;
  /**
   * From now on every signal goes to `child` too, the second one as well, and does not end this process; null: to
   * nobody.
   */
  passTo(child: ((signal: Signal) => void) | null): void;
}

/** @param signal what stops it; its reason is a `Signal` */
export function stopBy(signal: AbortSignal, passTo: Stop['passTo'] = () => {}): Stop {
  const throwIfAsked = (): void => {
    if (signal.aborted) throw interruption(signal);
  };
  const check = async (): Promise<void> => {
    await setImmediate();
    throwIfAsked();
  };
  async function during<T>(work: Promise<T>): Promise<T> {
    let asked: (() => void) | undefined;
    const stopped = new Promise<never>((_, reject) => {
      asked = () => reject(interruption(signal));
      signal.addEventListener('abort', asked, { once: true });
    });
    try {
      if (signal.aborted) asked?.();
      return await Promise.race([stopped, work]);
    } finally {
      if (asked !== undefined) signal.removeEventListener('abort', asked);
    }
  }
  async function* each<T>(items: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    const from = items[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await during(from.next());
        if (next.done === true) return;
        await check();
        yield next.value;
      }
    } finally {
      const ended = from.return?.();
      if (!signal.aborted) await ended; // an item that is still being made is not waited for
    }
  }
  return { signal, check, during, each, passTo };
}

/** For what nothing interrupts: measurements and tests. */
export const unstoppable = (): Stop => stopBy(new AbortController().signal);

/**
 * Signals that follow the first so soon, in milliseconds, are the same request: `timeout` and npm send each to the
 * process and to its group.
 */
const SAME_REQUEST_MS = 500;
/** After so long, in milliseconds, a user is shown that it takes a while. */
const TELL_AFTER_MS = 1000;

/** How often, in milliseconds, a run of a sweep looks whether the sweep is still there. */
const PARENT_MS = 1000;

/** Listens for the process's signals. @param reported hears, once, that stopping takes long */
export function listenForSignals(reported: (line: string) => void): Stop {
  const controller = new AbortController();
  let child: ((signal: Signal) => void) | null = null;
  let askedAt = 0;
  for (const name of names) {
    process.on(name, () => {
      child?.(name);
      if (!controller.signal.aborted) {
        askedAt = performance.now();
        if (child === null)
          setTimeout(() => reported(`${name}: stopping; again to stop at once`), TELL_AFTER_MS).unref();
        controller.abort(name);
      } else if (child === null && performance.now() - askedAt > SAME_REQUEST_MS) process.exit(ExitCode[SIGNALS[name]]);
    });
  }
  endWith(process.env.GQA_PARENT);
  delete process.env.GQA_PARENT; // it is nothing that a run's record or its own processes need
  return stopBy(controller.signal, (next) => {
    child = next;
  });
}

/** Asks this process to stop when `parent`, the process that started it, is gone. */
function endWith(parent: string | undefined): void {
  if (parent !== String(process.ppid)) return; // handed on to somebody else
  const look = setInterval(() => {
    if (process.ppid === Number(parent)) return;
    clearInterval(look);
    process.kill(process.pid, 'SIGTERM');
  }, PARENT_MS);
  look.unref();
}

/** The error of a command that was asked to stop. @param what is left of it, as it goes on after `stopped by SIGINT` */
export function interruption(signal: AbortSignal, what = '', hint?: string): GqaError {
  const name = signal.reason as Signal;
  return new GqaError(SIGNALS[name] ?? 'sigterm', `stopped by ${name}${what}`, hint === undefined ? {} : { hint });
}

export const isInterruption = (error: unknown): error is GqaError =>
  error instanceof GqaError && codes.includes(error.code);

/**
 * Whether a process that ended so was interrupted, by its exit code or by the signal itself (which it gets before it
 * listens).
 */
export const wasInterrupted = (code: number | null, signal: NodeJS.Signals | null = null): boolean =>
  signal === null ? Object.values(SIGNALS).some((name) => ExitCode[name] === code) : names.includes(signal as Signal);
