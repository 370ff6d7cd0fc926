/** The reader of safetensors on files with faults: an answer for each, and the Python library's where we agree to it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { openSafetensors, readTensor } from '../../src/checkpoint/safetensors.js';
import { GqaError } from '../../src/errors.js';
import { testFolder } from '../data/files.js';
import { mutated } from './mutations.js';

const { seed, verdicts } = JSON.parse(fs.readFileSync('test/checkpoint/verdicts.json', 'utf8')) as {
  seed: number;
  verdicts: string;
};

/** Whether it is taken; all that is taken can be read to its end. @throws for anything but an answer */
function taken(file: string): boolean {
  try {
    const opened = openSafetensors(file);
    for (const [name, { dtype }] of opened.tensors)
      if (['F32', 'F16', 'U8'].includes(dtype)) assert.ok(readTensor(opened, name).length >= 0);
    return true;
  } catch (error) {
    if (error instanceof GqaError && error.code === 'io') return false;
    throw error;
  }
}

/** What we say otherwise than the library, and why. */
const OTHERWISE: [reason: string, is: (header: string, bytes: Buffer) => boolean][] = [
  ['a name that stands twice: the library keeps one of the two', (header) => namesTwice(header)],
  [
    '1e2 is a whole number of JSON, which the library wants without an exponent',
    (header) => /[[,]1e2[,\]]/.test(header),
  ],
  ['a size above 2^53, which JavaScript’s numbers cannot hold', (header) => header.includes('9007199254740993')],
];

const namesTwice = (header: string): boolean => {
  const names = [...header.matchAll(/"((?:[^"\\]|\\.)*)"\s*:\s*(?=[{])/g)].map(([, name]) => name);
  return new Set(names).size < names.length;
};

test(`${verdicts.length} files with faults: taken or refused as the Python library does, or for a reason`, (t) => {
  const file = path.join(testFolder(t), 'mutated.safetensors');
  const unexplained: string[] = [];
  const explained = new Map<string, number>();
  for (let i = 0; i < verdicts.length; i++) {
    const bytes = mutated(seed, i);
    fs.writeFileSync(file, bytes);
    const ours = taken(file);
    if (ours === (verdicts[i] === '1')) continue;
    const header = bytes.toString('utf8', 8, 8 + Math.min(4000, bytes.length));
    const [reason] = OTHERWISE.find(([, is]) => is(header, bytes)) ?? [];
    if (reason === undefined) unexplained.push(`${i}: ours ${ours}: ${header.slice(0, 500)}`);
    else explained.set(reason, (explained.get(reason) ?? 0) + 1);
  }
  assert.deepEqual(unexplained, []);
  for (const [reason, count] of explained) t.diagnostic(`${count} otherwise: ${reason}`);
});
