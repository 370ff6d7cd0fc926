/**
 * Files that are either there in full or not at all: written aside, flushed to the disk, then renamed over the old one.
 */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { GqaError } from '../errors.js';

/** A file's content, or what gives it piece by piece. */
export type Content = Uint8Array | string | ((write: (bytes: Uint8Array) => void) => void);

/**
 * Writes a whole file, so that a reader (or a crash, or a full disk) finds the old content or the new, never a part.
 * The temporary file stands beside the target, since a rename does not cross file systems.
 * @throws GqaError `io` naming the file; the old file is untouched then, and the temporary one gone
 */
export function writeFileAtomic(file: string, content: Content): void {
  // a name may be as long as names may be
  const aside = path.join(path.dirname(file), `.${path.basename(file).slice(0, 40)}.${process.pid}.tmp`);
  try {
    const handle = openSync(aside, 'w');
    try {
      const write = (bytes: Uint8Array): void => {
        // A single write call may take less than it was given (Linux stops at 2 GiB).
        for (let offset = 0; offset < bytes.byteLength; )
          offset += writeSync(handle, bytes, offset, bytes.byteLength - offset);
      };
      if (typeof content === 'function') content(write);
      else write(typeof content === 'string' ? Buffer.from(content, 'utf8') : content);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    renameSync(aside, file);
  } catch (error) {
    removeAside(aside);
    throw error instanceof GqaError ? error : fileError(`cannot write ${file}`, error);
  }
  flushFolder(path.dirname(file));
}

/**
 * Says before anything is computed whether `writeFileAtomic` can write the file; changes nothing. What happens
 * meanwhile (a disk that fills) it cannot know.
 * @throws GqaError `io` naming the file, as the writing would
 */
export function checkFile(file: string): void {
  const what = `cannot write ${file}`;
  const folder = path.dirname(file);
  checkFolder(folder, what);
  const fails = (code: string): GqaError => fileError(what, Object.assign(new Error(code), { code }));
  if (file === '' || !existsSync(folder)) throw fails('ENOENT');
  const there = statSync(file, { throwIfNoEntry: false });
  if (there?.isDirectory() || /[/\\]$/.test(file)) throw fails('EISDIR');
  if (there !== undefined && !there.isFile())
    throw new GqaError('io', `${what}: it is a device or a pipe; expected a file`);
}

/**
 * Says whether files can be made in a folder, or the folder itself where it is not there yet; changes nothing.
 * @param what could not be done, for the message. @throws GqaError `io`
 */
export function checkFolder(folder: string, what: string): void {
  let nearest = path.resolve(folder);
  while (!existsSync(nearest)) nearest = path.dirname(nearest);
  try {
    if (!statSync(nearest).isDirectory()) throw Object.assign(new Error(`${nearest} is a file`), { code: 'ENOTDIR' });
    accessSync(nearest, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw fileError(what, error);
  }
}

/** With those around it. @returns the topmost folder that was not there before */
export function makeFolder(folder: string): string | undefined {
  try {
    return mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw fileError(`cannot make ${folder}`, error);
  }
}

function removeAside(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch {
    // It cannot have been made either (its folder is a file, say); the error that led here tells why.
  }
}

/**
 * A rename is on the disk only when its folder is. Folders cannot be opened on Windows, and some network file systems
 * refuse to flush them: the file itself is safe there already.
 */
export function flushFolder(folder: string): void {
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
  EFBIG: {
    reason: 'the file would be larger than is allowed here',
    hint: 'A limit of the shell (ulimit -f), a batch system or the file system: write elsewhere.',
  },
  EIO: { reason: 'the device failed' },
  EMFILE: { reason: 'too many files are open' },
  ENAMETOOLONG: { reason: 'the name is too long' },
};

/** A failed file operation as an error with exit code 5: what could not be done, and why in words. */
export function fileError(what: string, error: unknown): GqaError {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const known = reasons[code];
  const reason = known ? `${known.reason} (${code})` : error instanceof Error ? error.message : String(error);
  return new GqaError('io', `${what}: ${reason}`, { cause: error, ...(known?.hint ? { hint: known.hint } : {}) });
}
