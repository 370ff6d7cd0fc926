/** One set-up at a time in a checkout: two processes that install packages or build into the same folder would break each other. */

import { createHash } from 'node:crypto';
import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Runs `work` while no other process of this user holds the lock of `folder`; waits for the holder, and takes over from one that died.
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
  while (!take(file)) {
    const holder = readHolder(file);
    if (holder !== null && !isAlive(holder)) {
      rmSync(file, { force: true });
      continue;
    }
    if (!told) notice(`waiting for another set-up of this checkout (process ${holder ?? 'unknown'})`);
    told = true;
    await sleep(250);
  }
  try {
    return await work();
  } finally {
    rmSync(file, { force: true });
  }
}

/** A hard link appears with its content or not at all, so that nobody reads a lock without its process number. */
function take(file) {
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, String(process.pid));
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

function readHolder(file) {
  try {
    return Number(readFileSync(file, 'utf8')) || null;
  } catch {
    return null; // released in the meantime
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM'; // alive, but somebody else's
  }
}
