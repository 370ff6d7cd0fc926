/** Archives that tests make, good ones and hostile ones: what a reader must refuse, no proper packer writes. */
import { createHash } from 'node:crypto';
import { deflateRawSync, gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';

export interface Packed {
  name: string;
  bytes?: Uint8Array | string;
  /** Of tar; `file` otherwise. */
  type?: 'file' | 'directory' | 'symlink' | 'link' | 'character-device' | 'block-device' | 'fifo';
  linkname?: string;
  /** Of zip: the Unix mode with its kind, e.g. 0o120777 for a link. */
  mode?: number;
}

export async function tarGz(entries: readonly Packed[]): Promise<Buffer> {
  const tar = pack();
  for (const { name, bytes = '', type = 'file', linkname } of entries) {
    tar.entry({ name, type, ...(linkname === undefined ? {} : { linkname }) }, Buffer.from(bytes as string));
  }
  tar.finalize();
  const parts: Uint8Array[] = [];
  for await (const part of tar) parts.push(part as Uint8Array);
  return gzipSync(Buffer.concat(parts));
}

/** PKWARE APPNOTE 6.3: local headers with their data, the central directory, its end. Names go in as they are. */
export function zip(entries: readonly Packed[]): Buffer {
  const locals: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = 0;
  for (const { name, bytes = '', mode = 0 } of entries) {
    const content = Buffer.from(bytes as string);
    const packed = deflateRawSync(content);
    const nameBytes = Buffer.from(name);
    const common = Buffer.alloc(26); // version needed … extra length, as both headers have them
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(0x800, 2); // the name is UTF-8
    common.writeUInt16LE(8, 4);
    common.writeUInt32LE(crc32(content), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(content.length, 18);
    common.writeUInt16LE(nameBytes.length, 22);
    const local = Buffer.concat([Buffer.from('504b0304', 'hex'), common, nameBytes, packed]);
    const rest = Buffer.alloc(14); // comment length … offset of the local header
    rest.writeUInt32LE((mode << 16) >>> 0, 6);
    rest.writeUInt32LE(offset, 10);
    central.push(Buffer.concat([Buffer.from('504b01021403', 'hex'), common, rest, nameBytes]));
    locals.push(local);
    offset += local.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.write('504b0506', 'hex');
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, directory, end]);
}

/** node:zlib has one from 20.15 on only. */
function crc32(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

export const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');
export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
