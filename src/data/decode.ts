/**
 * Picture files through sharp, the one module that touches it (loaded on first use: raw data sets never need it).
 * As torchvision's ImageFolder does with Pillow: 8-bit RGB, no EXIF rotation, aspect ratio not kept. Unlike it, transparent pixels are laid on black instead of showing what lies beneath.
 */
import { readFileSync } from 'node:fs';
import type { Sharp } from 'sharp';
import { GqaError } from '../errors.js';
import { type Picture, placePicture, unmoved } from './augment.js';

/** A picture of more pixels is refused before it is decoded. */
const MAX_PIXELS = 50_000_000;
/** A picture that takes longer is given up. */
const MAX_SECONDS = 60;

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

/**
 * Decodes a JPEG, PNG or WebP file (told by its content, whatever its name) and resizes it (triangle filter, `size` exactly).
 * @returns interleaved RGB of `size`, or of the picture's own size when that is null
 * Errors: exit 3 with the file's path, also for pictures that are cut short or larger than 50 megapixels.
 */
export async function decodePicture(path: string, size: { height: number; width: number } | null): Promise<Picture> {
  const bytes = readEncoded(path);
  const sharp = await loadSharp();
  const image = sharp(bytes, { failOn: 'warning', limitInputPixels: MAX_PIXELS, ignoreIcc: true, autoOrient: false, animated: false });
  try {
    return await toPicture(image.flatten({ background: 'black' }), size);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new GqaError('data', `${path} (${bytes.length} bytes) does not decode: ${reason}`, {
      hint: 'Replace the picture or take it out of the folder.',
      cause,
    });
  }
}

/** A picture in memory, resized as decoded ones are. */
export async function resizePicture(picture: Picture, size: { height: number; width: number }): Promise<Picture> {
  const { height, width } = picture;
  const sharp = await loadSharp();
  const pixels = new Uint8Array(height * width * 3);
  placePicture(picture, unmoved, pixels, 0);
  return toPicture(sharp(pixels, { raw: { width, height, channels: 3 } }), size);
}

async function toPicture(image: Sharp, size: { height: number; width: number } | null): Promise<Picture> {
  const resized = size === null ? image : image.resize(size.width, size.height, { fit: 'fill', kernel: 'linear' });
  const { data, info } = await resized
    .toColourspace('srgb')
    .timeout({ seconds: MAX_SECONDS })
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const grey = info.channels < 3;
  return { bytes: data, start: 0, height: info.height, width: info.width, pixelStride: info.channels, channelStride: grey ? 0 : 1 };
}

/** The file's bytes, when they begin as those of a kind that is read. */
function readEncoded(path: string): Buffer {
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

/** @param pixels [height, width, 3] */
export async function encodePng(pixels: Uint8Array, width: number, height: number): Promise<Buffer> {
  const sharp = await loadSharp();
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}
