import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { configDocument } from '../../src/config/document.js';
import { expectedBy, leafPaths } from '../../src/config/expectations.js';
import { MEANINGS } from '../../src/config/meanings.js';
import { configSchema } from '../../src/config/schema.js';

test('docs/config.md is what the schema gives: npm run config-doc writes it', () => {
  assert.equal(fs.readFileSync('docs/config.md', 'utf8'), configDocument());
});

test('every key has a meaning, and nothing else has', () => {
  const keys = leafPaths(expectedBy(configSchema)).filter(
    (key) => !/^(data\.limit|train\.checkpoint_every)\./.test(key),
  );
  assert.deepEqual(Object.keys(MEANINGS).sort(), keys.sort());
  for (const [key, meaning] of Object.entries(MEANINGS)) assert.ok(meaning.length > 5, key);
});
