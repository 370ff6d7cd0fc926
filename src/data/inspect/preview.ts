/**
 * An image of what augmentation does: a row an example, as it is in the first column and as epochs 1, 2, … augment it
 * in the others.
 */
import { setImmediate } from 'node:timers/promises';
import { partOf, type Split } from '../dataset.js';
import { type BatchOptions, makeBatch, type Pass } from '../pipeline/preprocess.js';
import type { Reading } from '../reading.js';

/** Space around each image, in pixels. */
const GAP = 2;
/** Smaller images are shown larger, each pixel as a square. */
const SMALLEST_SHOWN = 96;

export interface Grid {
  /** [height, width, 3] */
  pixels: Uint8Array;
  height: number;
  width: number;
}

/**
 * @param indices one row each, in the split
 * @param columns the original and columns − 1 epochs
 * @param options what training would use
 * Errors: exit 3 for an image that cannot be read
 */
export async function previewGrid(
  split: Split,
  indices: Int32Array,
  columns: number,
  options: Omit<BatchOptions, 'batchSize' | 'epoch'>,
  reading: Reading,
): Promise<Grid> {
  const { height, width } = options;
  const zoom = Math.max(1, Math.ceil(SMALLEST_SHOWN / Math.min(height, width)));
  const [cellHeight, cellWidth] = [height * zoom + GAP, width * zoom + GAP];
  const grid: Grid = {
    height: indices.length * cellHeight + GAP,
    width: columns * cellWidth + GAP,
    pixels: new Uint8Array(0),
  };
  grid.pixels = new Uint8Array(grid.height * grid.width * 3).fill(255);
  const part = partOf(split.source, indices);
  const job = { indices, encoded: part.kind === 'raw' ? null : part };
  const batch = new Uint8Array(indices.length * height * width * 3);
  for (let column = 0; column < columns; column++) {
    const pass: Pass = {
      ...options,
      batchSize: indices.length,
      epoch: column === 0 ? null : column,
      raw: split.source.kind === 'raw' ? split.source : null,
      reading: { ...reading, onBadImage: reading.onBadImage === 'skip' ? 'error' : reading.onBadImage },
      cache: null,
    };
    await makeBatch(pass, job, batch);
    await setImmediate(); // lets signals in
    for (let row = 0; row < indices.length; row++) {
      const image = batch.subarray(row * height * width * 3, (row + 1) * height * width * 3);
      draw(grid, image, { height, width }, zoom, GAP + row * cellHeight, GAP + column * cellWidth);
    }
  }
  return grid;
}

function draw(
  { pixels, width: gridWidth }: Grid,
  image: Uint8Array,
  size: { height: number; width: number },
  zoom: number,
  top: number,
  left: number,
): void {
  for (let y = 0; y < size.height * zoom; y++) {
    const row = Math.floor(y / zoom) * size.width;
    for (let x = 0; x < size.width * zoom; x++) {
      const from = (row + Math.floor(x / zoom)) * 3;
      const to = ((top + y) * gridWidth + left + x) * 3;
      for (let channel = 0; channel < 3; channel++) pixels[to + channel] = image[from + channel] as number;
    }
  }
}
