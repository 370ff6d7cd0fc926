/**
 * Preloaded into a command under test: ends it as `kill -9` does at the n-th time that it changes something on the disk,
 * in the main thread or in the one that writes checkpoints. KILL_AT: `main 12` or `thread 3`; COUNT_TO: a file that is
 * told how often each did, when nothing is killed.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import threads from 'node:worker_threads';

const here = threads.isMainThread ? 'main' : 'thread';
const [where, at] = (process.env.KILL_AT ?? '').split(' ');
const counting = process.env.COUNT_TO;
const { appendFileSync } = fs;
let changes = 0;

function changed(): void {
  changes++;
  if (counting !== undefined) appendFileSync(counting, `${here}\n`);
  else if (where === here && changes === Number(at)) process.kill(process.pid, 'SIGKILL');
}

/** Killed before it, so that the call after the last change counts too; those that print are no change. */
function before<F extends (...args: never[]) => unknown>(call: F, isChange: (...args: Parameters<F>) => boolean): F {
  return ((...args: Parameters<F>) => {
    if (isChange(...args)) changed();
    return call(...args);
  }) as F;
}

fs.writeSync = before(fs.writeSync, (handle) => handle > 2) as typeof fs.writeSync;
fs.renameSync = before(fs.renameSync, () => true);
fs.linkSync = before(fs.linkSync, () => true);
fs.rmSync = before(fs.rmSync, () => true);
fs.truncateSync = before(fs.truncateSync, () => true);
fs.mkdirSync = before(fs.mkdirSync, () => true) as typeof fs.mkdirSync;
syncBuiltinESMExports();
