/**
 * The addon for images on many seeded images: as it is, and compiled with the sanitizers for addresses and for
 * undefined behaviour.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { loadImages } from '../../src/native/images.js';
import { place, testFolder } from '../data/files.js';
import { damagedJpegs, fuzzDecoder, fuzzLoops } from './images-fuzz.js';

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

interface Scripts {
  readRecord(root: string): { library: string | null } | null;
  compileAddon(root: string, library: string, name: string, target: string, env: NodeJS.ProcessEnv): string | null;
}

/** GCC's run-time library of the address sanitizer, which has to be there before Node itself; null: there is none. */
function sanitizer(): string | null {
  const found = spawnSync('g++', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).stdout?.trim() ?? '';
  return path.isAbsolute(found) && existsSync(found) ? found : null;
}

async function compiledWithSanitizers(t: TestContext): Promise<string> {
  const modules = await Promise.all(
    ['addons', 'native-runtime'].map((name) => import(pathToFileURL(path.resolve(`scripts/${name}.mjs`)).href)),
  );
  const { readRecord, compileAddon } = Object.assign({}, ...modules) as Scripts;
  const folder = testFolder(t);
  const flags = '-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all';
  const compiler = place(folder, 'c++', `#!/bin/sh\nexec g++ "$@" ${flags}\n`);
  assert.equal(spawnSync('chmod', ['+x', compiler]).status, 0);
  const target = path.join(folder, 'gqa_images.node');
  const library = readRecord(process.cwd())?.library ?? '';
  assert.equal(
    compileAddon(process.cwd(), library, 'gqa_images.node', target, { ...process.env, CXX: compiler }),
    null,
  );
  return target;
}

test('no sanitizer finds anything amiss in the loops or around the decoder', {
  skip: skip || (sanitizer() === null && 'g++ or its address sanitizer (libasan.so) is not on this machine'),
}, async (t) => {
  const target = await compiledWithSanitizers(t);
  const ran = spawnSync(process.execPath, [fileURLToPath(new URL('images-sanitized.js', import.meta.url)), target], {
    encoding: 'utf8',
    timeout: 300_000,
    env: {
      ...process.env,
      LD_PRELOAD: sanitizer() ?? '',
      ASAN_OPTIONS: 'detect_leaks=0',
      TF_CPP_MIN_LOG_LEVEL: '3',
      NODE_OPTIONS: '',
    },
  });
  assert.equal(ran.status, 0, ran.stderr.slice(-4000));
  const seen = JSON.parse(ran.stdout) as Record<string, number>;
  for (const [outcome, times] of Object.entries(seen)) assert.ok(times > 5, `${outcome}: ${ran.stdout}`);
});
