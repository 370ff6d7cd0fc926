/**
 * Unpacks archives of strangers. Libraries read the formats and yield entries; every name, kind and size is judged here
 * before anything is written, and what is written lies below one new folder: only plain files and folders, no links, no
 * devices, nothing twice, no more than was expected.
 */
import { closeSync, createReadStream, mkdirSync, openSync, statSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { GqaError } from '../../errors.js';
import { fileError } from '../../files/atomic.js';

export type ArchiveKind = 'tar.gz' | 'zip';

/** More than this is refused, as far as possible before it is written. */
export interface Limits {
  /** Of all files together, unpacked. */
  bytes: number;
  /** Files and folders together. */
  files: number;
  /** Unpacked bytes for every byte of the archive. */
  ratio: number;
}

export interface UnpackWatch {
  /** Bytes of the archive that are done. */
  progress(done: number): void;
  signal?: AbortSignal | undefined;
}

interface Entry {
  name: string;
  /** `file`, `directory`, or what else the archive calls it. */
  kind: string;
  /** As the archive says. */
  bytes: number;
  /** Of the archive, read so far. */
  position(): number;
  content(): AsyncIterable<Uint8Array>;
}

/** Below this a high ratio is no bomb: a text of blanks, say. */
const RATIO_FROM_BYTES = 1_000_000;

const READERS: Record<ArchiveKind, (archive: string) => AsyncGenerator<Entry>> = {
  'tar.gz': tarEntries,
  zip: zipEntries,
};

/**
 * Unpacks `archive` into the folder `into`, a new one or one that another archive was unpacked into: what is there is
 * never overwritten, and no link is ever made. When it fails, what was written stays below `into`, for the caller to
 * remove.
 * @returns how many files there were, and their bytes
 * Errors: exit 3 for an archive that is damaged or holds what is refused, naming the entry; exit 5 when something
 * cannot be written; the signal's reason when aborted.
 */
export async function unpack(
  archive: string,
  kind: ArchiveKind,
  into: string,
  limits: Limits,
  watch: UnpackWatch,
): Promise<{ files: number; bytes: number }> {
  const judge = openJudge(archive, statSync(archive).size, limits);
  const made = new Set<string>();
  const folder = (path: string): void => {
    if (made.has(path)) return;
    writing(path, () => mkdirSync(path, { recursive: true }));
    made.add(path);
  };
  try {
    folder(into);
    for await (const entry of READERS[kind](archive)) {
      watch.signal?.throwIfAborted();
      const path = join(into, ...judge.entry(entry));
      if (entry.kind === 'directory') {
        folder(path);
        continue;
      }
      folder(dirname(path));
      const handle = writing(path, () => openSync(path, 'wx', 0o644));
      try {
        for await (const chunk of entry.content()) {
          watch.signal?.throwIfAborted();
          judge.bytes(chunk.byteLength, entry.name);
          writing(path, () => writeAll(handle, chunk));
        }
      } finally {
        closeSync(handle);
      }
      watch.progress(entry.position());
    }
  } catch (cause) {
    if (cause instanceof GqaError || watch.signal?.aborted === true) throw cause;
    throw new GqaError(
      'data',
      `${archive} is damaged or no ${kind} archive: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        hint: 'Get it afresh.',
        cause,
      },
    );
  }
  return judge.total();
}

/** Keeps count, and says no. */
function openJudge(archive: string, archiveBytes: number, limits: Limits) {
  const seen = new Map<string, { path: string; kind: 'file' | 'directory' }>();
  let files = 0;
  let entries = 0;
  let bytes = 0;
  const refuse = (name: string, reason: string): GqaError =>
    new GqaError('data', `${archive}: the entry ${JSON.stringify(name)} ${reason}; nothing of the archive was kept`, {
      hint: 'The official archive has nothing of that kind: get it from the official address.',
    });
  const limitBytes = Math.min(limits.bytes, Math.max(RATIO_FROM_BYTES, archiveBytes * limits.ratio));
  const tooLarge = (name: string, found: number): GqaError =>
    refuse(
      name,
      `brings the unpacked size to ${found} bytes; at most ${limitBytes} are expected of an archive of ${archiveBytes}`,
    );
  return {
    /** @returns the segments of its path; none for the top itself */
    entry({ name, kind, bytes: said }: Entry): string[] {
      if (++entries > limits.files) throw refuse(name, `is number ${entries}; at most ${limits.files} are expected`);
      if (kind !== 'file' && kind !== 'directory')
        throw refuse(name, `is a ${kind}; only files and folders are unpacked`);
      const segments = segmentsOf(name, refuse);
      if (segments.length === 0 && kind === 'file') throw refuse(name, 'has no name');
      for (let length = 1; length <= segments.length; length++) {
        const path = segments.slice(0, length).join('/');
        const own = length === segments.length ? kind : 'directory';
        // As file systems that do not tell case from case, or composed from decomposed letters, see it.
        const folded = path.normalize('NFC').toLowerCase();
        const other = seen.get(folded);
        if (other === undefined) seen.set(folded, { path, kind: own });
        else if (other.path !== path)
          throw refuse(name, `differs from ${JSON.stringify(other.path)} only in case or in how letters are composed`);
        else if (own === 'file' && other.kind === 'file') throw refuse(name, 'is there twice');
        else if (own !== other.kind) throw refuse(name, `makes ${JSON.stringify(path)} a file and a folder`);
      }
      if (kind === 'file') {
        files++;
        if (bytes + said > limitBytes) throw tooLarge(name, bytes + said);
      }
      return segments;
    },
    /** What really comes, whatever was said. */
    bytes(count: number, name: string): void {
      bytes += count;
      if (bytes > limitBytes) throw tooLarge(name, bytes);
    },
    total: () => ({ files, bytes }),
  };
}

const UNSAFE: [pattern: RegExp, reason: string][] = [
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
  [/[\x00-\x1f]/, 'has a control character in its name'],
  [/\\/, 'has a backslash in its name'],
  [/^\//, 'has an absolute path'],
  [/^[A-Za-z]:/, 'begins with a drive letter'],
  [/(^|\/)\.\.(\/|$)/, 'leads out of the folder'],
];

function segmentsOf(name: string, refuse: (name: string, reason: string) => GqaError): string[] {
  for (const [pattern, reason] of UNSAFE) if (pattern.test(name)) throw refuse(name, reason);
  return name.split('/').filter((segment) => segment !== '' && segment !== '.');
}

async function* tarEntries(archive: string): AsyncGenerator<Entry> {
  const { extract } = await import('tar-stream');
  const [source, gunzip, entries] = [createReadStream(archive), createGunzip(), extract()];
  const feeding = pipeline(source, gunzip, entries);
  feeding.catch(() => {}); // awaited below; a loop that is left early does not wait for it
  for await (const entry of entries) {
    const { name, type, size } = entry.header;
    yield {
      name,
      kind: type ?? 'thing of unknown kind',
      bytes: size ?? 0,
      position: () => source.bytesRead,
      content: () => entry as AsyncIterable<Uint8Array>,
    };
    entry.resume(); // of an entry without content, or one that nobody read
  }
  await feeding;
}

/** High bits of a Unix mode: what an entry is. Zips made elsewhere have none. */
const ZIP_KINDS = new Map([
  [0, 'file'],
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o120000, 'symlink'],
]);

async function* zipEntries(archive: string): AsyncGenerator<Entry> {
  const { openPromise } = await import('yauzl');
  const zip = await openPromise(archive, { strictFileNames: true, autoClose: false });
  try {
    let position = 0;
    for await (const entry of zip.eachEntry()) {
      if (entry.isEncrypted()) throw new Error(`${entry.fileName} is encrypted`);
      const mode = ZIP_KINDS.get((entry.externalFileAttributes >>> 16) & 0o170000) ?? 'special file';
      const kind = entry.fileName.endsWith('/') && mode === 'file' ? 'directory' : mode;
      position += entry.compressedSize;
      yield {
        name: entry.fileName,
        kind,
        bytes: entry.uncompressedSize,
        position: () => position,
        content: async function* () {
          yield* await zip.openReadStreamPromise(entry);
        },
      };
    }
  } finally {
    zip.close();
  }
}

function writing<T>(path: string, write: () => T): T {
  try {
    return write();
  } catch (cause) {
    throw fileError(`cannot write ${path}`, cause);
  }
}

function writeAll(handle: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.byteLength; ) at += writeSync(handle, bytes, at);
}
