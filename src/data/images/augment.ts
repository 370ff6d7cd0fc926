/**
 * The preset `light`: a horizontal flip and a padded crop, as is usual for CIFAR. The preset `paper` is randaugment.ts.
 */
import type { Draws } from '../../random.js';
import type { Placement } from './image.js';

export type Augment = 'none' | 'light' | 'paper';

/**
 * Draws, in this order: the flip (p = 0.5), the row, the column of a crop of the image's own size from the image padded
 * by size / 8 (32 pixels: 4; 28: 4).
 */
export function lightPlacement(from: Draws, height: number, width: number): Placement {
  const mirror = from.uniform() < 0.5;
  const padRows = Math.round(height / 8);
  const padColumns = Math.round(width / 8);
  return { mirror, top: from.below(2 * padRows + 1) - padRows, left: from.below(2 * padColumns + 1) - padColumns };
}
