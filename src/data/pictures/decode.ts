/**
 * Encoded pictures: common JPEGs through libtensorflow's libjpeg-turbo where set-up could compile the addon (to the same bytes in a third of the time), everything else, and whatever that
 * does not take, through sharp. The one module that touches sharp (loaded on first use: raw data sets never need it).
 * As torchvision does with Pillow (`convert('RGB')`, then resize): 8-bit RGB, transparency dropped so that what lies beneath shows, CMYK without a profile of inks, no EXIF rotation,
 * aspect ratio not kept. Unlike it, 16-bit grey keeps its high byte (Pillow makes everything above 255 white).
 */
import type { Sharp } from 'sharp';
import { GqaError } from '../../errors.js';
import { loadPictures } from '../../native/pictures.js';
import type { EncodedSource, FileSource, PictureSize, Source } from '../dataset.js';
import { readBytes } from '../files.js';
import { DEFAULT_READING, type Reading } from '../reading.js';
import { asPicture, type Picture, rawPicture, resizePicture } from './picture.js';

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

/** A file's path, or the bytes of one with what messages call it. */
export type EncodedPicture = string | { bytes: Uint8Array; name: string };

/** What a picture may take. */
export type Limits = Pick<Reading, 'maxPixels' | 'timeoutS'>;

/**
 * Decodes a JPEG, PNG or WebP file (told by its content, whatever its name) and resizes it as `resizePicture` does.
 * @returns interleaved RGB of `size`, or of the picture's own size when that is null
 * Errors: exit 3 with the picture's path or name, also for pictures that are damaged or cut short, have more pixels than `limits` or take longer.
 */
export async function decodePicture(picture: EncodedPicture, size: PictureSize | null, limits: Limits = DEFAULT_READING): Promise<Picture> {
  const { bytes, name } = encodedBytes(picture);
  const encoded = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes); // a copy: sharp takes no shared memory
  const kind = kindOf(encoded, name);
  const frame = kind === 'JPEG' ? jpegFrame(encoded) : null;
  const native = frame === null ? null : decodedNatively(encoded, frame, limits);
  const decoded = native ?? (await orUndecodable(encoded, name, () => decodedBySharp(encoded, kind, frame, limits)));
  return size === null ? decoded : resizePicture(decoded, size);
}

/** Picture `index` of a source that is not raw. It must be one that is held. */
export function encodedPicture(source: FileSource | EncodedSource, index: number): EncodedPicture {
  if (source.kind === 'files') return source.paths[index] as string;
  const [bytes, name] = [source.pictures[index], source.names[index] as string];
  if (!bytes) throw new Error(`${name} is asked for, but was left in its file`);
  return { bytes, name };
}

/** Picture `index` of any source, as `decodePicture` gives it. */
export async function pictureAt(source: Source, index: number, size: PictureSize | null): Promise<Picture> {
  if (source.kind !== 'raw') return decodePicture(encodedPicture(source, index), size);
  const picture = rawPicture(source, index);
  return size === null ? picture : resizePicture(picture, size);
}

/** Reads a file, if it is one. Errors: exit 3 with its path. */
export const encodedBytes = (picture: EncodedPicture): { bytes: Uint8Array; name: string } =>
  typeof picture === 'string' ? { bytes: readBytes(picture), name: picture } : picture;

/** Height and width as the picture's head has them. Errors: exit 3, as for `decodePicture`. */
export async function pictureSize(picture: EncodedPicture, limits: Limits = DEFAULT_READING): Promise<PictureSize> {
  const { bytes, name } = encodedBytes(picture);
  const encoded = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes);
  kindOf(encoded, name);
  const { height, width } = await orUndecodable(encoded, name, async () => (await opened(encoded, limits)).metadata());
  return { height, width };
}

const opened = async (bytes: Buffer, { maxPixels }: Limits): Promise<Sharp> =>
  (await loadSharp())(bytes, { failOn: 'warning', limitInputPixels: maxPixels, ignoreIcc: true, autoOrient: false, animated: false });

async function orUndecodable<T>(bytes: Buffer, name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new GqaError('data', `${name} (${bytes.length} bytes) does not decode: ${reason}`, {
      hint: 'Replace the picture or take it out of the data set; data.on_bad_image: skip leaves out what cannot be read.',
      cause,
    });
  }
}

async function decodedBySharp(encoded: Buffer, kind: string, frame: JpegFrame | null, limits: Limits): Promise<Picture> {
  const image = await opened(encoded, limits);
  if (kind !== 'JPEG') return toPicture(image.removeAlpha(), limits);
  if (frame === null) throw new Error('no frame header in the JPEG');
  const { components } = frame;
  if (components === 4) return fromInks(image, limits);
  if (components !== 1 && components !== 3) throw new Error(`a JPEG of ${components} colour components; expected 1, 3 or 4`);
  return toPicture(image, limits);
}

/**
 * The pictures whose work is bounded by their length, so that they need no time limit: one after the other, not progressive. null for all others, for damaged ones and those cut short,
 * which sharp then says the reason of, and where there is no native addon.
 */
function decodedNatively(encoded: Buffer, { sequential, height, width, components }: JpegFrame, { maxPixels }: Limits): Picture | null {
  const pixels = height * width;
  if (!sequential || (components !== 1 && components !== 3) || pixels === 0 || pixels > maxPixels || !hasEnd(encoded)) return null;
  const { addon } = loadPictures();
  if (addon === null) return null;
  const bytes = new Uint8Array(Buffer.allocUnsafeSlow(pixels * 3).buffer);
  return addon.decodeJpeg(encoded, bytes, height, width) ? asPicture(bytes, { height, width }) : null;
}

/** Is there an end of image in the last bytes? Some writers put a few bytes behind it. */
const hasEnd = (encoded: Buffer): boolean => encoded.subarray(-64).includes('ffd9', 'hex');

interface JpegFrame {
  /** Each picture part once, Huffman-coded: baseline and extended sequential, of 8 bits. */
  sequential: boolean;
  height: number;
  width: number;
  components: number;
}

/** A JPEG's frame header; null: there is none. Format: ITU-T T.81, B.1 and B.2.2: markers from byte 2 on, each with its length, up to the start of frame. */
function jpegFrame(bytes: Buffer): JpegFrame | null {
  for (let at = 2; at + 9 < bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1] ?? 0;
    // Start of frame: C0 to CF without the tables DHT, JPG and DAC. A second ff is padding.
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      const sequential = marker <= 0xc1 && bytes[at + 4] === 8;
      return { sequential, height: bytes.readUInt16BE(at + 5), width: bytes.readUInt16BE(at + 7), components: bytes[at + 9] ?? 0 };
    }
    at += marker === 0xff ? 1 : 2 + bytes.readUInt16BE(at + 2);
  }
  return null;
}

/** A CMYK or YCCK JPEG as Pillow shows it: (255 − ink) · (255 − black) / 255, the inks as libvips gives them (put right where the file holds them inverted, as JPEGs do). */
async function fromInks(image: Sharp, limits: Limits): Promise<Picture> {
  const { data, info } = await image
    .pipelineColourspace('cmyk')
    .toColourspace('cmyk')
    .timeout(secondsOf(limits))
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const bytes = new Uint8Array(info.width * info.height * 3);
  for (let from = 0, to = 0; to < bytes.length; from += 4, to += 3) {
    const light = 255 - data[from + 3]!;
    for (let c = 0; c < 3; c++) bytes[to + c] = light - Math.round((data[from + c]! * light) / 255);
  }
  return { bytes, start: 0, height: info.height, width: info.width, pixelStride: 3, channelStride: 1 };
}

const secondsOf = ({ timeoutS }: Limits): { seconds: number } => ({ seconds: Math.min(3600, Math.ceil(timeoutS)) });

async function toPicture(image: Sharp, limits: Limits): Promise<Picture> {
  const { data, info } = await image
    .toColourspace('srgb')
    .timeout(secondsOf(limits))
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const grey = info.channels < 3;
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.length);
  return { bytes, start: 0, height: info.height, width: info.width, pixelStride: info.channels, channelStride: grey ? 0 : 1 };
}

/** Which kind that is read the bytes begin as. Errors: exit 3 with what they are instead. */
function kindOf(bytes: Buffer, name: string): string {
  const read = bytes.length >= 12 ? READ_KINDS.find(([, matches]) => matches(bytes)) : undefined;
  if (read !== undefined) return read[0];
  const head = bytes.toString('latin1', 0, 1024);
  const kind = REFUSED_KINDS.find(([, sign]) =>
    sign instanceof RegExp ? sign.test(head) : bytes.toString('hex', sign.at, 64).startsWith(sign.hex),
  )?.[0];
  const found = bytes.length === 0 ? 'is empty' : `is ${kind ?? 'of an unknown kind'} by its content`;
  throw new GqaError('data', `${name} ${found}; expected ${READ_KINDS.map(([kind]) => kind).join(', ')}`, {
    hint: 'Convert or replace the picture, or take it out of the data set.',
  });
}

/** @param pixels [height, width, 3] */
export async function encodePng(pixels: Uint8Array, width: number, height: number): Promise<Buffer> {
  const sharp = await loadSharp();
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}
