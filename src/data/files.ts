/** Reading files of a data set, and what is said when one cannot be read. */
import { readFileSync } from 'node:fs';
import { GqaError } from '../errors.js';

/**
 * Runs `read`, which reads the file at `path` of a data set of which other files were found.
 * @param archive what holds all files, for the hint, e.g. `archive of the "binary version"`
 * Errors: exit 3 when the file is missing or cannot be read; a GqaError passes as it is.
 */
export function onFile<T>(path: string, archive: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw unreadable(path, archive, cause);
  }
}

/** The error for what reading `path` threw. */
export function unreadable(path: string, archive: string, cause: unknown): GqaError {
  if (cause instanceof GqaError) return cause;
  if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
    return new GqaError('data', `${path} is missing, though other files of the data set are there`, {
      hint: `Unpack the whole ${archive} into one folder.`,
      cause,
    });
  }
  return cannotRead(path, cause);
}

const cannotRead = (path: string, cause: unknown): GqaError =>
  new GqaError('data', `${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });

/** A file of which nothing else is known. Errors: exit 3 with its path. */
export function readBytes(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw cannotRead(path, cause);
  }
}
