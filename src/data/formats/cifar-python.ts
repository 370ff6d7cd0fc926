/**
 * CIFAR-10 and CIFAR-100, the official python version: pickled dictionaries with `data`, an array of N × 3,072 bytes
 * (planes R, G, B of 32 × 32 in each row), and lists of labels; class names in a dictionary of their own. Read by
 * pickle.ts, which executes nothing. Format: Krizhevsky, "The CIFAR-10 dataset", section "Dataset layout".
 */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { GqaError } from '../../errors.js';
import type { Published, Split } from '../dataset.js';
import { onFile } from '../files.js';
import { cifarSplit, PIXEL_BYTES } from './cifar.js';
import { NumpyArray, type PickleValue, readPickle } from './pickle.js';

export interface CifarPythonLayout {
  train: readonly string[];
  test: readonly string[];
  meta: string;
  /** Key of the class names in `meta`, and of the labels in the other files. */
  names: string;
  labels: string;
  classes: number;
  recordsPerFile: { train: number; test: number };
}

/** More than the largest official file (CIFAR-100's `train`, 155 MB) has. */
const MAX_BYTES = 400_000_000;

/** Reads both splits from the folder of the official files. Errors: exit 3, naming file, and key or byte offset. */
export function readCifarPython(name: string, folder: string, layout: CifarPythonLayout): Published {
  return {
    name,
    from: folder,
    classes: readNames(join(folder, layout.meta), layout),
    train: readSplit(folder, 'train', layout),
    val: null,
    test: readSplit(folder, 'test', layout),
    notices: [],
  };
}

function readNames(path: string, layout: CifarPythonLayout): string[] {
  const names = listOf(path, readDictionary(path), layout.names).map((name) =>
    Buffer.isBuffer(name) ? name.toString('utf8') : name,
  );
  const texts = names.filter((name) => typeof name === 'string');
  if (texts.length !== names.length || texts.length !== layout.classes || new Set(texts).size !== texts.length) {
    throw new GqaError(
      'data',
      `${path}: ${layout.names} has ${names.length} entries; expected ${layout.classes} different names`,
    );
  }
  return texts;
}

function readSplit(folder: string, split: 'train' | 'test', layout: CifarPythonLayout): Split {
  const files = layout[split];
  const records = layout.recordsPerFile[split];
  const labels = new Int32Array(files.length * records);
  const pixels = new Uint8Array(new SharedArrayBuffer(labels.length * PIXEL_BYTES));
  for (const [f, file] of files.entries()) {
    const path = join(folder, file);
    const dictionary = readDictionary(path);
    const data = dictionary.get('data');
    if (
      !(data instanceof NumpyArray) ||
      data.shape.length !== 2 ||
      data.shape[0] !== records ||
      data.shape[1] !== PIXEL_BYTES
    ) {
      const found =
        data instanceof NumpyArray
          ? `an array of ${data.shape.join(' × ')}`
          : data === undefined
            ? 'missing'
            : 'no array';
      throw new GqaError('data', `${path}: data is ${found}; expected an array of ${records} × ${PIXEL_BYTES} bytes`);
    }
    const found = listOf(path, dictionary, layout.labels);
    const wrong = found.findIndex(
      (label) => !Number.isInteger(label) || Number(label) < 0 || Number(label) >= layout.classes,
    );
    if (found.length !== records || wrong >= 0) {
      const what = wrong < 0 ? `has ${found.length} entries` : `has ${String(found[wrong])} at ${wrong}`;
      throw new GqaError(
        'data',
        `${path}: ${layout.labels} ${what}; expected ${records} numbers from 0 to ${layout.classes - 1}`,
      );
    }
    labels.set(found as number[], f * records);
    pixels.set(data.data, f * records * PIXEL_BYTES);
  }
  return cifarSplit(split, labels, pixels);
}

function listOf(path: string, dictionary: Map<string, PickleValue>, key: string): PickleValue[] {
  const list = dictionary.get(key);
  if (Array.isArray(list)) return list;
  throw new GqaError(
    'data',
    `${path}: ${key} is ${list === undefined ? 'missing' : 'no list'} (it has ${[...dictionary.keys()].join(', ')})`,
  );
}

function readDictionary(path: string): Map<string, PickleValue> {
  const bytes = onFile(path, 'archive of the "python version"', () => {
    const { size } = statSync(path);
    if (size > MAX_BYTES)
      throw new GqaError('data', `${path} has ${size} bytes; no official file has more than ${MAX_BYTES}`);
    return readFileSync(path);
  });
  const value = readPickle(bytes, path);
  if (value instanceof Map) return value;
  throw new GqaError('data', `${path}: no dictionary is pickled in it`);
}
