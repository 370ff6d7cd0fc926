/** Whether a file still fits on the disk. */
import { existsSync, statfsSync } from 'node:fs';
import path from 'node:path';
import { GqaError } from '../errors.js';

/**
 * @param folder need not be there yet
 * @param what   is to be written, for the message
 * @throws GqaError `io` with the bytes that are needed
 */
export function requireFree(folder: string, bytes: number, what: string): void {
  let nearest = path.resolve(folder);
  while (!existsSync(nearest)) nearest = path.dirname(nearest);
  let free: number;
  try {
    const { bavail, bsize } = statfsSync(nearest);
    free = bavail * bsize;
  } catch {
    return; // the writing itself will tell
  }
  if (free >= bytes) return;
  throw new GqaError('io', `${what} needs ${bytes} bytes in ${folder}, and ${free} are free`, {
    hint: 'Free some space, or write elsewhere (--runs-dir).',
  });
}
