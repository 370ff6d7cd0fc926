/**
 * Preloaded into a command under test: what happens to it at an exact point of its way, so that no test has to meet a
 * phase by time. AT: the point, as `turn 2` (the second time that it lets the event loop turn on its own), `rename
 * checkpoints/last` (a file takes that name), `write "step":2` (that text is appended to a file), `worker` (the first
 * images are asked for) or `look 3` (the third time that it looks whether it shall stop). THEN: a signal, which it
 * sends to itself, or to its parent as `parent SIGHUP`; or `full`: from there on the disk is.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import timers from 'node:timers/promises';
import threads from 'node:worker_threads';

const [kind, ...rest] = (process.env.AT ?? '').split(' ');
const wanted = rest.join(' ');
let happened = false;
let looks = 0;

function happens(): void {
  if (happened) return;
  happened = true;
  const [to, signal] = (process.env.THEN ?? '').split(' ');
  if (to === 'full') return;
  if (to === 'parent') process.kill(process.ppid, signal);
  else process.kill(process.pid, to);
}

const fullDisk = (): Error => Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });

if (threads.isMainThread && kind !== '') {
  const { renameSync, writeSync, openSync } = fs;
  const { setImmediate } = timers;
  const { Worker } = threads;
  fs.renameSync = (from, to) => {
    renameSync(from, to);
    if (kind === 'rename' && String(to).includes(wanted)) happens();
  };
  fs.writeSync = ((...args: Parameters<typeof writeSync>) => {
    const written = writeSync(...args);
    if (kind === 'write' && String(args[1]).includes(wanted)) happens();
    return written;
  }) as typeof writeSync;
  fs.openSync = (...args) => {
    if (happened && process.env.THEN === 'full' && (args[1] === 'w' || args[1] === 'wx')) throw fullDisk();
    return openSync(...args);
  };
  timers.setImmediate = ((...args: Parameters<typeof setImmediate>) => {
    if (kind === 'look' && ++looks === Number(wanted)) happens();
    return setImmediate(...args);
  }) as typeof setImmediate;
  const turn = globalThis.setImmediate;
  globalThis.setImmediate = ((...args: Parameters<typeof turn>) => {
    if (kind === 'turn' && ++looks === Number(wanted)) happens();
    return turn(...args);
  }) as typeof turn;
  threads.Worker = class extends Worker {
    constructor(...args: ConstructorParameters<typeof Worker>) {
      super(...args);
      if (kind === 'worker') happens();
    }
  };
  syncBuiltinESMExports();
}
