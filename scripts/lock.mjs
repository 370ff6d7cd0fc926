/**
 * One set-up at a time in a checkout: two processes that install packages or build into the same folder would break
 * each other.
 */

import { createHash, randomUUID } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Runs `work` while no other process of this user holds the lock of `folder`; waits for the holder, and takes over from
 * one that died.
 *
 * @param {string} folder
 * @param {() => Promise<T>} work
 * @param {(line: string) => void} notice told once when there is somebody to wait for
 * @returns {Promise<T>}
 * @template T
 */
export async function withLock(folder, work, notice) {
  const name = createHash('sha256').update(`${os.userInfo().uid} ${folder}`).digest('hex').slice(0, 16);
  const file = path.join(os.tmpdir(), `gqa-setup-${name}.lock`);
  let told = false;
  let mine = take(file);
  for (; mine === null; mine = take(file)) {
    if (!told) notice(`waiting for another set-up of this checkout (process ${pidOf(read(file)) || 'unknown'})`);
    told = true;
    await sleep(250);
  }
  try {
    return await work();
  } finally {
    release(file, mine);
  }
}

/**
 * Takes the lock if nobody has it, or if its holder died. Many may find the same dead holder at once, and each would
 * remove what the one before has taken: so who takes over holds a lock of its own on that very lock, and looks again.
 * The same rule as in src/data/fetch/lock.ts; this runs before anything is built.
 *
 * @param {string} file
 * @returns {string | null} what the lock says when it is ours
 */
function take(file) {
  const mine = `${process.pid} ${randomUUID()}`;
  const draft = `${file}.${mine.slice(-12)}.draft`;
  writeFileSync(draft, mine);
  try {
    // appears with its content or not at all, so that nobody reads a lock without its process number
    linkSync(draft, file);
    return mine;
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
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

function release(file, mine) {
  if (read(file) === mine) rmSync(file, { force: true });
}

/** @returns {string | null} null: it was released in the meantime */
function read(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

const pidOf = (held) => Number.parseInt(held ?? '', 10);

function isAlive(pid) {
  if (!(pid > 0)) return true; // nobody knows whose it is
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM'; // alive, but somebody else's
  }
}
