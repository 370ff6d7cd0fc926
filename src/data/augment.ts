/**
 * Where each pixel of a training picture comes from: the preset `light` (a horizontal flip and a padded crop, as is usual for CIFAR), and the copy that carries it out.
 * The preset `paper` is randaugment.ts.
 */
import type { Draws } from '../random.js';

export type Augment = 'none' | 'light' | 'paper';

/** How a picture is moved: it is shifted by whole pixels (what comes in from outside is black), then mirrored. */
export interface Placement {
  mirror: boolean;
  /** Row of the picture that becomes row 0: −pad … +pad. */
  top: number;
  left: number;
}

export const unmoved: Placement = { mirror: false, top: 0, left: 0 };

/** Draws, in this order: the flip (p = 0.5), the row, the column of a crop of the picture's own size from the picture padded by size / 8 (32 pixels: 4; 28: 4). */
export function lightPlacement(from: Draws, height: number, width: number): Placement {
  const mirror = from.uniform() < 0.5;
  const padRows = Math.round(height / 8);
  const padColumns = Math.round(width / 8);
  return { mirror, top: from.below(2 * padRows + 1) - padRows, left: from.below(2 * padColumns + 1) - padColumns };
}

/** One picture among bytes: sample (row, column, channel) lies at start + (row · width + column) · pixelStride + channel · channelStride. */
export interface Picture {
  bytes: Uint8Array;
  start: number;
  height: number;
  width: number;
  pixelStride: number;
  /** 0 for grey: the three channels read the same byte. */
  channelStride: number;
}

/** Writes the placed picture as [height, width, 3] bytes at `offset` of `out`; pixels that come in from outside are left as they are there. */
export function placePicture(picture: Picture, { mirror, top, left }: Placement, out: Uint8Array, offset: number): void {
  const { bytes, start, height, width, pixelStride, channelStride } = picture;
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
