import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { testFolder } from '../files.js';

const DEBIAN = '/usr/share/datasets/fashion-mnist';
const SUBSET = 'datasets/fashion-mnist-subset';

test('the script makes the committed subset again', {
  skip: existsSync(DEBIAN) ? false : `${DEBIAN} is not there`,
}, (t) => {
  const folder = testFolder(t);
  execFileSync(process.execPath, ['scripts/make-fashion-mnist-subset.mjs', DEBIAN, folder], { stdio: 'ignore' });
  const names = readdirSync(folder);
  assert.equal(names.length, 4);
  for (const name of names) {
    const [made, committed] = [folder, SUBSET].map((at) => readFileSync(join(at, name)));
    // Another Node's zlib may pack the same bytes otherwise; header and content are fixed.
    assert.deepEqual(made!.subarray(0, 10), committed!.subarray(0, 10));
    assert.ok(gunzipSync(made!).equals(gunzipSync(committed!)), name);
  }
});

test('the subset comes with its licence and how it was made', () => {
  assert.match(readFileSync(join(SUBSET, 'LICENSE'), 'utf8'), /Zalando SE[\s\S]*Permission is hereby granted/);
  assert.match(readFileSync(join(SUBSET, 'README.md'), 'utf8'), /make-fashion-mnist-subset\.mjs/);
});
