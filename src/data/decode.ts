/**
 * Picture files through sharp, the one module that touches it (loaded on first use: raw data sets never need it).
 * As torchvision's ImageFolder does with Pillow: 8-bit RGB, no EXIF rotation, aspect ratio not kept. Unlike it, transparent pixels are laid on black instead of showing what lies beneath.
 */
import { readFileSync } from 'node:fs';
import type { Sharp } from 'sharp';
import { GqaError } from '../errors.js';
import { type Picture, placePicture, unmoved } from './augment.js';
import type { Size } from './randaugment.js';
import { DEFAULT_READING, type Reading } from './reading.js';
import { resample } from './resample.js';

/** First bytes of the kinds of file that are read. */
const READ_KINDS: [name: string, matches: (head: Buffer) => boolean][] = [
  ['JPEG', (head) => head.readUIntBE(0, 3) === 0xffd8ff],
  ['PNG', (head) => head.toString('latin1', 0, 8) === '\x89PNG\r\n\x1a\n'],
  ['WebP', (head) => head.toString('latin1', 0, 4) === 'RIFF' && head.toString('latin1', 8, 12) === 'WEBP'],
];

/** Kinds that are told by name when refused; sharp's library would read some of them, with far more code behind it. Text is searched, bytes stand at their offset. */
const REFUSED_KINDS: [name: string, sign: RegExp | { hex: string; at: number }][] = [
  ['GIF', { hex: '47494638', at: 0 }],
  ['TIFF', { hex: '49492a00', at: 0 }],
  ['TIFF', { hex: '4d4d002a', at: 0 }],
  ['BMP', { hex: '424d', at: 0 }],
  ['AVIF or HEIF', { hex: '66747970', at: 4 }],
  ['JPEG XL', { hex: 'ff0a', at: 0 }],
  ['JPEG 2000', { hex: '0000000c6a50', at: 0 }],
  ['zip', { hex: '504b0304', at: 0 }],
  ['PDF', /^%PDF/],
  ['HTML', /<(!doctype html|html)[\s>]/i],
  ['SVG', /<svg[\s>]/i],
  ['XML', /^\s*<\?xml/i],
];

let loading: Promise<typeof import('sharp').default> | undefined;

/** sharp without its cache and with one thread for a picture: the workers are what runs at once. */
function loadSharp(): Promise<typeof import('sharp').default> {
  loading ??= import('sharp').then(({ default: sharp }) => {
    sharp.cache(false);
    sharp.concurrency(1);
    return sharp;
  });
  return loading;
}

/** What a picture may take. */
export type Limits = Pick<Reading, 'maxPixels' | 'timeoutS'>;

/**
 * Decodes a JPEG, PNG or WebP file (told by its content, whatever its name) and resizes it (bilinear, antialiased when it shrinks, `size` exactly).
 * @returns interleaved RGB of `size`, or of the picture's own size when that is null
 * Errors: exit 3 with the file's path, also for pictures that are cut short, have more pixels than `limits` or take longer.
 */
export async function decodePicture(path: string, size: Size | null, limits: Limits = DEFAULT_READING): Promise<Picture> {
  const picture = await decodeBytes(readEncoded(path), path, limits);
  return size === null ? picture : resizePicture(picture, size, limits);
}

/** The picture at its own size from the file's bytes. @param name what errors call it */
export async function decodeBytes(bytes: Buffer, name: string, limits: Limits): Promise<Picture> {
  try {
    return await toPicture((await opened(bytes, limits)).flatten({ background: 'black' }), limits);
  } catch (cause) {
    throw undecodable(name, bytes, cause);
  }
}

/** Height and width as the file's head has them. Errors: exit 3, as for `decodePicture`. */
export async function pictureSize(path: string, limits: Limits = DEFAULT_READING): Promise<Size> {
  const bytes = readEncoded(path);
  try {
    const { height, width } = await (await opened(bytes, limits)).metadata();
    return { height, width };
  } catch (cause) {
    throw undecodable(path, bytes, cause);
  }
}

const opened = async (bytes: Buffer, { maxPixels }: Limits): Promise<Sharp> =>
  (await loadSharp())(bytes, { failOn: 'warning', limitInputPixels: maxPixels, ignoreIcc: true, autoOrient: false, animated: false });

function undecodable(name: string, bytes: Buffer, cause: unknown): GqaError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new GqaError('data', `${name} (${bytes.length} bytes) does not decode: ${reason}`, {
    hint: 'Replace the picture or take it out of the folder; data.on_bad_image: skip leaves out what cannot be read.',
    cause,
  });
}

/**
 * A picture brought to exactly `size`, aspect ratio not kept: bilinear, antialiased where it shrinks, as Pillow's.
 * sharp's shrinking is within 4 of 255 of Pillow's (0.5 in the mean) and faster than ours; its enlarging is up to 14 off, ours is equal.
 */
export async function resizePicture(picture: Picture, size: Size, limits: Limits = DEFAULT_READING): Promise<Picture> {
  const { height, width } = picture;
  if (height === size.height && width === size.width) return picture;
  if (height < size.height || width < size.width) {
    const bytes = new Uint8Array(size.height * size.width * 3);
    resample(interleaved(picture), picture, bytes, size);
    return asPicture(bytes, size);
  }
  const sharp = await loadSharp();
  const image = sharp(interleaved(picture), { raw: { width, height, channels: 3 } });
  return toPicture(image.resize(size.width, size.height, { fit: 'fill', kernel: 'linear' }), limits);
}

export const asPicture = (bytes: Uint8Array, { height, width }: Size): Picture => ({
  bytes,
  start: 0,
  height,
  width,
  pixelStride: 3,
  channelStride: 1,
});

/** [height, width, 3] bytes of a picture: its own memory where it lies so already. */
export function interleaved(picture: Picture): Uint8Array {
  const { bytes, start, height, width, pixelStride, channelStride } = picture;
  const size = height * width * 3;
  if (pixelStride === 3 && channelStride === 1) return bytes.subarray(start, start + size);
  const pixels = new Uint8Array(size);
  placePicture(picture, unmoved, pixels, 0);
  return pixels;
}

async function toPicture(image: Sharp, { timeoutS }: Limits): Promise<Picture> {
  const { data, info } = await image
    .toColourspace('srgb')
    .timeout({ seconds: Math.min(3600, Math.ceil(timeoutS)) })
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const grey = info.channels < 3;
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.length);
  return { bytes, start: 0, height: info.height, width: info.width, pixelStride: info.channels, channelStride: grey ? 0 : 1 };
}

/** The file's bytes, when they begin as those of a kind that is read. */
export function readEncoded(path: string): Buffer {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new GqaError('data', `${path} cannot be read: ${reason}`, { cause });
  }
  if (bytes.length >= 12 && READ_KINDS.some(([, matches]) => matches(bytes))) return bytes;
  const head = bytes.toString('latin1', 0, 1024);
  const kind = REFUSED_KINDS.find(([, sign]) =>
    sign instanceof RegExp ? sign.test(head) : bytes.toString('hex', sign.at, 64).startsWith(sign.hex),
  )?.[0];
  const found = bytes.length === 0 ? 'is empty' : `is ${kind ?? 'of an unknown kind'} by its content`;
  throw new GqaError('data', `${path} ${found}; expected ${READ_KINDS.map(([name]) => name).join(', ')}`, {
    hint: 'Convert or replace the picture, or take it out of the folder.',
  });
}
