import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import sharp from 'sharp';
import {
  beginImage,
  beginJob,
  IDLE,
  jobOf as jobAtWork,
  newWorkState,
  positionOf,
  rest,
  workingFor,
} from '../../../src/data/pipeline/at-work.js';
import { type Making, threadPool } from '../../../src/data/pipeline/pool.js';
import type { BatchJob, Pass } from '../../../src/data/pipeline/preprocess.js';
import { slotsFor } from '../../../src/data/pipeline/ring.js';
import { DEFAULT_READING } from '../../../src/data/reading.js';
import { failure, place, testFolder } from '../files.js';

const pass: Pass = {
  raw: null,
  batchSize: 2,
  height: 4,
  width: 4,
  seed: 1,
  epoch: null,
  augment: 'none',
  reading: DEFAULT_READING,
  cache: null,
};
const jobOf = (...paths: string[]): BatchJob => ({ indices: Int32Array.of(7, 3), encoded: { kind: 'files', paths } });
const job = jobOf('/images/one.jpg', '/images/two.jpg');

const AT_WORK = JSON.stringify(new URL('../../../src/data/pipeline/at-work.js', import.meta.url).href);
const WORKER = JSON.stringify(new URL('../../../src/data/pipeline/worker.js', import.meta.url).href);

/** A thread's module that does `body` when it gets a job, with its state at hand. */
function script(folder: string, body: string): URL {
  const source = `import { parentPort, workerData } from 'node:worker_threads';
    import { beginJob, beginImage } from ${AT_WORK};
    const { state } = workerData;
    const begin = ({ id }, position) => { beginJob(state, id); beginImage(state, position); };
    parentPort.on('message', (message) => {
      if (message === 'close') parentPort.close();
      else if ('job' in message) { ${body} }
    });`;
  return pathToFileURL(place(folder, 'thread.mjs', source));
}

/**
 * The program's own thread, in which reading the file \`path\` does \`body\` first; \`marker\` is a file that it may
 * make to know that it was there before.
 */
function sabotaged(folder: string, path: string, body: string): { script: URL; marker: string } {
  const marker = join(folder, 'marker');
  const source = `import fs from 'node:fs';
    import { syncBuiltinESMExports } from 'node:module';
    const read = fs.readFileSync;
    const marker = ${JSON.stringify(marker)};
    fs.readFileSync = (path, ...more) => { if (path === ${JSON.stringify(path)}) { ${body} } return read(path, ...more); };
    syncBuiltinESMExports();
    await import(${WORKER});`;
  return { script: pathToFileURL(place(folder, 'thread.mjs', source)), marker };
}

async function red(folder: string, name: string): Promise<string> {
  const image = sharp({ create: { width: 4, height: 4, channels: 3, background: 'red' } });
  return place(folder, name, await image.png().toBuffer());
}

const bytesOf = async (making: Making): Promise<Uint8Array> => (await making.made()).pixels.slice();

test('a thread that exits in the midst of a batch is replaced once; then the error names the image', async (t) => {
  const pool = threadPool(1, script(testFolder(t), 'begin(message, 1); process.exit(9);'));
  const batches = pool.open(pass);
  const named = failure('data', '2 data workers', 'exit code 9', 'while working on /images/two.jpg');
  const jobs = [batches.start(job), batches.start(job)];
  for (const making of jobs) await assert.rejects(making.made(), named);
  await pool.close();
});

const once = "if (!fs.existsSync(marker)) { fs.writeFileSync(marker, ''); ";
for (const [what, body] of [
  ['dies', `${once} process.exit(7); }`],
  [
    'throws where nothing catches it',
    `${once} setImmediate(() => { throw new Error('out of luck'); }); const until = Date.now() + 100; while (Date.now() < until); }`,
  ],
  ['hangs', `${once} for (;;); }`],
  [
    'exceeds its memory',
    `${once} const all = []; for (;;) all.push(Array.from({ length: 1e5 }, (_, i) => ({ i }))); }`,
  ],
] as const) {
  test(`a thread that ${what} once is replaced, and nothing is lost or changed`, async (t) => {
    const folder = testFolder(t);
    const [one, two] = [await red(folder, 'one.png'), await red(folder, 'two.png')];
    const { script: thread, marker } = sabotaged(folder, two, body);
    const pool = threadPool(2, thread);
    // reading a first image may take a second where much else is done
    const timeoutS = what === 'hangs' ? 3 : DEFAULT_READING.timeoutS;
    const batches = pool.open({ ...pass, reading: { ...DEFAULT_READING, timeoutS } });
    const jobs = [batches.start(jobOf(one, two)), batches.start(jobOf(one, one)), batches.start(jobOf(two, one))];
    for (const making of jobs) {
      const pixels = await bytesOf(making);
      assert.deepEqual(
        pixels,
        Uint8Array.from({ length: 2 * 48 }, (_, i) => (i % 3 === 0 ? 255 : 0)),
      );
    }
    assert.ok(existsSync(marker));
    await pool.close();
  });
}

async function alwaysEnds(t: TestContext, timeoutS: number, body: string, ...said: string[]): Promise<void> {
  const folder = testFolder(t);
  const [one, two] = [await red(folder, 'one.png'), await red(folder, 'two.png')];
  const pool = threadPool(1, sabotaged(folder, two, body).script);
  const batches = pool.open({ ...pass, reading: { ...DEFAULT_READING, timeoutS } });
  await assert.rejects(batches.start(jobOf(one, two)).made(), failure('data', ...said));
  await pool.close();
}

test('a thread that hangs over an image twice is an error that names it', (t) =>
  alwaysEnds(t, 0.5, 'for (;;);', 'took more than 0.5 s'));

test('a thread that dies over an image twice is an error that names it', (t) =>
  alwaysEnds(t, 60, 'process.exit(7);', 'exit code 7', '.png'));

test('a bad image fails its own batch with the error it has on the main thread, and the thread goes on', async (t) => {
  const folder = testFolder(t);
  const bad = place(folder, 'bad.jpg', 'no image');
  const pool = threadPool(1);
  await assert.rejects(
    pool.open(pass).start(jobOf(bad, bad)).made(),
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
  const pixels = await bytesOf(pool.open({ ...pass, raw }).start({ indices: job.indices, encoded: null }));
  assert.deepEqual([pixels.length, new Set(pixels)], [2 * 4 * 4 * 3, new Set([5])]);
  await pool.close();
});

test('closing abandons what is under way, ends the threads, and refuses further jobs', async (t) => {
  const pool = threadPool(1, script(testFolder(t), ''));
  const batches = pool.open(pass);
  const refused = assert.rejects(batches.start(job).made(), failure('data', 'closed'));
  await pool.close();
  await refused;
  assert.throws(() => batches.start(job), failure('data', 'closed'));
});

test('memory of a pass that has ended is given to the next one, not while a thread may write in it', async (t) => {
  const folder = testFolder(t);
  const one = await red(folder, 'one.png');
  const pool = threadPool(1);
  const first = pool.open(pass);
  const { pixels } = await first.start(jobOf(one, one)).made();
  first.end();
  await new Promise((resolve) => setTimeout(resolve, 20));
  const second = pool.open(pass);
  const again = await second.start(jobOf(one, one)).made();
  assert.equal(again.pixels.buffer, pixels.buffer);
  const other = pool.open(pass);
  assert.notEqual((await other.start(jobOf(one, one)).made()).pixels.buffer, pixels.buffer);
  await pool.close();
});

test('a thread is judged by the image that it is at: whatever it has stored when it is looked at, no time of an earlier one counts', () => {
  const state = newWorkState();
  assert.deepEqual([workingFor(state, 5_000_000), positionOf(state)], [0, IDLE]);
  beginJob(state, 41);
  beginImage(state, 3, 1000);
  assert.deepEqual([workingFor(state, 61_000), positionOf(state), jobAtWork(state)], [60_000, 3, 41]);
  rest(state);
  // Hours later: a thread that has stored one word of its next image, in whichever order, has not worked for hours.
  assert.equal(workingFor(state, 5_000_000), 0);
  const partly = newWorkState();
  for (const word of [0, 2]) {
    partly.set(state);
    partly[word] = 0;
    assert.equal(workingFor(partly, 5_000_000), 0, `word ${word}`);
  }
  beginImage(state, 0, 5_000_000);
  assert.equal(workingFor(state, 5_000_020), 20);
  // The clock is of 32 bits, and may stand at 0.
  beginImage(state, 0, 2 ** 31 - 10);
  assert.equal(workingFor(state, (2 ** 31 + 10) | 0), 20);
  beginImage(state, 0, 0);
  assert.equal(workingFor(state, 500), 499);
});

test('batches made ahead take a bounded part of the memory, whatever their size; common ones as many as ever', async (t) => {
  const [gibi, batch] = [2 ** 30, 224 * 224 * 3];
  assert.equal(slotsFor(25, 256 * batch, 16 * gibi), 25);
  assert.equal(slotsFor(25, 100 * 32 * 32 * 3, 2 * gibi), 25);
  assert.equal(slotsFor(49, 1024 * batch, 64 * gibi), 6);
  assert.equal(slotsFor(49, 256 * batch, 4 * gibi), 13);
  for (const [size, memory] of [
    [100_000 * batch, gibi],
    [gibi, gibi / 2],
    [gibi / 4, gibi],
  ] as const)
    assert.equal(slotsFor(49, size, memory), 2);

  // The pool asks for as many as there is room for, and works with 2.
  const pool = threadPool(2, script(testFolder(t), ''));
  assert.equal(pool.open(pass).ahead, 6);
  const large = pool.open({ ...pass, batchSize: 20_000, height: 150, width: 150 });
  assert.equal(large.ahead, 1);
  for (let i = 0; i < 2; i++) large.start(job);
  assert.throws(() => large.start(job), /a batch too many/);
  await pool.close();
});
