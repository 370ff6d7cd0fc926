/** A folder below TMPDIR for as long as something is done with it. */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { GqaError } from '../errors.js';

/**
 * @param use writes into the folder at once.
 * @throws GqaError `io`, naming the folder, when it cannot be made or written; what `use` throws otherwise
 */
export function inTemporaryFolder<T>(prefix: string, use: (folder: string) => T): T {
  let folder: string | undefined;
  try {
    folder = mkdtempSync(path.join(os.tmpdir(), prefix));
    return use(folder);
  } catch (error) {
    // What TensorFlow throws has no such code.
    if (typeof (error as NodeJS.ErrnoException).syscall !== 'string') throw error;
    throw new GqaError(
      'io',
      `the folder for temporary files, ${os.tmpdir()}, cannot be used: ${(error as Error).message}`,
      {
        hint: 'Set TMPDIR to a folder that is there, can be written and has 100 MB free.',
        cause: error,
      },
    );
  } finally {
    if (folder !== undefined) removed(folder);
  }
}

function removed(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch {
    // What led here is reported; a folder that cannot be removed must not hide it.
  }
}
