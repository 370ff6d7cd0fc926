/** An image: where its pixels lie, and what is done with all of them: copied, moved, resized. */
import type { ImageSize, RawSource } from '../dataset.js';
import { type Interpolation, resample } from './resample.js';

/**
 * One image among bytes: sample (row, column, channel) lies at start + (row · width + column) · pixelStride + channel ·
 * channelStride.
 */
export interface Image {
  bytes: Uint8Array;
  start: number;
  height: number;
  width: number;
  pixelStride: number;
  /** 0 for grey: the three channels read the same byte. */
  channelStride: number;
}

/** An image from a file. */
export interface Decoded extends Image {
  /** Which image is damaged and how, where it was decoded as far as it goes; null: nothing was amiss. */
  damage: string | null;
}

/** How an image is moved: it is shifted by whole pixels (what comes in from outside is black), then mirrored. */
export interface Placement {
  mirror: boolean;
  /** Row of the image that becomes row 0: −pad … +pad. */
  top: number;
  left: number;
}

export const unmoved: Placement = { mirror: false, top: 0, left: 0 };

/**
 * Writes the placed image as [height, width, 3] bytes at `offset` of `out`; pixels that come in from outside are left
 * as they are there.
 */
export function placeImage(image: Image, { mirror, top, left }: Placement, out: Uint8Array, offset: number): void {
  const { bytes, start, height, width, pixelStride, channelStride } = image;
  const firstRow = Math.max(0, -top);
  const lastRow = Math.min(height, height - top);
  const firstColumn = Math.max(0, -left);
  const lastColumn = Math.min(width, width - left);
  const step = mirror ? -3 : 3;
  for (let row = firstRow; row < lastRow; row++) {
    let from = start + ((row + top) * width + firstColumn + left) * pixelStride;
    let to = offset + (row * width + (mirror ? width - 1 - firstColumn : firstColumn)) * 3;
    for (let column = firstColumn; column < lastColumn; column++) {
      out[to] = bytes[from]!;
      out[to + 1] = bytes[from + channelStride]!;
      out[to + 2] = bytes[from + 2 * channelStride]!;
      from += pixelStride;
      to += step;
    }
  }
}

/** An image brought to exactly `size`, aspect ratio not kept: antialiased where it shrinks, Pillow's to the byte. */
export function resizeImage(image: Image, size: ImageSize, interpolation: Interpolation = 'bilinear'): Image {
  if (image.height === size.height && image.width === size.width) return image;
  const bytes = new Uint8Array(size.height * size.width * 3);
  resample(interleaved(image), image, bytes, size, interpolation);
  return asImage(bytes, size);
}

export const asImage = (bytes: Uint8Array, { height, width }: ImageSize): Image => ({
  bytes,
  start: 0,
  height,
  width,
  pixelStride: 3,
  channelStride: 1,
});

/** [height, width, 3] bytes of an image: its own memory where it lies so already. */
export function interleaved(image: Image): Uint8Array {
  const { bytes, start, height, width, pixelStride, channelStride } = image;
  const size = height * width * 3;
  if (pixelStride === 3 && channelStride === 1) return bytes.subarray(start, start + size);
  const pixels = new Uint8Array(size);
  placeImage(image, unmoved, pixels, 0);
  return pixels;
}

/** Where image `index` lies among the bytes of its source. */
export function rawImage({ height, width, channels, layout, pixels }: RawSource, index: number): Image {
  const plane = height * width;
  return {
    bytes: pixels,
    start: index * plane * channels,
    height,
    width,
    pixelStride: layout === 'hwc' ? channels : 1,
    channelStride: channels === 1 ? 0 : layout === 'hwc' ? 1 : plane,
  };
}
