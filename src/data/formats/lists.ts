/**
 * Text files that say which images and classes a data set has: read line by line, every complaint with file and line.
 */
import { isUtf8 } from 'node:buffer';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { counted } from '../../counted.js';
import { GqaError } from '../../errors.js';
import { escaped, onFile } from '../files.js';

export interface Line {
  text: string;
  /** `file:line`, for messages. */
  at: string;
}

/** An image that a list names. */
export interface ListedImage {
  /** Absolute. */
  path: string;
  label: number;
  at: string;
}

/**
 * The lines of a UTF-8 text file without white space at their ends; empty ones are left out.
 * Errors: exit 3 when the file is missing, cannot be read, has no line, or one that is no UTF-8.
 */
export function readLines(path: string): Line[] {
  const bytes = onFile(path, 'official archive', () => readFileSync(path));
  if (!isUtf8(bytes)) {
    const rows = bytes.toString('latin1').split('\n');
    const wrong = rows.findIndex((row) => !isUtf8(Buffer.from(row, 'latin1')));
    throw new GqaError(
      'data',
      `${path}:${wrong + 1}: found "${escaped(Buffer.from(rows[wrong] ?? '', 'latin1')).trim()}", which is not valid UTF-8 (bytes shown as \\xE9)`,
      {
        hint: 'Write the file again as UTF-8; names of files and folders must be UTF-8 too.',
      },
    );
  }
  const lines = bytes
    .toString('utf8')
    .replace(/^\uFEFF/, '')
    .split('\n')
    .map((line, i) => ({ text: line.trim(), at: `${path}:${i + 1}` }))
    .filter((line) => line.text !== '');
  if (lines.length === 0) throw new GqaError('data', `${path} is empty; expected an entry on each line`);
  return lines;
}

/** Class names, one a line, in label order. Errors: exit 3 when a name stands twice or cannot be a folder's. */
export function readClassList(path: string): string[] {
  const lines = readLines(path);
  const first = new Map<string, string>();
  for (const { text, at } of lines) {
    if (first.has(text))
      throw new GqaError('data', `${at}: class ${text} stands in line ${lineOf(first.get(text) ?? '')} already`);
    if (!isFileName(text)) throw new GqaError('data', `${at}: "${text}" cannot be the name of a class folder`);
    first.set(text, at);
  }
  return lines.map(({ text }) => text);
}

/** A single name, not a path: what a list may put into a path. */
export const isFileName = (text: string): boolean => /^[^/\\\0]+$/.test(text) && text !== '.' && text !== '..';

/**
 * Looks whether listed images stand in their lists once and are there as files. Folders are listed once each: a hundred
 * thousand images take a second. Errors: exit 3, with file and line; of missing images the first few.
 */
export function checkListed(images: readonly ListedImage[]): void {
  const first = new Map<string, string>();
  for (const { path, at } of images) {
    const before = first.get(path);
    if (before !== undefined) throw new GqaError('data', `${at}: ${basename(path)} stands at ${before} already`);
    first.set(path, at);
  }
  const present = new Map<string, Set<string>>();
  const missing = images.filter(({ path }) => {
    const folder = dirname(path);
    let names = present.get(folder);
    if (names === undefined) {
      names = new Set(listFolder(folder));
      present.set(folder, names);
    }
    return !names.has(basename(path));
  });
  if (missing.length === 0) return;
  const shown = missing.slice(0, 5).map(({ path, at }) => `  ${path} (${at})`);
  if (missing.length > shown.length) shown.push(`  and ${missing.length - shown.length} more`);
  throw new GqaError(
    'data',
    `${missing.length} of ${counted(images.length, 'image')} ${missing.length === 1 ? 'is' : 'are'} listed but not there:\n${shown.join('\n')}`,
    {
      hint: 'Unpack the whole official archive, or take the lines out of the lists to use a part of it.',
    },
  );
}

function listFolder(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new GqaError(
      'data',
      `${folder} cannot be listed: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}

const lineOf = (at: string): string => at.slice(at.lastIndexOf(':') + 1);
