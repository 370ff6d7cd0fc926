/**
 * Decoded images on disk, so that later epochs and runs need not decode them again: one file an image, [header, height
 * · width · 3 bytes RGB], named by what it was made from (path, size and time of the source, and the size it was
 * brought to, and how). A file is written aside and renamed, and checked when it is read: one that is cut short or
 * altered is made anew.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { threadId } from 'node:worker_threads';
import { GqaError } from '../../errors.js';
import { isAlive } from '../../files/alive.js';
import type { ImageSize } from '../dataset.js';
import { type Fit, isPlain } from '../images/fit.js';
import { asImage, type Decoded, type Image, interleaved } from '../images/image.js';

const MAGIC = 0x31415147; // "GQA1"
/** Words of the header: magic, height, width, checksum. */
const HEADER = 4 * Uint32Array.BYTES_PER_ELEMENT;
const BLOCK = 1024;

/** A folder of decoded images; crosses to threads, which count together. */
export interface Cache {
  folder: string;
  /** [used, allowed, 1 after a failed write] in blocks of 1,024 bytes. */
  blocks: Int32Array<SharedArrayBuffer>;
}

/**
 * Makes the folder where there is none, counts what it holds, and removes what a killed process left half-written.
 * @param gigabytes the bound, in 10⁹ bytes. Errors: exit 5 when the folder cannot be used
 */
export function openCache(folder: string, gigabytes: number): Cache {
  const absolute = resolve(folder);
  let used = 0;
  try {
    mkdirSync(absolute, { recursive: true });
    for (const part of readdirSync(absolute)) {
      if (!/^[0-9a-f]{2}$/.test(part)) continue;
      for (const name of readdirSync(join(absolute, part))) {
        const path = join(absolute, part, name);
        const writer = /\.(\d+)-\d+\.tmp$/.exec(name)?.[1];
        if (writer !== undefined && !isAlive(Number(writer))) rmSync(path, { force: true });
        else if (name.endsWith('.rgb')) used += Math.ceil(statSync(path).size / BLOCK);
      }
    }
  } catch (cause) {
    throw new GqaError('io', `data.cache: ${absolute} cannot be used: ${(cause as Error).message}`, { cause });
  }
  const blocks = new Int32Array(new SharedArrayBuffer(3 * Int32Array.BYTES_PER_ELEMENT));
  blocks.set([used, Math.min(2 ** 31 - 1, Math.floor((gigabytes * 1e9) / BLOCK))]);
  return { folder: absolute, blocks };
}

/** The size that images are brought to, and how: squashed, bilinear, when left out. */
export type Form = ImageSize & { fit?: Fit };

/**
 * The image from the cache, or made and put there when there is room. A damaged one is made each time, so that each run
 * hears of it.
 * @param source path of the image's file
 * @param form   what it is brought to; null: its own size
 */
export async function cached(
  cache: Cache,
  source: string,
  form: Form | null,
  make: () => Promise<Decoded>,
): Promise<Decoded> {
  const path = fileOf(cache, source, form);
  const found = path === null ? null : readEntry(path);
  if (found !== null) return { ...found, damage: null };
  const image = await make();
  if (path !== null && image.damage === null) writeEntry(cache, path, image);
  return image;
}

/** null: the source cannot be looked at; reading it will tell why. */
function fileOf({ folder }: Cache, source: string, form: Form | null): string | null {
  const found = statSync(source, { throwIfNoEntry: false });
  if (found === undefined) return null;
  const key = JSON.stringify([source, found.size, found.mtimeMs, form === null ? 'own' : partsOf(form)]);
  const name = createHash('sha256').update(key).digest('hex').slice(0, 40);
  return join(folder, name.slice(0, 2), `${name}.rgb`);
}

/** As before there was a choice where none was made, so that caches stay good. */
const partsOf = ({ height, width, fit }: Form): unknown[] => [
  height,
  width,
  ...(fit === undefined || isPlain(fit) ? [] : [fit.resize, fit.cropPct, fit.interpolation]),
];

function readEntry(path: string): Image | null {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return null; // not there yet, or gone: made anew
  }
  if (bytes.length < HEADER) return null;
  const [magic, height, width, sum] = [0, 4, 8, 12].map((at) => bytes.readUInt32LE(at)) as [
    number,
    number,
    number,
    number,
  ];
  const pixels = new Uint8Array(bytes.buffer, bytes.byteOffset + HEADER, bytes.length - HEADER);
  if (magic !== MAGIC || pixels.length !== height * width * 3 || checksum(pixels) !== sum) return null;
  return asImage(pixels, { height, width });
}

/** An image that finds no room or cannot be written is not cached; training goes on without. */
function writeEntry({ blocks }: Cache, path: string, image: Image): void {
  const pixels = interleaved(image);
  const needed = Math.ceil((HEADER + pixels.length) / BLOCK);
  if (Atomics.load(blocks, 2) === 1) return;
  if (Atomics.add(blocks, 0, needed) + needed > Atomics.load(blocks, 1)) {
    Atomics.sub(blocks, 0, needed);
    return;
  }
  const header = Buffer.alloc(HEADER);
  for (const [i, word] of [MAGIC, image.height, image.width, checksum(pixels)].entries())
    header.writeUInt32LE(word, i * 4);
  const aside = `${path}.${process.pid}-${threadId}.tmp`;
  try {
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(aside, Buffer.concat([header, pixels]));
    renameSync(aside, path);
  } catch {
    Atomics.sub(blocks, 0, needed);
    Atomics.store(blocks, 2, 1);
    rmSync(aside, { force: true });
  }
}

/** Of whole words, with the rest byte by byte: FNV-1a's step. */
function checksum(pixels: Uint8Array): number {
  const aligned = pixels.byteOffset % 4 === 0 ? pixels : pixels.slice();
  const words = new Int32Array(aligned.buffer, aligned.byteOffset, aligned.length >> 2);
  let sum = 0x811c9dc5 | 0;
  for (let i = 0; i < words.length; i++) sum = Math.imul(sum ^ (words[i] as number), 0x01000193);
  for (let i = words.length * 4; i < aligned.length; i++) sum = Math.imul(sum ^ (aligned[i] as number), 0x01000193);
  return sum >>> 0;
}
