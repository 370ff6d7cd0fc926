/** Whether the pictures of a data set have one size: then they may cross to the device at that size. */
import type { Dataset, PictureSize, Source } from './dataset.js';
import { type EncodedPicture, encodedPicture, pictureSize } from './pictures/decode.js';
import type { Reading } from './reading.js';

/** Pictures of a split that are looked at, spread evenly over it. */
const SAMPLE = 64;

/**
 * Looks at the heads of some pictures of both splits, where the reader does not know their size; when all have one, `source.size` tells it. A picture that was not looked at and is of
 * another size is brought to that size by the worker (as Pillow would), before the device enlarges it with the others.
 * Errors: exit 3 for a picture that cannot be read, unless it is to be skipped.
 */
export async function withCommonSize(dataset: Dataset, reading: Reading): Promise<Dataset> {
  const { train, test } = dataset;
  const unknown = ({ source }: Dataset['train']): boolean => source.kind !== 'raw' && source.size === undefined;
  if (!unknown(train) || !unknown(test)) return dataset;
  const size = await commonSize([...sample(train.source), ...sample(test.source)], reading);
  if (size === undefined) return dataset;
  return {
    ...dataset,
    train: { ...train, source: { ...train.source, size } as Source },
    test: { ...test, source: { ...test.source, size } as Source },
  };
}

function sample(source: Source): EncodedPicture[] {
  if (source.kind === 'raw') return [];
  const all = source.kind === 'files' ? source.paths.length : source.pictures.length;
  const looked = Math.min(SAMPLE, all);
  return Array.from({ length: looked }, (_, i) => encodedPicture(source, Math.floor((i * all) / looked)));
}

async function commonSize(pictures: EncodedPicture[], reading: Reading): Promise<PictureSize | undefined> {
  let common: PictureSize | undefined;
  for (const picture of pictures) {
    const size = await pictureSize(picture, reading).catch((error: unknown) => {
      if (reading.onBadImage !== 'skip') throw error;
      return common;
    });
    if (size === undefined) continue;
    common ??= size;
    if (size.height !== common.height || size.width !== common.width) return undefined;
  }
  return common;
}
