/**
 * One process at a time works in a folder: two would write into one file. A lock says whose it is: process, host and
 * when the process began (numbers of processes are used again). Its time of change is its heartbeat, by which another
 * host sees that the holder is gone. The same rule as in scripts/lock.mjs, which runs before this is built.
 */
import { createHash, randomUUID } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { GqaError } from '../errors.js';
import { isAlive, startOf } from './alive.js';
import { fileError } from './atomic.js';

/** Milliseconds between two heartbeats, and after how long without one a holder on another host counts as gone. */
const BEAT_MS = 10_000;
const GONE_MS = 180_000;

export interface Lock {
  /** Whether it is no longer ours: this process was taken for dead. */
  lost(): boolean;
  /** The end of the process does so too. */
  release(): void;
  /** What the lock of a holder that died said; null: there was none. */
  takenFrom: Holder | null;
}

export interface Holder {
  /** NaN: nobody knows. */
  pid: number;
  host: string | null;
}

/**
 * Takes the lock of a folder, also from a process that died.
 * @param lock the file that says whose it is
 * @param busy the error when another process has it
 * @throws GqaError that one, or `io` when the disk does not let us
 */
export function claim(lock: string, busy: (holder: Holder) => GqaError): Lock {
  const before = read(lock);
  let mine: string | null;
  try {
    mine = take(lock);
  } catch (cause) {
    throw fileError(`cannot write ${lock}`, cause);
  }
  if (mine === null) throw busy(holderIn(read(lock) ?? ''));
  const own = mine;
  const beat = setInterval(() => {
    try {
      if (read(lock) === own) utimesSync(lock, new Date(), new Date());
    } catch {
      // The disk does not answer; what writes there will tell.
    }
  }, BEAT_MS).unref();
  const giveBack = (): void => {
    process.off('exit', giveBack);
    clearInterval(beat);
    release(lock, own);
  };
  process.on('exit', giveBack);
  return {
    lost: () => read(lock) !== own,
    release: giveBack,
    takenFrom: before === null ? null : holderIn(before),
  };
}

/**
 * Takes the lock if nobody has it, or if its holder died. Many may find the same dead holder at once, and each would
 * remove what the one before has taken: so who takes over holds a lock of its own on that very lock, and looks again.
 * @returns what the lock says when it is ours
 */
function take(file: string): string | null {
  const mine = `${process.pid} ${randomUUID()} ${hostname()} ${startOf(process.pid) ?? '-'}`;
  const draft = `${file}.${createHash('sha256').update(mine).digest('hex').slice(0, 12)}.draft`;
  writeFileSync(draft, mine);
  try {
    if (place(draft, file, mine)) return mine;
    const held = read(file);
    if (held === null || holds(file, held)) return null;
    const over = `${file}.${createHash('sha256').update(held).digest('hex').slice(0, 12)}`;
    const turn = take(over);
    if (turn === null) return null;
    try {
      if (read(file) !== held) return null;
      renameSync(draft, file);
      return mine;
    } finally {
      release(over, turn);
    }
  } finally {
    rmSync(draft, { force: true });
  }
}

/**
 * A hard link appears with its content or not at all; some file systems have none.
 * @returns false: there is one already
 */
function place(draft: string, file: string, mine: string): boolean {
  try {
    linkSync(draft, file);
    return true;
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST') return false;
  }
  try {
    writeFileSync(file, mine, { flag: 'wx' });
    return true;
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST') return false;
    throw cause;
  }
}

function release(file: string, mine: string): void {
  if (read(file) === mine) rmSync(file, { force: true });
}

/** null: it was given back in the meantime. */
function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

/** Whether the holder is still there. */
function holds(file: string, held: string): boolean {
  const { pid, host } = holderIn(held);
  if (host !== null && host !== hostname()) return Date.now() - beatOf(file) < GONE_MS;
  const began = held.split(' ')[3];
  return isAlive(pid) && (began === undefined || began === '-' || (startOf(pid) ?? began) === began);
}

function beatOf(file: string): number {
  try {
    return statSync(file).mtimeMs;
  } catch {
    return Date.now();
  }
}

function holderIn(held: string): Holder {
  const [pid = '', , host = null] = held.split(' ');
  return { pid: Number.parseInt(pid, 10), host };
}

/** Whether somebody has the lock, and who. */
export function holderOf(lock: string): Holder | null {
  const held = read(lock);
  return held !== null && holds(lock, held) ? holderIn(held) : null;
}

const codeOf = (cause: unknown): string | undefined => (cause as NodeJS.ErrnoException).code;
