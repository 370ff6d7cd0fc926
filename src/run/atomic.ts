/** Files that are either there in full or not at all: written aside, flushed to the disk, then renamed over the old one. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { GqaError } from '../errors.js';

/**
 * Writes a whole file, so that a reader (or a crash, or a full disk) finds the old content or the new, never a part. The temporary file stands beside the target,
 * since a rename does not cross file systems.
 * @throws GqaError `io` naming the file; the old file is untouched then, and the temporary one gone
 */
export function writeFileAtomic(file: string, data: Uint8Array | string): void {
  const bytes = typeof data === 'string' ? Buffer.from(data, 'utf8') : data;
  const aside = path.join(path.dirname(file), `.${path.basename(file)}.${process.pid}.tmp`);
  try {
    const handle = openSync(aside, 'w');
    try {
      // A single write call may take less than it was given (Linux stops at 2 GiB).
      for (let offset = 0; offset < bytes.byteLength; ) offset += writeSync(handle, bytes, offset, bytes.byteLength - offset);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    renameSync(aside, file);
  } catch (error) {
    removeAside(aside);
    throw fileError(`cannot write ${file}`, error);
  }
  flushFolder(path.dirname(file));
}

function removeAside(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch {
    // It cannot have been made either (its folder is a file, say); the error that led here tells why.
  }
}

/** A rename is on the disk only when its folder is. Folders cannot be opened on Windows, and some network file systems refuse to flush them: the file itself is safe there already. */
function flushFolder(folder: string): void {
  if (process.platform === 'win32') return;
  let handle: number | undefined;
  try {
    handle = openSync(folder, 'r');
    fsyncSync(handle);
  } catch (error) {
    if (!['EINVAL', 'ENOTSUP', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? ''))
      throw fileError(`cannot flush ${folder}`, error);
  } finally {
    if (handle !== undefined) closeSync(handle);
  }
}

const reasons: Record<string, { reason: string; hint?: string }> = {
  ENOSPC: { reason: 'the disk is full', hint: 'Free some space, or write elsewhere.' },
  EDQUOT: { reason: 'the disk quota is used up', hint: 'Free some space, or write elsewhere.' },
  EACCES: { reason: 'permission denied' },
  EPERM: { reason: 'operation not permitted' },
  EROFS: { reason: 'the file system is read-only' },
  ENOTDIR: { reason: 'a part of the path is a file, not a folder' },
  EISDIR: { reason: 'a folder stands there' },
  ENOENT: { reason: 'the folder does not exist' },
  ENAMETOOLONG: { reason: 'the name is too long' },
};

/** A failed file operation as an error with exit code 5: what could not be done, and why in words. */
export function fileError(what: string, error: unknown): GqaError {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const known = reasons[code];
  const reason = known ? `${known.reason} (${code})` : error instanceof Error ? error.message : String(error);
  return new GqaError('io', `${what}: ${reason}`, { cause: error, ...(known?.hint ? { hint: known.hint } : {}) });
}
