/** Whether a process that left its number in a file is still there. */

import { readFileSync } from 'node:fs';

/** When a process began, in ticks since its machine did; null where nobody knows. Numbers of processes are used again. */
export function startOf(pid: number): string | null {
  try {
    // the second field is the name, in brackets, and may hold blanks
    return (
      readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ')[19] ?? null
    );
  } catch {
    return null;
  }
}

/** @param pid of this machine; a number that is none counts as alive: nobody knows whose it is */
export function isAlive(pid: number): boolean {
  if (!(pid > 0)) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'; // alive, but somebody else's
  }
}
