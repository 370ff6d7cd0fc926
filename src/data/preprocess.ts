/** From a split's source to the bytes of one batch: read or decode, resize, place. Runs alike on the main thread and in workers. */
import { type Augment, type Picture, placement, placePicture, unmoved } from './augment.js';
import type { RawSource, Source } from './dataset.js';
import { decodePicture, resizePicture } from './decode.js';

/** How a split becomes batches. */
export interface BatchOptions {
  batchSize: number;
  /** Size at which pictures cross to the device, in pixels. */
  height: number;
  width: number;
  seed: number;
  /** Which shuffle and which augmentation draws; null: in the given order and unaugmented, as in evaluation. */
  epoch: number | null;
  augment: Augment;
}

/** All that one batch needs; crosses to a worker as a message (raw pixels are shared, paths are those of the batch alone). */
export interface BatchJob extends BatchOptions {
  /** `partOf` the split's: of this batch's pictures. */
  source: Source;
  /** Indices in the split: what augmentation draws belong to. At most batchSize. */
  indices: Int32Array;
}

/**
 * @param onPicture told the position in the batch before each picture; returning false abandons the batch
 * @returns [batchSize, height, width, 3] bytes; rows beyond the indices are 0
 */
export async function preprocessBatch(
  job: BatchJob,
  onPicture: (position: number) => boolean = () => true,
): Promise<Uint8Array<ArrayBuffer>> {
  const { indices, batchSize, height, width, seed, epoch, augment } = job;
  const pictureBytes = height * width * 3;
  const pixels = new Uint8Array(batchSize * pictureBytes);
  for (const [position, index] of indices.entries()) {
    if (!onPicture(position)) break;
    const picture = await readPicture(job, position, index);
    const placed = epoch === null ? unmoved : placement(augment, height, width, seed, epoch, index);
    placePicture(picture, placed, pixels, position * pictureBytes);
  }
  return pixels;
}

/** One picture of the job's height and width. */
function readPicture({ source, height, width }: BatchJob, position: number, index: number): Picture | Promise<Picture> {
  if (source.kind === 'files') return decodePicture(source.paths[position] ?? '', { height, width });
  if (source.kind === 'encoded') {
    return decodePicture({ bytes: source.pictures[position]!, name: source.names[position] ?? '' }, { height, width });
  }
  const picture = rawPicture(source, index);
  return source.height === height && source.width === width ? picture : resizePicture(picture, { height, width });
}

/** Where picture `index` lies among the bytes of its source. */
export function rawPicture({ height, width, channels, layout, pixels }: RawSource, index: number): Picture {
  const plane = height * width;
  return {
    bytes: pixels,
    start: index * plane * channels,
    height,
    width,
    pixelStride: layout === 'hwc' ? channels : 1,
    channelStride: channels === 1 ? 0 : layout === 'hwc' ? 1 : plane,
  };
}
