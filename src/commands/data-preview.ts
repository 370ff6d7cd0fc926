/** `gqa data preview`: a PNG of training pictures beside what augmentation makes of them. */

import { readConfig } from '../config/load.js';
import { counted } from '../counted.js';
import { withCommonSize } from '../data/common-size.js';
import { previewGrid } from '../data/inspect/preview.js';
import { openDataset } from '../data/open.js';
import { encodePng } from '../data/pictures/decode.js';
import { inputSize } from '../data/pipeline/pipeline.js';
import { takeStratified } from '../data/subset.js';
import { checkFile, writeFileAtomic } from '../run/atomic.js';
import { say } from './say.js';

export interface DataPreviewOptions {
  config: string;
  set: string[];
  out: string;
  /** Examples. */
  rows: number;
  /** The original and columns − 1 epochs. */
  columns: number;
  json: boolean;
}

/** Errors: exit 2 for the config, 3 for the data, 5 when the file cannot be written. */
export async function dataPreview({ config: file, set, out, rows, columns, json }: DataPreviewOptions): Promise<void> {
  const { config, notices } = readConfig(file, set);
  notices.forEach(say);
  checkFile(out);
  const { data, model, seed } = config;
  const { train } = await withCommonSize(await openDataset(data), data);
  const indices = takeStratified(train.labels, rows, seed, 'preview');
  const size = inputSize(train.source, model.imageSize);
  const options = { ...size, seed, augment: data.augment, randomErasing: data.randomErasing };
  const grid = await previewGrid(train, indices, columns, options, data);
  writeFileAtomic(out, await encodePng(grid.pixels, grid.width, grid.height));
  const about = { file: out, pictures: indices.length, columns, augment: data.augment, crosses_at: `${size.height}x${size.width}` };
  process.stdout.write(
    json
      ? `${JSON.stringify(about)}\n`
      : `${out}: ${counted(indices.length, 'training picture')} ${indices.length === 1 ? 'as it is' : 'as they are'}, then as augment: ${data.augment} makes ${indices.length === 1 ? 'it' : 'them'} in ${columns === 2 ? 'epoch 1' : `epochs 1 to ${columns - 1}`}\n`,
  );
}
