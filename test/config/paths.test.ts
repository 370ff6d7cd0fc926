/** Keys that name files and folders: `~`, absolute in what is saved, and one table for all of them. */
import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import os, { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { expectedBy, leafPaths } from '../../src/config/expectations.js';
import { expandHome } from '../../src/config/home.js';
import { parseConfig } from '../../src/config/load.js';
import { absolutePaths, missing, pathKeys, pathOf } from '../../src/config/paths.js';
import { configSchema } from '../../src/config/schema.js';

const minimal = 'data: { name: cifar10 }\nmodel: { size: micro }\n';
const read = (...sets: string[]) => parseConfig(minimal, 'x.yaml', sets).config;

/** MHA leaves no choice of groups. */
const GROUPED = ['model.variant=gqa', 'model.kv_heads=12'];

test('every key that holds free text is a path, but for the names of the run and of a merge', () => {
  const expected = expectedBy(configSchema);
  const text = leafPaths(expected).filter((leaf) => {
    const [section = '', key] = leaf.split('.');
    const node = key === undefined ? expected.properties?.[section] : expected.properties?.[section]?.properties?.[key];
    return (node?.anyOf ?? [node]).some(
      (option) => option?.type === 'string' && !option.enum && option.const === undefined,
    );
  });
  assert.deepEqual(text.sort(), [...pathKeys, 'name', 'model.merge'].sort());
});

test('saved configs have every path absolute; a data root that nobody chose stays open', () => {
  const config = absolutePaths(read(...GROUPED, ...pathKeys.map((key) => `${key}=some/${key}`)));
  for (const key of pathKeys) assert.equal(pathOf(config, key), path.resolve('some', key), key);
  const open = absolutePaths(read());
  assert.deepEqual(
    pathKeys.map((key) => pathOf(open, key)),
    ['datasets', null, null, null, null],
  );
});

test('~ is the home folder in every path, from file and flag', () => {
  for (const key of pathKeys) {
    assert.equal(pathOf(read(...GROUPED, `${key}=~/a b/x`), key), path.join(os.homedir(), 'a b/x'), key);
    const [section, name] = key.split('.');
    const file = parseConfig(
      `data:\n  name: cifar10\nmodel:\n  variant: gqa\n  kv_heads: 12\n  size: micro\ntrain:\n  epochs: 1\n`.replace(
        `${section}:\n`,
        `${section}:\n  ${name}: ~/y\n`,
      ),
      'x.yaml',
      [],
    );
    assert.equal(pathOf(file.config, key), path.join(os.homedir(), 'y'), key);
    assert.throws(() => read(`${key}=~ann/x`), new RegExp(`${key} is "~ann/x": only ~ and ~/ are expanded`), key);
  }
  assert.equal(read('data.root=~').data.root, os.homedir());
  assert.equal(read('data.root=./~x').data.root, './~x');
  assert.equal(read('data.root=a~/x').data.root, 'a~/x');
  assert.deepEqual(['', 'x', '~', '~/', '~ann', '~+'].map(expandHome), [
    '',
    'x',
    os.homedir(),
    os.homedir(),
    null,
    null,
  ]);
});

test('a NUL in a path is refused with its place', () => {
  assert.throws(
    () => parseConfig('data: { name: cifar10, root: "a\\0b" }\nmodel: { size: micro }\n', 'x.yaml', []),
    /^GqaError: x\.yaml:1:30 data\.root holds a NUL/,
  );
});

test('what is missing is reported with the nearest that is there', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'gqa-missing-'));
  writeFileSync(path.join(folder, 'vit.safetensors'), '');
  assert.equal(missing(path.join(folder, 'vit.safetensors')), undefined);
  assert.equal(
    missing(path.join(folder, 'vitt.safetensors')),
    `${folder}/vitt.safetensors does not exist; did you mean vit.safetensors?`,
  );
  assert.equal(missing(path.join(folder, 'a/b/c')), `${folder}/a/b/c does not exist (${folder} does)`);
  assert.match(missing('$HOME/x') ?? '', /does not exist \(.* does\); variables are not expanded$/);
});
