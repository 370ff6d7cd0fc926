/**
 * The addon for images on many seeded images: as it is, and compiled with the sanitizers for addresses and for
 * undefined behaviour.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadImages } from '../../src/native/images.js';
import { damagedJpegs, fuzzDecoder, fuzzLoops } from './images-fuzz.js';
import { sanitizedEnvironment, sanitizer, withSanitizers } from './sanitizers.js';

const { addon, problem } = loadImages();
const skip = addon === null ? `no native addon for images: ${problem}` : false;

test('every loop does what it is defined to do, natively and in JavaScript, from 1 × 1 to 40,000 pixels in a line', {
  skip,
}, () => {
  fuzzLoops(addon!, 1, 20);
});

test('the decoder decodes, warns or refuses, whatever is done to a JPEG', { skip }, () => {
  const { jpegs, size } = damagedJpegs();
  const seen = fuzzDecoder(addon!, jpegs, size, 2, 400);
  for (const [outcome, times] of Object.entries(seen)) assert.ok(times > 20, `${outcome}: ${JSON.stringify(seen)}`);
});

test('no sanitizer finds anything amiss in the loops or around the decoder', {
  skip: skip || (sanitizer() === null && 'g++ or its address sanitizer (libasan.so) is not on this machine'),
}, async (t) => {
  const target = await withSanitizers(t, 'gqa_images.node');
  const ran = spawnSync(process.execPath, [fileURLToPath(new URL('images-sanitized.js', import.meta.url)), target], {
    encoding: 'utf8',
    timeout: 300_000,
    env: sanitizedEnvironment(),
  });
  assert.equal(ran.status, 0, ran.stderr.slice(-4000));
  const seen = JSON.parse(ran.stdout) as Record<string, number>;
  for (const [outcome, times] of Object.entries(seen)) assert.ok(times > 5, `${outcome}: ${ran.stdout}`);
});
