/** Whether the pictures of a data set of files have one size: then they may cross to the device at that size. */
import type { Dataset, FileSource } from './dataset.js';
import { pictureSize } from './decode.js';
import type { Size } from './randaugment.js';
import type { Reading } from './reading.js';

/** Pictures of a split that are looked at, spread evenly over it. */
const SAMPLE = 64;

/**
 * Looks at the heads of some pictures of both splits; when all have one size, `source.size` tells it. A picture that was not looked at and is of another size is brought to
 * that size by the worker (as Pillow would), before the device enlarges it with the others.
 * Errors: exit 3 for a picture that cannot be read, unless it is to be skipped.
 */
export async function withCommonSize(dataset: Dataset, reading: Reading): Promise<Dataset> {
  const { train, test } = dataset;
  if (train.source.kind !== 'files' || test.source.kind !== 'files') return dataset;
  const size = await commonSize([...sample(train.source), ...sample(test.source)], reading);
  return {
    ...dataset,
    train: { ...train, source: { ...train.source, size } },
    test: { ...test, source: { ...test.source, size } },
  };
}

function sample({ paths }: FileSource): string[] {
  const count = Math.min(SAMPLE, paths.length);
  return Array.from({ length: count }, (_, i) => paths[Math.floor((i * paths.length) / count)] as string);
}

async function commonSize(paths: string[], reading: Reading): Promise<Size | null> {
  let common: Size | null = null;
  for (const path of paths) {
    const size = await pictureSize(path, reading).catch((error: unknown) => {
      if (reading.onBadImage === 'error') throw error;
      return common;
    });
    if (size === null) continue;
    common ??= size;
    if (size.height !== common.height || size.width !== common.width) return null;
  }
  return common;
}
