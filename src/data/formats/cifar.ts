/**
 * CIFAR-10 and CIFAR-100, the official binary version: files of records, each of one label byte (CIFAR-100: coarse,
 * then fine) and 3,072 bytes of pixels, planes R, G, B of 32 × 32. Format: Krizhevsky, "The CIFAR-10 dataset", section
 * "Binary version".
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { GqaError } from '../../errors.js';
import type { Published, Split } from '../dataset.js';
import { onFile } from '../files.js';
import { readClassList } from './lists.js';

const SIDE = 32;
/** Bytes of an image's pixels. */
export const PIXEL_BYTES = 3 * SIDE * SIDE;

/** What tells one binary version from the other. */
export interface CifarLayout {
  train: readonly string[];
  test: readonly string[];
  /** Class names, one a line. */
  names: string;
  classes: number;
  /** Bytes before the pixels, and which of them is the label. */
  labelBytes: number;
  labelAt: number;
  recordsPerFile: { train: number; test: number };
}

/**
 * Reads both splits from the folder of the official files. All files must be there, each of exactly its official size.
 * Errors: exit 3, naming file, byte offset, found and expected.
 */
export function readCifar(name: string, folder: string, layout: CifarLayout): Published {
  return {
    name,
    from: folder,
    classes: readNames(join(folder, layout.names), layout.classes),
    train: readSplit(folder, 'train', layout),
    val: null,
    test: readSplit(folder, 'test', layout),
    notices: [],
  };
}

function readNames(path: string, classes: number): string[] {
  const names = readClassList(path);
  if (names.length !== classes)
    throw new GqaError('data', `${path} has ${names.length} class names; expected ${classes}, one a line`);
  return names;
}

function readSplit(folder: string, split: 'train' | 'test', layout: CifarLayout): Split {
  const files = layout[split];
  const records = layout.recordsPerFile[split];
  const labels = new Int32Array(files.length * records);
  const pixels = new Uint8Array(new SharedArrayBuffer(labels.length * PIXEL_BYTES));
  const recordBytes = layout.labelBytes + PIXEL_BYTES;
  for (const [f, file] of files.entries()) {
    const path = join(folder, file);
    const bytes = readExactly(path, records, recordBytes);
    for (let r = 0; r < records; r++) {
      const at = r * recordBytes;
      const label = bytes[at + layout.labelAt] ?? 0;
      if (label >= layout.classes) {
        throw new GqaError(
          'data',
          `${path}: label ${label} at byte ${at + layout.labelAt} (record ${r}); expected 0 to ${layout.classes - 1}`,
          {
            hint: 'The file is damaged or of another data set: get it afresh.',
          },
        );
      }
      labels[f * records + r] = label;
      pixels.set(bytes.subarray(at + layout.labelBytes, at + recordBytes), (f * records + r) * PIXEL_BYTES);
    }
  }
  return cifarSplit(split, labels, pixels);
}

/**
 * The file's bytes, its size checked before anything is read: the official files have one size each, so that a cut at a
 * record's end is seen too.
 */
function readExactly(path: string, records: number, recordBytes: number): Uint8Array {
  return onFile(path, 'archive of the "binary version"', () => {
    const file = openSync(path, 'r');
    try {
      const found = fstatSync(file).size;
      const expected = records * recordBytes;
      if (found !== expected) {
        const within =
          found < expected
            ? `ends at byte ${found}, in record ${Math.floor(found / recordBytes)} of ${records}`
            : `has bytes after its end at ${expected}`;
        throw new GqaError(
          'data',
          `${path} has ${found} bytes; expected ${expected} (${records} records of ${recordBytes}): it ${within}`,
          {
            hint: 'Get the file afresh; an archive of the "binary version" holds it.',
          },
        );
      }
      const bytes = new Uint8Array(expected);
      for (let at = 0; at < expected; ) {
        const read = readSync(file, bytes, at, expected - at, at);
        if (read === 0) throw new Error(`ended at byte ${at} while it was read`);
        at += read;
      }
      return bytes;
    } finally {
      closeSync(file);
    }
  });
}

/**
 * A split of CIFAR's images, whichever form they were read from.
 * @param pixels planes R, G, B of 32 × 32 of one image after the other
 */
export const cifarSplit = (name: Split['name'], labels: Int32Array, pixels: Uint8Array<SharedArrayBuffer>): Split => ({
  name,
  labels,
  source: { kind: 'raw', height: SIDE, width: SIDE, channels: 3, layout: 'chw', pixels },
});
