/** Whether a process that left its number in a file is still there. */

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
