/** How a picture becomes the model's square: all of it, aspect ratio not kept, or its middle, as timm evaluates. */
import type { PictureSize } from '../dataset.js';
import { asPicture, interleaved, type Picture, resizePicture } from './picture.js';
import { type Interpolation, resample } from './resample.js';

export interface Fit {
  resize: 'squash' | 'crop';
  /** Crop only: part of the shorter edge that the crop has, 0 < p ≤ 1. null under squash. */
  cropPct: number | null;
  interpolation: Interpolation;
}

/** What the paper's code does. */
export const SQUASH: Fit = { resize: 'squash', cropPct: null, interpolation: 'bilinear' };

/** Is it what the device can do too, where a picture is enlarged? Everything else is the worker's. */
export const isPlain = ({ resize, interpolation }: Fit): boolean => resize === 'squash' && interpolation === 'bilinear';

/** A picture brought to exactly `size` (a square under crop). Pillow's bytes, and timm's evaluation transform's. */
export function fitPicture(picture: Picture, size: PictureSize, { resize, cropPct, interpolation }: Fit): Picture {
  if (resize === 'squash') return resizePicture(picture, size, interpolation);
  const resized = shorterEdgeTo(Math.floor(size.height / (cropPct ?? 1)), picture);
  const wanted = { ...size, top: halfOf(resized.height - size.height), left: halfOf(resized.width - size.width) };
  const bytes = new Uint8Array(size.height * size.width * 3);
  resample(interleaved(picture), picture, bytes, resized, interpolation, wanted);
  return asPicture(bytes, size);
}

/** The size to which torchvision's Resize(edge) brings a picture: the longer edge is cut to a whole number. */
function shorterEdgeTo(edge: number, { height, width }: PictureSize): PictureSize {
  return width <= height
    ? { width: edge, height: Math.trunc((edge * height) / width) }
    : { height: edge, width: Math.trunc((edge * width) / height) };
}

/** Python's int(round(n / 2)), as in torchvision's CenterCrop: a half goes to the even neighbour. */
const halfOf = (n: number): number => (n % 4 === 3 ? (n + 1) / 2 : Math.floor(n / 2));
