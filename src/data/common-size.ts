/** Whether the images of a data set have one size: then they may cross to the device at that size. */
import { type Evaluable, type ImageSize, type Source, type Split, splitsOf } from './dataset.js';
import { type EncodedImage, encodedImage, imageSize } from './images/decode.js';
import type { Reading } from './reading.js';

/** Images of a split that are looked at, spread evenly over it. */
const SAMPLE = 64;

/** Indices of those images, ascending. @param count images of the split */
export function sampled(count: number): number[] {
  const looked = Math.min(SAMPLE, count);
  return Array.from({ length: looked }, (_, i) => Math.floor((i * count) / looked));
}

/**
 * Looks at the heads of some images of every split, where the reader does not know their size; when all have one,
 * `source.size` tells it. An image that was not looked at and is of another size is brought to that size by the worker
 * (as Pillow would), before the device enlarges it with the others. Errors: exit 3 for an image that cannot be read,
 * unless it is to be skipped.
 */
export async function withCommonSize<T extends Evaluable>(dataset: T, reading: Reading): Promise<T> {
  const splits = splitsOf(dataset);
  if (!splits.every(({ source }) => source.kind !== 'raw' && source.size === undefined)) return dataset;
  const size = await commonSize(
    splits.flatMap(({ source }) => sample(source)),
    reading,
  );
  if (size === undefined) return dataset;
  const sized = <S extends Split | null>(split: S): S =>
    split === null ? split : { ...split, source: { ...split.source, size } };
  return { ...dataset, train: sized(dataset.train), val: sized(dataset.val), test: sized(dataset.test) };
}

const sample = (source: Source): EncodedImage[] =>
  source.kind === 'raw'
    ? []
    : sampled(source.kind === 'files' ? source.paths.length : source.images.length).map((index) =>
        encodedImage(source, index),
      );

async function commonSize(images: EncodedImage[], reading: Reading): Promise<ImageSize | undefined> {
  let common: ImageSize | undefined;
  for (const image of images) {
    const size = await imageSize(image, reading).catch((error: unknown) => {
      if (reading.onBadImage !== 'skip') throw error;
      return common;
    });
    if (size === undefined) continue;
    common ??= size;
    if (size.height !== common.height || size.width !== common.width) return undefined;
  }
  return common;
}
