/**
 * What a reader yields: labels, class names and where the pixels are. Plain data, so that it crosses to worker threads
 * as it is.
 */

/**
 * All images of a split in memory, of one size, as bytes. `pixels` lies in shared memory: workers read it without a
 * copy.
 */
export interface RawSource {
  kind: 'raw';
  height: number;
  width: number;
  /** 1 for grey images; they become three equal channels when read. */
  channels: 1 | 3;
  /** `hwc`: interleaved; `chw`: planes, as in CIFAR's binary files. */
  layout: 'hwc' | 'chw';
  pixels: Uint8Array<SharedArrayBuffer>;
}

/** In pixels. */
export interface ImageSize {
  height: number;
  width: number;
}

/** Encoded image files (JPEG, PNG, WebP), decoded and resized when a batch is made. */
export interface FileSource {
  kind: 'files';
  /** Absolute paths, one for each label. */
  paths: string[];
  /** The size of every image, where the data set has one (common-size.ts finds it for folders of any images). */
  size?: ImageSize | undefined;
}

/** Encoded images in memory, e.g. out of a parquet file; otherwise as files. */
export interface EncodedSource {
  kind: 'encoded';
  /**
   * One for each label: views into shared memory, which workers read without a copy. null: left in its file, since it
   * takes no part (`Take`).
   */
  images: (Uint8Array<SharedArrayBuffer> | null)[];
  /** What messages call each: the file that held it, and its row. */
  names: string[];
  /** The size of every image, where the data set has one. */
  size?: ImageSize | undefined;
}

export type Source = RawSource | FileSource | EncodedSource;

/**
 * What a worker needs of a source for some of its images: raw pixels are shared whole, the others come in the order of
 * `indices`.
 */
export function partOf(source: Source, indices: Int32Array): Source {
  const pick = <T>(items: readonly T[]): T[] => Array.from(indices, (index) => items[index] as T);
  if (source.kind === 'files') return { ...source, paths: pick(source.paths) };
  return source.kind === 'encoded' ? { ...source, images: pick(source.images), names: pick(source.names) } : source;
}

/** `val`: the validation part, of data sets that bring one. */
export const SPLIT_NAMES = ['train', 'val', 'test'] as const;
export type SplitName = (typeof SPLIT_NAMES)[number];

export interface Split {
  name: SplitName;
  /** Class index of every image, 0 … classes − 1. */
  labels: Int32Array;
  source: Source;
}

/** What messages and tables call an image: its file, or its split and place. */
export const imageName = ({ name, source }: Split, index: number): string =>
  (source.kind === 'files' ? source.paths[index] : source.kind === 'encoded' ? source.names[index] : undefined) ??
  `${name}[${index}]`;

/** A split of image files. @param size of every image, where the data set has one */
export function filesSplit(
  name: Split['name'],
  images: readonly { path: string; label: number }[],
  size?: ImageSize,
): Split {
  const labels = Int32Array.from(images, ({ label }) => label);
  return { name, labels, source: { kind: 'files', paths: images.map(({ path }) => path), size } };
}

export interface Dataset {
  name: string;
  /**
   * The folder that was read, absolute: what a run records and a command tells, since the same name can lie in several
   * places.
   */
  from: string;
  /** Class names in the order of their indices, as the official files give them. */
  classes: string[];
  train: Split;
  /** null: none is brought, so that protocol `validation` takes it from the training split. */
  val: Split | null;
  /** null: there is none, so that nothing can be said of a test. */
  test: Split | null;
  /**
   * What a user should know of how it was read, a line each: folders that take no part, an order that is not the
   * file's.
   */
  notices: string[];
}

/** A data set as published, with both splits. */
export type Published = Dataset & { val: null; test: Split };

/** What an evaluation can be made with: the training split may be missing too. */
export type Evaluable = Omit<Dataset, 'train'> & { train: Split | null };

/**
 * Which images of a split will be asked for, for data sets that are held in memory as they were encoded; null: all.
 * @param labels class of every image. @returns sorted indices
 */
export type Take = (split: SplitName, labels: Int32Array) => Int32Array | null;

/** The splits that there are. */
export const splitsOf = ({ train, val, test }: Evaluable): Split[] =>
  [train, val, test].filter((split) => split !== null);

/**
 * A batch as it crosses to the device: bytes, not floats. A short last batch is padded with zero-weight images, and
 * images that could not be read have weight zero. `pixels` is memory that is used again: it holds this batch until the
 * next one is asked for.
 */
export interface Batch {
  /** [B, height, width, 3] RGB, 0–255; black where the weight is 0. */
  pixels: Uint8Array;
  height: number;
  width: number;
  /** [B] class indices; 0 for padding. */
  labels: Int32Array;
  /** [B] 1 for a real image, 0 for padding and for images that were skipped. */
  weights: Float32Array;
  /** How many images are real: the sum of the weights. */
  images: number;
}
