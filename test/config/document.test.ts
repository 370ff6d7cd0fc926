import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { configDocument } from '../../src/config/document.js';
import { expectedBy, leafPaths } from '../../src/config/expectations.js';
import { configSchemaText } from '../../src/config/json-schema.js';
import { MEANINGS } from '../../src/config/meanings.js';
import { configSchema } from '../../src/config/schema.js';
import { gqa } from '../cli-run.js';

test('docs/config.md is what the schema gives: npm run config-doc writes it', () => {
  assert.equal(fs.readFileSync('docs/config.md', 'utf8'), configDocument());
});

test('configs/schema.json is the schema, and every config of the project names it for editors', () => {
  assert.equal(fs.readFileSync('configs/schema.json', 'utf8'), configSchemaText());
  for (const file of fs.readdirSync('configs').filter((name) => name.endsWith('.yaml')))
    assert.match(fs.readFileSync(`configs/${file}`, 'utf8'), /^# yaml-language-server: \$schema=schema\.json$/m, file);
});

test('config show: every key with its value and its place', () => {
  const ran = gqa(['config', 'show', 'configs/smoke.yaml', '--set', 'train.lr=1e-4']);
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(ran.stdout, /^train\.lr: 0\.0001 +# --set train\.lr=1e-4$/m);
  assert.match(ran.stdout, /^data\.name: fashion-mnist +# configs\/smoke\.yaml:\d+:\d+$/m);
  assert.match(ran.stdout, /^train\.keep: 1 +# default$/m);
});

test('every key has a meaning, and nothing else has', () => {
  const keys = leafPaths(expectedBy(configSchema)).filter(
    (key) => !/^(data\.limit|train\.checkpoint_every)\./.test(key),
  );
  assert.deepEqual(Object.keys(MEANINGS).sort(), keys.sort());
  for (const [key, meaning] of Object.entries(MEANINGS)) assert.ok(meaning.length > 5, key);
});
