/** How an image becomes the model's square: all of it, aspect ratio not kept, or its middle, as timm evaluates. */
import type { ImageSize } from '../dataset.js';
import { asImage, type Image, interleaved, resizeImage } from './image.js';
import { type Interpolation, resample } from './resample.js';

export interface Fit {
  resize: 'squash' | 'crop';
  /** Crop only: part of the shorter edge that the crop has, 0 < p ≤ 1. null under squash. */
  cropPct: number | null;
  interpolation: Interpolation;
}

/** What the paper's code does. */
export const SQUASH: Fit = { resize: 'squash', cropPct: null, interpolation: 'bilinear' };

/** Is it what the device can do too, where an image is enlarged? Everything else is the worker's. */
export const isPlain = ({ resize, interpolation }: Fit): boolean => resize === 'squash' && interpolation === 'bilinear';

/** An image brought to exactly `size` (a square under crop). Pillow's bytes, and timm's evaluation transform's. */
export function fitImage(image: Image, size: ImageSize, { resize, cropPct, interpolation }: Fit): Image {
  if (resize === 'squash') return resizeImage(image, size, interpolation);
  const resized = shorterEdgeTo(Math.floor(size.height / (cropPct ?? 1)), image);
  const wanted = { ...size, top: halfOf(resized.height - size.height), left: halfOf(resized.width - size.width) };
  const bytes = new Uint8Array(size.height * size.width * 3);
  resample(interleaved(image), image, bytes, resized, interpolation, wanted);
  return asImage(bytes, size);
}

/** The size to which torchvision's Resize(edge) brings an image: the longer edge is cut to a whole number. */
function shorterEdgeTo(edge: number, { height, width }: ImageSize): ImageSize {
  return width <= height
    ? { width: edge, height: Math.trunc((edge * height) / width) }
    : { height: edge, width: Math.trunc((edge * width) / height) };
}

/** Python's int(round(n / 2)), as in torchvision's CenterCrop: a half goes to the even neighbour. */
const halfOf = (n: number): number => (n % 4 === 3 ? (n + 1) / 2 : Math.floor(n / 2));
