/**
 * Random erasing as timm has it (mode const, one box): with some probability a box is replaced by the mean that is
 * subtracted, so that it is 0 (to half a byte) once normalised. Zhong et al. 2017, "Random Erasing Data Augmentation"
 * (1708.04896). Images that are enlarged on the device are erased before that.
 */
import type { Draws } from '../../random.js';
import type { ImageSize } from '../dataset.js';

/** Part of the image's area that the box has. */
const AREA = { lowest: 0.02, highest: 1 / 3 };
/** Height to width, drawn evenly in its logarithm; the highest is 1 / this. */
const LOWEST_ASPECT = 0.3;
const ATTEMPTS = 10;
/** The bytes nearest to the means of 0.5 that are subtracted. */
const HALVES = [128, 128, 128] as const;

/** The bytes nearest to the means, 0 to 1, of red, green and blue. */
export const bytesOfMean = (mean: readonly number[]): number[] => mean.map((value) => Math.round(value * 255));

/**
 * Draws, for the image: whether; for each attempt: area, aspect; for the box that fits: row, column. Changes `pixels`
 * ([height, width, 3] bytes) in place.
 * @param to [red, green, blue]
 */
export function erase(
  pixels: Uint8Array,
  { height, width }: ImageSize,
  probability: number,
  from: Draws,
  to: readonly number[] = HALVES,
): void {
  if (from.uniform() >= probability) return;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const area = (AREA.lowest + from.uniform() * (AREA.highest - AREA.lowest)) * height * width;
    const aspect = Math.exp((2 * from.uniform() - 1) * -Math.log(LOWEST_ASPECT));
    const [rows, columns] = [Math.round(Math.sqrt(area * aspect)), Math.round(Math.sqrt(area / aspect))];
    if (rows >= height || columns >= width) continue;
    const [top, left] = [from.below(height - rows + 1), from.below(width - columns + 1)];
    const first = (top * width + left) * 3;
    for (let at = 0; at < columns * 3; at++) pixels[first + at] = to[at % 3] as number;
    for (let row = 1; row < rows; row++) pixels.copyWithin(first + row * width * 3, first, first + columns * 3);
    return;
  }
}
