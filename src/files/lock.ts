/**
 * One call at a time works in a folder: two would write into one file. The same rule as in scripts/lock.mjs, which runs
 * before this is built.
 */
import { createHash, randomUUID } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { GqaError } from '../errors.js';
import { isAlive } from './alive.js';
import { fileError } from './atomic.js';

/**
 * Takes the lock of a folder, also from a process that died.
 * @param lock the file that says whose it is
 * @param work the folder, as messages call it
 * @returns what gives it back; the end of the process does so too. Errors: exit 5 when another process has it, or the
 *   disk does not let us
 */
export function claim(lock: string, work: string): () => void {
  let mine: string | null;
  try {
    mine = take(lock);
  } catch (cause) {
    throw fileError(`cannot write ${lock}`, cause);
  }
  if (mine === null) {
    const holder = pidOf(read(lock) ?? '');
    throw new GqaError(
      'io',
      `process ${Number.isNaN(holder) ? '(unknown)' : holder} is fetching into ${work} already`,
      {
        hint: `Wait for it. Should there be none, remove ${lock}.`,
      },
    );
  }
  const own = mine;
  const giveBack = (): void => {
    process.off('exit', giveBack);
    release(lock, own);
  };
  process.on('exit', giveBack);
  return giveBack;
}

/**
 * Takes the lock if nobody has it, or if its holder died. Many may find the same dead holder at once, and each would
 * remove what the one before has taken: so who takes over holds a lock of its own on that very lock, and looks again.
 * @returns what the lock says when it is ours
 */
function take(file: string): string | null {
  const mine = `${process.pid} ${randomUUID()}`;
  const draft = `${file}.${mine.slice(-12)}.draft`;
  writeFileSync(draft, mine);
  try {
    if (place(draft, file, mine)) return mine;
    const held = read(file);
    if (held === null || isAlive(pidOf(held))) return null;
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

const pidOf = (held: string): number => Number.parseInt(held, 10);

const codeOf = (cause: unknown): string | undefined => (cause as NodeJS.ErrnoException).code;
