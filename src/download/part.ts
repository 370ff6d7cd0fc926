/** A download’s part on the disk: what of it is there, and how it is gone on with. */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { GqaError } from '../errors.js';
import { fileError } from '../files/atomic.js';
import type { DownloadWatch } from './download.js';
import type { Wanted } from './wanted.js';

/** Kept beside a `.part`, so that a later call knows what it would go on with. */
interface PartState {
  url: string;
  /** A strong ETag, or Last-Modified: what If-Range takes. */
  validator: string | null;
}

/** The file being written, and the hash of what is in it. */
export interface Part {
  path: string;
  handle: FileHandle;
  have: number;
  hash: Hash;
}

export const algorithmOf = (wanted: Pick<Wanted, 'sha256'>): 'sha256' | 'md5' =>
  wanted.sha256 === null ? 'md5' : 'sha256';

/** Removes a `.part` and what is known about it. */
export function removePart(path: string): void {
  for (const file of [path, statePath(path)]) rmSync(file, { force: true });
}

const statePath = (path: string): string => `${path}.json`;

/** The checksum of a file that is there. */
export async function checksum(path: string, algorithm: 'sha256' | 'md5', signal?: AbortSignal): Promise<Hash> {
  const hash = createHash(algorithm);
  try {
    for await (const chunk of createReadStream(path, {
      highWaterMark: 2 ** 20,
      ...(signal === undefined ? {} : { signal }),
    }))
      hash.update(chunk);
  } catch (cause) {
    if (signal?.aborted === true) throw cause;
    throw fileError(`cannot read ${path}`, cause);
  }
  return hash;
}

export async function openPart(path: string, wanted: Wanted, watch: DownloadWatch): Promise<Part> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'a+').then(async (made) => {
      await made.close();
      return open(path, 'r+'); // 'a+' would write at the end whatever the position, and could not begin anew
    });
  } catch (cause) {
    throw fileError(`cannot write ${path}`, cause);
  }
  const { size } = await handle.stat();
  const part = { path, handle, have: size, hash: createHash(algorithmOf(wanted)) };
  if (size > wanted.bytes) await beginAnew(part, wanted);
  else if (size > 0) {
    part.hash = await checksum(path, algorithmOf(wanted), watch.signal);
    watch.notice(`${path} holds ${size} of ${wanted.bytes} bytes: going on from there`);
  }
  return part;
}

export async function beginAnew(part: Part, wanted: Wanted): Promise<void> {
  await onPart(part, () => part.handle.truncate(0));
  part.have = 0;
  part.hash = createHash(algorithmOf(wanted));
}

export async function onPart<T>(part: Part, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (cause) {
    const { message, hint } = fileError(`cannot write ${part.path}`, cause);
    throw new GqaError('io', message, {
      hint: `${hint ?? ''} The same command goes on from the ${part.have} bytes that are there.`.trim(),
      cause,
    });
  }
}

export function readState(path: string): PartState | null {
  try {
    const state = JSON.parse(readFileSync(statePath(path), 'utf8')) as Partial<PartState>;
    return typeof state.url === 'string'
      ? { url: state.url, validator: typeof state.validator === 'string' ? state.validator : null }
      : null;
  } catch {
    return null; // of another hand, or cut by a crash: without it there is no If-Range, and the checksum decides
  }
}

export function keepState(path: string, state: PartState): void {
  try {
    writeFileSync(statePath(path), JSON.stringify(state));
  } catch (cause) {
    throw fileError(`cannot write ${statePath(path)}`, cause);
  }
}
