/** Small data files written byte by byte, and folders that end with their test. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Dataset, Split } from '../../src/data/dataset.js';
import { openDataset } from '../../src/data/open.js';
import type { Wanted } from '../../src/data/sets/layout.js';

/** For a whole file of tests; `remove` is for its end. */
export function temporaryFolder(): { folder: string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'gqa-data-'));
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

export function testFolder(t: TestContext): string {
  const { folder, remove } = temporaryFolder();
  t.after(remove);
  return folder;
}

/** Writes a file, making its folder; returns its path. */
export function place(folder: string, name: string, bytes: Uint8Array | string): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
  return path;
}

/** An IDX file: 00 00 08 <dimensions>, big-endian sizes, bytes. */
export function idxBytes(shape: number[], bytes: ArrayLike<number>): Buffer {
  const sizes = shape.flatMap((size) => [size >>> 24, (size >>> 16) & 255, (size >>> 8) & 255, size & 255]);
  return Buffer.from([0, 0, 8, shape.length, ...sizes, ...Array.from(bytes)]);
}

/** Four files: 5 training and 2 test images of 2 rows and 3 columns; pixel values count upwards. */
export function placeSmallIdx(folder: string): void {
  const upwards = (length: number): number[] => Array.from({ length }, (_, i) => i);
  place(folder, 'train-images-idx3-ubyte', idxBytes([5, 2, 3], upwards(30)));
  place(folder, 'train-labels-idx1-ubyte', idxBytes([5], [9, 0, 3, 3, 1]));
  place(folder, 't10k-images-idx3-ubyte', idxBytes([2, 2, 3], upwards(12)));
  place(folder, 't10k-labels-idx1-ubyte', idxBytes([2], [4, 5]));
}

/** A check for assert.throws: a GqaError of exit code name `code` whose message holds all parts. */
export function failure(code: string, ...parts: string[]): (error: unknown) => boolean {
  return (error) => {
    const { code: found, message } = error as { code?: string; message?: string };
    const missing = parts.filter((part) => !message?.includes(part));
    if (found === code && missing.length === 0) return true;
    throw new Error(
      `expected a ${code} error with ${JSON.stringify(missing.length > 0 ? missing : parts)}, got ${found}: ${message}`,
    );
  };
}

/** A data set that must have a test split. */
export function withTest(dataset: Dataset): Dataset & { test: Split } {
  const { test } = dataset;
  assert.ok(test !== null, 'no test split');
  return { ...dataset, test };
}

export const openBoth = async (wanted: Wanted): Promise<Dataset & { test: Split }> =>
  withTest(await openDataset(wanted));

/** Labels of `sizes[c]` images of each class, interleaved. */
export function labelsOf(sizes: number[]): Int32Array {
  const rows = sizes.flatMap((size, label) => Array.from({ length: size }, (_, i) => ({ label, at: i / size })));
  return Int32Array.from(rows.sort((a, b) => a.at - b.at || a.label - b.label).map(({ label }) => label));
}

export function indicesOf(count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => i);
}
