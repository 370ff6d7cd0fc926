/**
 * Random erasing as timm has it (mode const, one box): with some probability a box is replaced by the middle of the value range, which is 0 once normalised.
 * Zhong et al. 2017, "Random Erasing Data Augmentation" (1708.04896). Pictures that are enlarged on the device are erased before that.
 */
import type { Draws } from '../../random.js';
import type { PictureSize } from '../dataset.js';

/** Part of the picture's area that the box has. */
const AREA = { lowest: 0.02, highest: 1 / 3 };
/** Height to width, drawn evenly in its logarithm; the highest is 1 / this. */
const LOWEST_ASPECT = 0.3;
const ATTEMPTS = 10;
/** The byte nearest to 127.5, the mean that is subtracted. */
const MEAN = 128;

/** Draws, for the picture: whether; for each attempt: area, aspect; for the box that fits: row, column. Changes `pixels` ([height, width, 3] bytes) in place. */
export function erase(pixels: Uint8Array, { height, width }: PictureSize, probability: number, from: Draws): void {
  if (from.uniform() >= probability) return;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const area = (AREA.lowest + from.uniform() * (AREA.highest - AREA.lowest)) * height * width;
    const aspect = Math.exp((2 * from.uniform() - 1) * -Math.log(LOWEST_ASPECT));
    const [rows, columns] = [Math.round(Math.sqrt(area * aspect)), Math.round(Math.sqrt(area / aspect))];
    if (rows >= height || columns >= width) continue;
    const [top, left] = [from.below(height - rows + 1), from.below(width - columns + 1)];
    for (let row = top; row < top + rows; row++) pixels.fill(MEAN, (row * width + left) * 3, (row * width + left + columns) * 3);
    return;
  }
}
