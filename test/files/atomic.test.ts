import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { GqaError } from '../../src/errors.js';
import { fileError, writeFileAtomic } from '../../src/files/atomic.js';

const temporary = () => mkdtempSync(path.join(tmpdir(), 'gqa-atomic-'));

test('a file is replaced in one piece, with nothing left beside it', () => {
  const folder = temporary();
  const file = path.join(folder, 'ä b.json');
  writeFileAtomic(file, 'old');
  writeFileAtomic(file, 'new, ünïcode');
  assert.equal(readFileSync(file, 'utf8'), 'new, ünïcode');
  writeFileAtomic(file, new Uint8Array([0, 255, 10]));
  assert.deepEqual([...readFileSync(file)], [0, 255, 10]);
  writeFileAtomic(file, '');
  assert.equal(readFileSync(file).length, 0);
  assert.deepEqual(readdirSync(folder), ['ä b.json']);
});

test('a file that cannot take its place is exit 5, its name reported and the temporary one gone', () => {
  const folder = temporary();
  mkdirSync(path.join(folder, 'taken', 'inner'), { recursive: true });
  assert.throws(
    () => writeFileAtomic(path.join(folder, 'taken'), 'x'),
    (error) => error instanceof GqaError && error.code === 'io' && /cannot write .*taken: /.test(error.message),
  );
  assert.deepEqual(readdirSync(folder), ['taken']);
});

test('a file in a folder that is missing, or is a file, is exit 5', () => {
  const folder = temporary();
  writeFileSync(path.join(folder, 'file'), 'kept');
  for (const [target, reason] of [
    ['none/x', /the folder does not exist \(ENOENT\)/],
    ['file/x', /a part of the path is a file, not a folder \(ENOTDIR\)/],
  ] as const) {
    assert.throws(
      () => writeFileAtomic(path.join(folder, target), 'x'),
      (error) => error instanceof GqaError && error.code === 'io' && reason.test(error.message),
    );
  }
  assert.equal(readFileSync(path.join(folder, 'file'), 'utf8'), 'kept');
});

test('a full disk is reported in words, with a hint', {
  skip: process.platform !== 'linux' && '/dev/full is a Linux device',
}, () => {
  let caught: unknown;
  try {
    writeFileSync('/dev/full', 'x');
  } catch (error) {
    caught = error;
  }
  const error = fileError('cannot write a.csv', caught);
  assert.equal(error.code, 'io');
  assert.equal(error.message, 'cannot write a.csv: the disk is full (ENOSPC)');
  assert.match(error.hint ?? '', /Free some space/);
});
