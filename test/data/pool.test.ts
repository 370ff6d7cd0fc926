import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import sharp from 'sharp';
import { threadPool } from '../../src/data/pool.js';
import type { BatchJob } from '../../src/data/preprocess.js';
import { failure, place, testFolder } from './files.js';

const job: BatchJob = {
  source: { kind: 'files', paths: ['/pictures/one.jpg', '/pictures/two.jpg'] },
  indices: Int32Array.of(7, 3),
  batchSize: 2,
  height: 4,
  width: 4,
  seed: 1,
  epoch: null,
  augment: 'none',
};

/** A thread's module that does `body` when it gets a job, with its state at hand. */
function script(folder: string, body: string): URL {
  const source = `import { parentPort, workerData } from 'node:worker_threads';
    parentPort.on('message', (message) => { if (message === 'close') { parentPort.close(); return; } const { state } = workerData; ${body} });`;
  return pathToFileURL(place(folder, 'thread.mjs', source));
}

test('a thread that exits in the midst of a batch is an error that names the picture, for all its jobs and later ones', async (t) => {
  const pool = threadPool(1, script(testFolder(t), 'state[0] = 1; process.exit(9);'));
  const named = failure('data', 'worker died (exit code 9)', 'while working on /pictures/two.jpg');
  const jobs = [pool.run(job), pool.run(job)];
  await Promise.all(jobs.map((running) => assert.rejects(running, named)));
  await assert.rejects(pool.run(job), named);
  await pool.close();
});

test('the real thread tells which picture of the batch it is at', async (t) => {
  const folder = testFolder(t);
  const one = place(
    folder,
    'one.png',
    await sharp({ create: { width: 4, height: 4, channels: 3, background: 'red' } })
      .png()
      .toBuffer(),
  );
  const two = place(folder, 'two.png', 'never read');
  // The program's own worker, in a thread that dies when the second file is opened.
  const source = `import fs from 'node:fs';
    import { syncBuiltinESMExports } from 'node:module';
    const read = fs.readFileSync;
    fs.readFileSync = (path, ...more) => (path === ${JSON.stringify(two)} ? process.exit(7) : read(path, ...more));
    syncBuiltinESMExports();
    await import(${JSON.stringify(new URL('../../src/data/worker.js', import.meta.url).href)});`;
  const pool = threadPool(1, pathToFileURL(place(folder, 'thread.mjs', source)));
  await assert.rejects(
    pool.run({ ...job, source: { kind: 'files', paths: [one, two] } }),
    failure('data', 'exit code 7', `while working on ${two}`),
  );
  await pool.close();
});

test('a thread that throws where nothing catches it is named with its error', async (t) => {
  const pool = threadPool(2, script(testFolder(t), "throw new Error('out of luck');"));
  await assert.rejects(
    pool.run({
      ...job,
      source: { kind: 'raw', height: 4, width: 4, channels: 1, layout: 'hwc', pixels: new Uint8Array(new SharedArrayBuffer(200)) },
    }),
    failure('data', 'out of luck', 'picture 7 of its split'),
  );
  await pool.close();
});

test('a bad picture fails its own batch with the error it has on the main thread, and the thread goes on', async (t) => {
  const folder = testFolder(t);
  const bad = place(folder, 'bad.jpg', 'no picture');
  const pool = threadPool(1);
  await assert.rejects(
    pool.run({ ...job, source: { kind: 'files', paths: [bad, bad] } }),
    failure('data', join(folder, 'bad.jpg'), 'unknown kind'),
  );
  const raw = {
    kind: 'raw',
    height: 4,
    width: 4,
    channels: 1,
    layout: 'hwc',
    pixels: new Uint8Array(new SharedArrayBuffer(16 * 8)).fill(5),
  } as const;
  const pixels = await pool.run({ ...job, source: raw });
  assert.deepEqual([pixels.length, new Set(pixels)], [2 * 4 * 4 * 3, new Set([5])]);
  await pool.close();
});

test('closing abandons what is under way, ends the threads, and refuses further jobs', async (t) => {
  const pool = threadPool(1, script(testFolder(t), ''));
  const running = pool.run(job);
  const refused = assert.rejects(running, failure('data', 'closed'));
  await pool.close();
  await refused;
  await assert.rejects(pool.run(job), /closed/);
});
