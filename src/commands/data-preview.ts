/** `gqa data preview`: a PNG of training pictures beside what augmentation makes of them. */
import { readConfig } from '../config/load.js';
import { preprocessingOf } from '../config/preprocessing.js';
import { withCommonSize } from '../data/common-size.js';
import { previewGrid } from '../data/inspect/preview.js';
import { openDataset } from '../data/open.js';
import { encodePng } from '../data/pictures/decode.js';
import { bytesOfMean } from '../data/pictures/erase.js';
import { inputSize } from '../data/pipeline/pipeline.js';
import { takeStratified } from '../data/subset.js';
import { writeFileAtomic } from '../run/atomic.js';
import { withPreprocessing } from './pictures.js';
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
  const { config: read, notices } = readConfig(file, set);
  notices.forEach(say);
  const config = withPreprocessing(read);
  const { data, model, seed } = config;
  const { train } = await withCommonSize(await openDataset(data), data);
  const indices = takeStratified(train.labels, rows, seed, 'preview');
  const fit = preprocessingOf(data);
  const size = inputSize(train.source, model.imageSize, fit);
  const options = { ...size, fit, seed, augment: data.augment, randomErasing: data.randomErasing, erasedTo: bytesOfMean(fit.mean) };
  const grid = await previewGrid(train, indices, columns, options, data);
  writeFileAtomic(out, await encodePng(grid.pixels, grid.width, grid.height));
  const about = { file: out, pictures: indices.length, columns, augment: data.augment, crosses_at: `${size.height}x${size.width}` };
  process.stdout.write(
    json
      ? `${JSON.stringify(about)}\n`
      : `${out}: ${indices.length} training pictures as they are, then as augment: ${data.augment} makes them in epochs 1 to ${columns - 1}\n`,
  );
}
