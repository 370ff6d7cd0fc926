/** Files that grow line by line: a line is there in full or not at all. */
import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { fileError, writeFileAtomic } from '../files/atomic.js';

/** A row or line in full, or none of it. */
export function append(handle: number, text: string | Uint8Array, file: string): void {
  const { size } = fstatSync(handle);
  try {
    const bytes = typeof text === 'string' ? Buffer.from(text, 'utf8') : text;
    // A disk that is nearly full takes a part first, and says so only at the next call.
    for (let offset = 0; offset < bytes.length; ) offset += writeSync(handle, bytes, offset);
  } catch (error) {
    cutBack(handle, size);
    throw fileError(`cannot write ${file}`, error);
  }
}

function cutBack(handle: number, size: number): void {
  try {
    ftruncateSync(handle, size);
  } catch {
    // The device has failed altogether; the error that led here tells so.
  }
}

export function flush(handle: number, file: string): void {
  try {
    fsyncSync(handle);
  } catch (error) {
    throw fileError(`cannot flush ${file}`, error);
  }
}

/** Each line with its time: a message of several lines stays readable when lines are sorted or searched. */
export function logLines(at: Date, text: string): string {
  const time = at.toISOString().replace(/\.\d+Z$/, 'Z');
  return text
    .trim()
    .split('\n')
    .map((line) => `${time} ${line}`.trimEnd())
    .join('\n')
    .concat('\n');
}

/**
 * In one piece; on a full disk, which has no room for a second file, over the old one: a run that failed must not be
 * reported as running.
 */
export function writeStatus(file: string, text: string): void {
  try {
    writeFileAtomic(file, text);
  } catch (error) {
    try {
      const handle = openSync(file, 'r+');
      writeSync(handle, text);
      ftruncateSync(handle, Buffer.byteLength(text));
      closeSync(handle);
    } catch {
      throw error;
    }
  }
}
