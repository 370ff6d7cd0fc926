/** `gqa data preview`: a PNG of training images beside what augmentation makes of them. */
import { requireEffect } from '../config/idle.js';
import { preprocessingOf } from '../config/preprocessing.js';
import { counted } from '../counted.js';
import { encodePng } from '../data/images/decode.js';
import { bytesOfMean } from '../data/images/erase.js';
import { previewGrid } from '../data/inspect/preview.js';
import { openDataset } from '../data/open.js';
import { inputSize } from '../data/pipeline/pipeline.js';
import { takeStratified } from '../data/subset.js';
import { takeOfTraining } from '../data/take.js';
import { checkFile, writeFileAtomic } from '../files/atomic.js';
import { withPreprocessing } from './images.js';
import { requirePaths } from './require-paths.js';
import { say } from './say.js';
import { readConfigAndWeights } from './weights.js';

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
  const read = await readConfigAndWeights(file, set);
  [...read.notices, ...requireEffect(file, [read], 'data preview')].forEach(say);
  await requirePaths(file, read, ['data.root']);
  checkFile(out);
  const config = withPreprocessing(read.config);
  const { data, model, seed } = config;
  const take = (labels: Int32Array): Int32Array => takeStratified(labels, rows, seed, 'preview');
  const { train, notices: found } = await openDataset(data, takeOfTraining(take), data);
  found.forEach(say);
  const indices = take(train.labels);
  const fit = preprocessingOf(data);
  const size = inputSize(train.source, model.imageSize, fit);
  const options = {
    ...size,
    fit,
    seed,
    augment: data.augment,
    randomErasing: data.randomErasing,
    erasedTo: bytesOfMean(fit.mean),
  };
  const grid = await previewGrid(train, indices, columns, options, data);
  writeFileAtomic(out, await encodePng(grid.pixels, grid.width, grid.height));
  const about = {
    file: out,
    images: indices.length,
    columns,
    augment: data.augment,
    crosses_at: `${size.height}x${size.width}`,
  };
  process.stdout.write(
    json
      ? `${JSON.stringify(about)}\n`
      : `${out}: ${counted(indices.length, 'training image')} ${indices.length === 1 ? 'as it is' : 'as they are'}, then as augment: ${data.augment} makes ${indices.length === 1 ? 'it' : 'them'} in ${columns === 2 ? 'epoch 1' : `epochs 1 to ${columns - 1}`}\n`,
  );
}
