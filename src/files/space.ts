/** Whether a file still fits on the disk. */
import { existsSync, statfsSync } from 'node:fs';
import path from 'node:path';
import { GqaError } from '../errors.js';

/** Bytes that are free where the folder lies. @throws what the file system says */
export function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}

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
    free = freeBytes(nearest);
  } catch {
    return; // the writing itself will tell
  }
  if (free >= bytes) return;
  throw new GqaError('io', `${what} needs ${bytes} bytes in ${folder}, and ${free} are free`, {
    hint: 'Free some space, or write elsewhere (--runs-dir).',
  });
}
