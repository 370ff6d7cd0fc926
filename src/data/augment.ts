/**
 * Where each pixel of a training picture comes from: the preset `light` (a horizontal flip and a padded crop, as is usual for CIFAR), and the copy that carries it out.
 * The draws belong to (seed, epoch, index of the picture in its split), so that order, batch size and workers do not matter.
 */
import { draws } from '../random.js';

export type Augment = 'none' | 'light';

/** How a picture is moved: it is shifted by whole pixels (what comes in from outside is black), then mirrored. */
export interface Placement {
  mirror: boolean;
  /** Row of the picture that becomes row 0: −pad … +pad. */
  top: number;
  left: number;
}

export const unmoved: Placement = { mirror: false, top: 0, left: 0 };

/**
 * The placement of one picture in one epoch.
 * `light` draws, in this order: the flip (p = 0.5), the row, the column of a crop of the picture's own size from the picture padded by size / 8 (32 pixels: 4; 28: 4).
 */
export function placement(augment: Augment, height: number, width: number, seed: number, epoch: number, index: number): Placement {
  return PRESETS[augment](height, width, seed, epoch, index);
}

const PRESETS: Record<Augment, (height: number, width: number, seed: number, epoch: number, index: number) => Placement> = {
  none: () => unmoved,
  light: (height, width, seed, epoch, index) => {
    const from = draws(seed, 'augment', epoch, index);
    const mirror = from.uniform() < 0.5;
    const padRows = Math.round(height / 8);
    const padColumns = Math.round(width / 8);
    return { mirror, top: from.below(2 * padRows + 1) - padRows, left: from.below(2 * padColumns + 1) - padColumns };
  },
};

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

/** Writes the placed picture as [height, width, 3] bytes at `offset` of `out`, which holds zeros there. */
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
