/**
 * MNIST and Fashion-MNIST: two IDX files for each split, gzipped or not.
 * Format: a magic number 00 00 08 <number of dimensions>, the dimensions as big-endian uint32, then the bytes (LeCun,
 * Cortes, Burges: "The MNIST database").
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { counted } from '../../counted.js';
import { GqaError } from '../../errors.js';
import type { Published, Split } from '../dataset.js';
import { readBytes } from '../files.js';

/** File names without `.gz`; images first. */
const FILES = {
  train: ['train-images-idx3-ubyte', 'train-labels-idx1-ubyte'],
  test: ['t10k-images-idx3-ubyte', 't10k-labels-idx1-ubyte'],
} as const;

/** Official file names, as they may lie in a folder. */
export const idxFiles: readonly string[] = [...FILES.train, ...FILES.test];

/** More than any real file of this kind holds (MNIST: 47 MB); bounds what a hostile .gz may unpack to. */
const MAX_UNPACKED_BYTES = 2 ** 30;

/**
 * Reads both splits of an MNIST-like data set from `folder`. A plain file is taken before its .gz.
 * @param classes class names in label order; a label beyond them is an error
 * Errors: exit 3, naming file, byte offset, found and expected.
 */
export function readIdx(name: string, folder: string, classes: readonly string[]): Published {
  return {
    name,
    from: folder,
    classes: [...classes],
    train: readSplit(folder, 'train', classes.length),
    val: null,
    test: readSplit(folder, 'test', classes.length),
    notices: [],
  };
}

function readSplit(folder: string, split: 'train' | 'test', classes: number): Split {
  const [imagesName, labelsName] = FILES[split];
  const images = readIdxFile(folder, imagesName, 3);
  const labels = readIdxFile(folder, labelsName, 1);
  const [count = 0, height = 0, width = 0] = images.shape;
  if (labels.shape[0] !== count) {
    throw new GqaError(
      'data',
      `${labels.path} has ${counted(labels.shape[0] ?? 0, 'label')}, but ${images.path} has ${counted(count, 'image')}`,
      {
        hint: 'Both files must come from the same copy of the data set.',
      },
    );
  }
  const wrong = labels.bytes.findIndex((label) => label >= classes);
  if (wrong >= 0) {
    throw new GqaError(
      'data',
      `${labels.path}: label ${labels.bytes[wrong]} at byte ${labels.headerBytes + wrong}; expected 0 to ${classes - 1}`,
      {
        hint: 'The file is damaged or of another data set: get it afresh.',
      },
    );
  }
  const pixels = new Uint8Array(new SharedArrayBuffer(images.bytes.length));
  pixels.set(images.bytes);
  return {
    name: split,
    labels: Int32Array.from(labels.bytes),
    source: { kind: 'raw', height, width, channels: 1, layout: 'hwc', pixels },
  };
}

interface IdxFile {
  path: string;
  /** Dimensions, e.g. [60000, 28, 28]. */
  shape: number[];
  headerBytes: number;
  /** What follows the header: exactly the product of the dimensions. */
  bytes: Uint8Array;
}

/**
 * One IDX file of unsigned bytes with the given number of dimensions; offsets in errors are those of the unpacked
 * bytes.
 */
function readIdxFile(folder: string, name: string, dimensions: 1 | 3): IdxFile {
  const plain = join(folder, name);
  const path = [plain, `${plain}.gz`].find((candidate) => existsSync(candidate));
  if (path === undefined) {
    throw new GqaError('data', `${plain} is missing (also as .gz), though other files of the data set are there`, {
      hint: 'Place all four official files in one folder.',
    });
  }
  const content = path.endsWith('.gz') ? unpack(path) : readBytes(path);
  const headerBytes = 4 + 4 * dimensions;
  const magic = 0x0800 + dimensions;
  const unpacked = path.endsWith('.gz') ? ' (unpacked)' : '';
  if (content.length >= 4 && content.readUInt32BE(0) !== magic) {
    const found = hex(content.readUInt32BE(0));
    throw new GqaError(
      'data',
      `${path}${unpacked}: magic number ${found} at byte 0; expected ${hex(magic)} (unsigned bytes, ${dimensions} dimension${dimensions > 1 ? 's' : ''})`,
      {
        hint:
          dimensions === 3
            ? 'Is this the file of labels, or no IDX file at all?'
            : 'Is this the file of images, or no IDX file at all?',
      },
    );
  }
  if (content.length < headerBytes) {
    throw new GqaError(
      'data',
      `${path}${unpacked} ends at byte ${content.length}, within its header of ${headerBytes} bytes`,
      {
        hint: 'The file was cut short: get it afresh.',
      },
    );
  }
  const shape = Array.from({ length: dimensions }, (_, i) => content.readUInt32BE(4 + 4 * i));
  const expected = headerBytes + shape.reduce((product, size) => product * size, 1);
  if (shape.includes(0)) {
    throw new GqaError('data', `${path}${unpacked}: dimensions ${shape.join(' × ')} at byte 4; expected none to be 0`);
  }
  if (content.length !== expected) {
    throw new GqaError(
      'data',
      `${path}${unpacked} has ${content.length} bytes; expected ${expected} (header ${headerBytes} + ${shape.join(' × ')})`,
      {
        hint:
          content.length < expected
            ? 'The file was cut short: get it afresh.'
            : 'The file has bytes after its end: get it afresh.',
      },
    );
  }
  return { path, shape, headerBytes, bytes: content.subarray(headerBytes) };
}

function unpack(path: string): Buffer {
  const packed = readBytes(path);
  try {
    return gunzipSync(packed, { maxOutputLength: MAX_UNPACKED_BYTES });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new GqaError('data', `${path} (${packed.length} bytes) does not unpack as gzip: ${reason}`, {
      hint: 'The file was cut short or damaged: get it afresh.',
      cause,
    });
  }
}

const hex = (value: number): string => `0x${value.toString(16).padStart(8, '0')}`;
