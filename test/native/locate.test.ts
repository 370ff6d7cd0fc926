import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { locateCuda, locateNative } from '../../src/native/locate.js';

const folder = mkdtempSync(path.join(os.tmpdir(), 'gqa-locate-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function project(name: string, record: unknown): string {
  const root = path.join(folder, name);
  mkdirSync(path.join(root, 'node_modules'), { recursive: true });
  writeFileSync(
    path.join(root, 'node_modules/.gqa-native.json'),
    typeof record === 'string' ? record : JSON.stringify(record),
  );
  return root;
}

const RECORD = {
  schema: 1,
  runtime: 'native',
  flavour: 'cpu',
  version: '2.18.1',
  library: '/nonexistent/tensorflow',
  addon: 'addon-1',
  gpu: false,
  node: '20.20.2',
  candidates: [
    { name: 'cache', taken: false, reason: 'empty' },
    { name: 'wheel', taken: true, reason: '/nonexistent/tensorflow' },
  ],
};

test('a checkout where set-up never ran says so and how to run it', () => {
  const { present, candidates } = locateNative(path.join(folder, 'nothing-here'));
  assert.equal(present, false);
  assert.match(candidates[0]!.reason, /npm run setup/);
});

test('a torn or foreign record counts as none', () => {
  assert.match(locateNative(project('torn', '{"schema": 1,')).candidates[0]!.reason, /npm run setup/);
  assert.match(locateNative(project('newer', { ...RECORD, schema: 2 })).candidates[0]!.reason, /npm run setup/);
});

test('a library that was removed after set-up is not present, and the last candidate says what is gone', () => {
  const { present, candidates } = locateNative(project('removed', RECORD));
  assert.equal(present, false);
  assert.equal(candidates.length, 3);
  assert.ok(candidates.every(({ taken }) => !taken));
  assert.match(candidates[2]!.reason, /was removed since set-up/);
});

test('reasons keep the order in which set-up tried the candidates', () => {
  const candidates = ['GQA_LIBTENSORFLOW', 'cache', 'wheel'].map((name) => ({
    name,
    taken: false,
    reason: `${name} failed`,
  }));
  const found = locateNative(
    project('wasm', { ...RECORD, runtime: 'wasm', library: null, version: null, addon: null, candidates }),
  );
  assert.deepEqual([found.present, found.candidates], [false, candidates]);
});

test('CUDA libraries are found beside libtensorflow and on LD_LIBRARY_PATH, the others are named with the release wanted', () => {
  const library = path.join(folder, 'cuda/tensorflow');
  const wheel = path.join(folder, 'cuda/nvidia/cudnn/lib');
  const own = path.join(folder, 'own');
  for (const place of [library, wheel, own]) mkdirSync(place, { recursive: true });
  writeFileSync(path.join(wheel, 'libcudnn.so.9'), '');
  writeFileSync(path.join(own, 'libcufft.so.11'), '');
  const libraries = new Map(locateCuda(library, { LD_LIBRARY_PATH: own }).map((entry) => [entry.file, entry]));
  assert.equal(libraries.get('libcudnn.so.9')!.found, path.join(wheel, 'libcudnn.so.9'));
  assert.equal(libraries.get('libcufft.so.11')!.found, path.join(own, 'libcufft.so.11'));
  assert.match(libraries.get('libcublas.so.12')!.wanted, /cuBLAS 12/);
});
