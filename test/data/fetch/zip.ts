/**
 * Just enough of a zip reader for the archives that tests use: the central directory, then single files. Format: PKWARE
 * APPNOTE 6.3.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { inflateRawSync } from 'node:zlib';

export interface ZipFile {
  name: string;
  bytes(): Buffer;
}

/**
 * Calls `use` with the files of the archive, in the order of its central directory; they can be read until it returns.
 */
export async function withZip<T>(path: string, use: (files: ZipFile[]) => Promise<T>): Promise<T> {
  const file = openSync(path, 'r');
  const at = (offset: number, length: number): Buffer => {
    const bytes = Buffer.alloc(length);
    if (readSync(file, bytes, 0, length, offset) !== length)
      throw new Error(`${path} ends before byte ${offset + length}`);
    return bytes;
  };
  try {
    const { size } = fstatSync(file);
    const tailBytes = Math.min(size, 66_000);
    const tail = at(size - tailBytes, tailBytes);
    const end = tail.lastIndexOf(Buffer.from('504b0506', 'hex'));
    if (end < 0) throw new Error(`${path} has no end of central directory`);
    const directory = at(tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12));
    const files: ZipFile[] = [];
    for (let entry = 0; entry < directory.length && directory.readUInt32LE(entry) === 0x02014b50; ) {
      const method = directory.readUInt16LE(entry + 10);
      const packedLength = directory.readUInt32LE(entry + 20);
      const nameBytes = directory.readUInt16LE(entry + 28);
      const local = directory.readUInt32LE(entry + 42);
      const name = directory.toString('utf8', entry + 46, entry + 46 + nameBytes);
      const bytes = (): Buffer => {
        if (method !== 0 && method !== 8) throw new Error(`${path}: ${name} is compressed (method ${method})`);
        const header = at(local, 30);
        const packed = at(local + 30 + header.readUInt16LE(26) + header.readUInt16LE(28), packedLength);
        return method === 0 ? packed : inflateRawSync(packed);
      };
      files.push({ name, bytes });
      entry += 46 + nameBytes + directory.readUInt16LE(entry + 30) + directory.readUInt16LE(entry + 32);
    }
    return await use(files);
  } finally {
    closeSync(file);
  }
}
