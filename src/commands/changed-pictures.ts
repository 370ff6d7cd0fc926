/** Small pictures of test images for a report, where the data set is still at its place. */

import path from 'node:path';
import { loadConfig } from '../config/load.js';
import { preprocessingOf } from '../config/preprocessing.js';
import { imageName } from '../data/dataset.js';
import { encodePng } from '../data/images/decode.js';
import { bytesOfMean } from '../data/images/erase.js';
import { previewGrid } from '../data/inspect/preview.js';
import { openDataset } from '../data/open.js';
import { GqaError } from '../errors.js';

/** Largest side, in pixels; smaller images are shown larger. */
const SIDE = 64;

/**
 * @param run one whose config names the data set
 * @param names of test images, as predictions.csv has them
 * @returns PNG as a data URI by name; without those that are not there, or cannot be read
 */
export async function picturesOf(run: string, names: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const pictures = new Map<string, string>();
  try {
    const { data, seed } = loadConfig(path.join(run, 'config.yaml'), []);
    const { test } = await openDataset(data, (split) => (split === 'test' ? null : new Int32Array()));
    if (test === null) return pictures;
    const wanted = new Set(names);
    const { source } = test;
    const { height, width } = source.kind === 'raw' ? source : (source.size ?? { height: SIDE, width: SIDE });
    const options = {
      ...{ height: Math.min(SIDE, height), width: Math.min(SIDE, width), seed, fit: preprocessingOf(data) },
      ...{ augment: data.augment, randomErasing: 0, erasedTo: bytesOfMean(preprocessingOf(data).mean) },
    };
    for (const index of test.labels.keys()) {
      const name = imageName(test, index);
      if (!wanted.has(name)) continue;
      const { pixels, ...grid } = await previewGrid(test, Int32Array.of(index), 1, options, data);
      const png = await encodePng(pixels, grid.width, grid.height);
      pictures.set(name, `data:image/png;base64,${png.toString('base64')}`);
    }
  } catch (error) {
    if (!(error instanceof GqaError)) throw error; // moved or damaged data: the report is made without
  }
  return pictures;
}
