/**
 * Encoded images: common JPEGs through libtensorflow's libjpeg-turbo where set-up could compile the addon (to the same
 * bytes in a third of the time), everything else, and whatever that does not take, through sharp. The one module that
 * touches sharp (loaded on first use: raw data sets never need it). As torchvision does with Pillow (`convert('RGB')`,
 * then resize): 8-bit RGB, transparency dropped so that what lies beneath shows, CMYK without a profile of inks, no
 * EXIF rotation, aspect ratio not kept. Unlike it, 16-bit grey keeps its high byte (Pillow makes everything above 255
 * white). JPEGs that libjpeg only warns about are decoded to Pillow's bytes too, under `onBadImage: warn`, and what
 * Pillow refuses is refused: test/data/torchvision/damaged.py.
 */
import type { Sharp } from 'sharp';
import { GqaError } from '../../errors.js';
import { loadImages } from '../../native/images.js';
import type { EncodedSource, FileSource, ImageSize, Source } from '../dataset.js';
import { readBytes } from '../files.js';
import { DEFAULT_READING, type Reading } from '../reading.js';
import { asImage, type Decoded, type Image, rawImage, resizeImage } from './image.js';
import { endsWell, hasEnd, type JpegFrame, jpegFrame } from './jpeg.js';

/** First bytes of the kinds of file that are read. */
const READ_KINDS: [name: string, matches: (head: Buffer) => boolean][] = [
  ['JPEG', (head) => head.readUIntBE(0, 3) === 0xffd8ff],
  ['PNG', (head) => head.toString('latin1', 0, 8) === '\x89PNG\r\n\x1a\n'],
  ['WebP', (head) => head.toString('latin1', 0, 4) === 'RIFF' && head.toString('latin1', 8, 12) === 'WEBP'],
];

/**
 * Kinds that are reported by name when refused; sharp's library would read some of them, with far more code behind it.
 * Text is searched, bytes stand at their offset.
 */
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

/** sharp without its cache and with one thread for an image: the workers are what runs at once. */
function loadSharp(): Promise<typeof import('sharp').default> {
  loading ??= import('sharp').then(({ default: sharp }) => {
    sharp.cache(false);
    sharp.concurrency(1);
    return sharp;
  });
  return loading;
}

/** A file's path, or the bytes of one with what messages call it. */
export type EncodedImage = string | { bytes: Uint8Array; name: string };

/** What an image may take, and whether a damaged one is decoded as far as it goes (`warn`) or refused. */
export type Limits = Pick<Reading, 'maxPixels' | 'timeoutS' | 'onBadImage'>;

/**
 * Decodes a JPEG, PNG or WebP file (recognised by its content, whatever its name) and resizes it as `resizeImage` does.
 * @returns interleaved RGB of `size`, or of the image's own size when that is null
 * Errors: exit 3 with the image's path or name, also for images that are damaged beyond what `limits` let pass or cut
 * short, have more pixels than `limits` or take longer.
 */
export async function decodeImage(
  image: EncodedImage,
  size: ImageSize | null,
  limits: Limits = DEFAULT_READING,
): Promise<Decoded> {
  const { bytes, name } = encodedBytes(image);
  const encoded = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes); // a copy: sharp takes no shared memory
  const kind = kindOf(encoded, name);
  const frame = kind === 'JPEG' ? jpegFrame(encoded) : null;
  const native = frame === null ? null : decodedNatively(encoded, frame, limits);
  const { damage, ...decoded } =
    native?.warnings === 0
      ? native.image
      : await orUndecodable(encoded, name, () => decodedBySharp(encoded, kind, frame, limits, native !== null));
  return {
    ...(size === null ? decoded : resizeImage(decoded, size)),
    damage: damage === null ? null : `${name} (${encoded.length} bytes) is damaged: ${damage}`,
  };
}

/** Image `index` of a source that is not raw. It must be one that is held. */
export function encodedImage(source: FileSource | EncodedSource, index: number): EncodedImage {
  if (source.kind === 'files') return source.paths[index] as string;
  const [bytes, name] = [source.images[index], source.names[index] as string];
  if (!bytes) throw new Error(`${name} is asked for, but was left in its file`);
  return { bytes, name };
}

/** Image `index` of any source, as `decodeImage` gives it. */
export async function imageAt(source: Source, index: number, size: ImageSize | null): Promise<Decoded> {
  if (source.kind !== 'raw') return decodeImage(encodedImage(source, index), size);
  const image = rawImage(source, index);
  return { ...(size === null ? image : resizeImage(image, size)), damage: null };
}

/** Reads a file, if it is one. Errors: exit 3 with its path. */
export const encodedBytes = (image: EncodedImage): { bytes: Uint8Array; name: string } =>
  typeof image === 'string' ? { bytes: readBytes(image), name: image } : image;

/** Height and width as the image's head has them. Errors: exit 3, as for `decodeImage`. */
export async function imageSize(image: EncodedImage, limits: Limits = DEFAULT_READING): Promise<ImageSize> {
  const { bytes, name } = encodedBytes(image);
  const encoded = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes);
  kindOf(encoded, name);
  const { height, width } = await orUndecodable(encoded, name, async () =>
    (await opened(encoded, limits, 'error')).metadata(),
  );
  return { height, width };
}

const opened = async (bytes: Buffer, { maxPixels }: Limits, failOn: 'warning' | 'error'): Promise<Sharp> =>
  (await loadSharp())(bytes, {
    failOn,
    limitInputPixels: maxPixels,
    ignoreIcc: true,
    autoOrient: false,
    animated: false,
  });

async function orUndecodable<T>(bytes: Buffer, name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new GqaError('data', `${name} (${bytes.length} bytes) does not decode: ${reason}`, {
      hint: 'Replace the image or take it out of the data set; data.on_bad_image: skip leaves out what cannot be read.',
      cause,
    });
  }
}

/**
 * A JPEG that libjpeg warns about is decoded again without minding, where that is wanted and the file ends as Pillow
 * wants it. `damage` is the first warning.
 * @param warned whether libjpeg has warned already: sharp does not see a warning of the last eight rows
 */
async function decodedBySharp(
  encoded: Buffer,
  kind: string,
  frame: JpegFrame | null,
  limits: Limits,
  warned: boolean,
): Promise<Decoded> {
  try {
    const image = await decodedOnce(encoded, kind, frame, limits, 'warning');
    if (!warned) return { ...image, damage: null };
    if (limits.onBadImage === 'warn') return { ...image, damage: LAST_ROWS };
    throw new Error(LAST_ROWS);
  } catch (cause) {
    const said = cause instanceof Error ? cause.message : String(cause);
    if (limits.onBadImage !== 'warn' || kind !== 'JPEG' || said.startsWith('timeout') || !endsWell(encoded))
      throw cause;
    const image = await decodedOnce(encoded, kind, frame, limits, 'error');
    return { ...image, damage: (said.split('\n')[0] ?? said).replace(/^VipsJpeg: /, '') };
  }
}

const LAST_ROWS = 'Corrupt JPEG data in the last rows';

async function decodedOnce(
  encoded: Buffer,
  kind: string,
  frame: JpegFrame | null,
  limits: Limits,
  failOn: 'warning' | 'error',
): Promise<Image> {
  const image = await opened(encoded, limits, failOn);
  if (kind !== 'JPEG') return toImage(image.removeAlpha(), limits);
  if (frame === null) throw new Error('no frame header in the JPEG');
  const { components } = frame;
  if (components === 4) return fromInks(image, limits);
  if (components !== 1 && components !== 3)
    throw new Error(`a JPEG of ${components} colour components; expected 1, 3 or 4`);
  return toImage(image, limits);
}

/**
 * The images whose work is bounded by their length, so that they need no time limit: one after the other, not
 * progressive; with the number of libjpeg's warnings. null for all others, for those cut short or not decodable, which
 * sharp then says the reason of, and where there is no native addon.
 */
function decodedNatively(
  encoded: Buffer,
  { sequential, height, width, components }: JpegFrame,
  { maxPixels }: Limits,
): { image: Decoded; warnings: number } | null {
  const pixels = height * width;
  if (!sequential || (components !== 1 && components !== 3) || pixels === 0 || pixels > maxPixels || !hasEnd(encoded))
    return null;
  const { addon } = loadImages();
  if (addon === null) return null;
  const bytes = new Uint8Array(Buffer.allocUnsafeSlow(pixels * 3).buffer);
  const warnings = addon.decodeJpeg(encoded, bytes, height, width);
  return warnings < 0 ? null : { image: { ...asImage(bytes, { height, width }), damage: null }, warnings };
}

/**
 * A CMYK or YCCK JPEG as Pillow shows it: (255 − ink) · (255 − black) / 255, the inks as libvips gives them (put right
 * where the file holds them inverted, as JPEGs do).
 */
async function fromInks(image: Sharp, limits: Limits): Promise<Image> {
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

async function toImage(image: Sharp, limits: Limits): Promise<Image> {
  const { data, info } = await image
    .toColourspace('srgb')
    .timeout(secondsOf(limits))
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const grey = info.channels < 3;
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.length);
  return {
    bytes,
    start: 0,
    height: info.height,
    width: info.width,
    pixelStride: info.channels,
    channelStride: grey ? 0 : 1,
  };
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
    hint: 'Convert or replace the image, or take it out of the data set.',
  });
}

/** @param pixels [height, width, 3] */
export async function encodePng(pixels: Uint8Array, width: number, height: number): Promise<Buffer> {
  const sharp = await loadSharp();
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}
