/** Reading files and folders of a data set, and what is said when one cannot be read. */
import { isUtf8 } from 'node:buffer';
import { type Dirent, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
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

/** What stands in a folder. */
export interface Entry {
  /** Bytes that are no UTF-8 are shown as \xE9; such a name opens nothing. */
  name: string;
  utf8: boolean;
  /** As the folder tells it, without following a link. `other`: a socket, pipe or device. */
  kind: 'file' | 'folder' | 'link' | 'other';
}

/** Folders that systems leave behind: they hold no data. */
const LEFT_BY_SYSTEMS = new Set(['__MACOSX', '@eaDir', '$RECYCLE.BIN', 'System Volume Information', 'lost+found']);

/**
 * What a folder holds, sorted by code point (not by the user's language), as Python sorts: without hidden entries and
 * folders that systems leave behind. Errors: exit 3 when it cannot be listed.
 */
export function entriesOf(folder: string): Entry[] {
  let found: Entry[];
  try {
    found = readdirSync(folder, { withFileTypes: true }).map((entry) => ({
      name: entry.name,
      utf8: true,
      kind: kindOf(entry),
    }));
    // Bytes that are no UTF-8 have become this character: only then are the names asked for again, as bytes.
    if (found.some(({ name }) => name.includes('\ufffd'))) found = entriesAsBytes(folder);
  } catch (cause) {
    throw new GqaError(
      'data',
      `${folder} cannot be listed: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
  const entries = found.filter(({ name }) => !name.startsWith('.') && !LEFT_BY_SYSTEMS.has(name));
  return entries.sort((a, b) => compareNames(a.name, b.name));
}

const entriesAsBytes = (folder: string): Entry[] =>
  readdirSync(folder, { encoding: 'buffer', withFileTypes: true }).map((entry) => {
    const utf8 = isUtf8(entry.name);
    return { name: utf8 ? entry.name.toString('utf8') : escaped(entry.name), utf8, kind: kindOf(entry) };
  });

const kindOf = (entry: Dirent<string> | Dirent<Buffer>): Entry['kind'] =>
  entry.isFile() ? 'file' : entry.isDirectory() ? 'folder' : entry.isSymbolicLink() ? 'link' : 'other';

/**
 * By code point. JavaScript compares halves of the code points above U+FFFF, which then come before U+E000 to U+FFFF.
 */
function compareNames(a: string, b: string): number {
  if (a === b) return 0;
  let at = 0;
  while (a.charCodeAt(at) === b.charCodeAt(at)) at++;
  const [x, y] = [a.charCodeAt(at), b.charCodeAt(at)];
  // Halves of code points come last; past its end a name has NaN, which is less than nothing.
  if (x >= 0xd800 && y >= 0xd800) return Buffer.compare(Buffer.from(a), Buffer.from(b));
  return Number.isNaN(x) || x < y ? -1 : 1;
}

/** Bytes as text, those that are not ASCII as \xE9. */
export const escaped = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) =>
    byte < 0x80 ? String.fromCharCode(byte) : `\\x${byte.toString(16).toUpperCase().padStart(2, '0')}`,
  ).join('');

/** Errors: exit 3 when an entry that takes part has a name by which it cannot be opened. */
export function requireUtf8(folder: string, { name, utf8 }: Entry): void {
  if (utf8) return;
  throw new GqaError(
    'data',
    `${join(folder, name)}: the name is not valid UTF-8 (bytes shown as \\xE9), so that it cannot be read`,
    {
      hint: 'Rename it: `convmv -f latin1 -t utf8 -r --notest FOLDER` does so for all names that were written in Latin-1.',
    },
  );
}

/**
 * Is it a folder, or a link to one? Errors: exit 3 for a link that leads nowhere, to itself or where nobody may look.
 */
export function isFolderIn(folder: string, entry: Entry): boolean {
  if (entry.kind !== 'link') return entry.kind === 'folder';
  requireUtf8(folder, entry);
  const path = join(folder, entry.name);
  try {
    return statSync(path).isDirectory();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'nothing is there' : code === 'ELOOP' ? 'it leads to itself' : message;
    throw new GqaError('data', `${path} is a link that cannot be followed: ${reason}`, {
      hint: 'Mend the link, or take it out of the folder.',
      cause,
    });
  }
}
