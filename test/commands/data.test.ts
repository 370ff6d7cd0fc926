/** `gqa data` as a user calls it. Servers run in this process, so the command runs beside it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import sharp from 'sharp';
import { catalogue } from '../../src/data/sets.js';

import { gqa, type Ran } from '../cli-run.js';
import { serveFolder } from '../data/fetch/serve.js';
import { place, placeSmallIdx, testFolder } from '../data/files.js';

/** @param whileRunning may send a signal */
function start(
  args: string[],
  whileRunning: (kill: (signal: NodeJS.Signals) => void) => void = () => {},
): Promise<Ran> {
  const child = spawn(process.execPath, [resolve('bin/gqa.js'), ...args]);
  const texts = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      texts[stream] += text;
    });
  }
  whileRunning((signal) => child.kill(signal));
  return new Promise((done) => child.on('close', (code) => done({ code, ...texts })));
}

/** Answers as `handler` says until the test ends; returns its address. */
async function serveWith(t: TestContext, handler: http.RequestListener): Promise<string> {
  const server = http.createServer(handler);
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('data list: a line a data set, and where the one that is there was found', (t) => {
  const root = testFolder(t);
  placeSmallIdx(join(root, 'fashion-mnist'));
  const table = gqa(['data', 'list', '--root', root]);
  assert.equal(table.code, 0);
  assert.match(
    table.stdout,
    new RegExp(`^fashion-mnist +10 +60000 +10000 +31 MB +yes +${join(root, 'fashion-mnist')}$`, 'm'),
  );
  assert.match(table.stdout, /^cifar100 +100 +50000 +10000 +169 MB +no +npx gqa data fetch cifar100$/m);
  const { sets } = JSON.parse(gqa(['data', 'list', '--root', root, '--json']).stdout) as {
    sets: { name: string; present: boolean | null; folder: string | null; looked_for_in: string[] }[];
  };
  const found = sets.filter(({ present }) => present).map(({ name, folder }) => [name, folder]);
  assert.deepEqual(found, [['fashion-mnist', join(root, 'fashion-mnist')]]);
  assert.ok(sets.find(({ name }) => name === 'cifar10')?.looked_for_in.includes(join(root, 'cifar-10-batches-bin')));
});

test('data fetch --offline: what to place where, with checksums, and exit 0', (t) => {
  const root = join(testFolder(t), 'sets');
  const { code, stdout } = gqa(['data', 'fetch', 'cifar10', '--root', root, '--offline']);
  assert.equal(code, 0);
  const [{ url, sha256, md5, bytes } = assert.fail()] = catalogue.cifar10!.downloads;
  for (const part of [url, String(bytes), String(sha256), md5, join(root, 'cifar-10-binary.tar.gz')])
    assert.ok(stdout.includes(part), part);
  const json = JSON.parse(gqa(['data', 'fetch', 'mnist', '--root', root, '--offline', '--json']).stdout) as {
    state: string;
    files: object[];
  };
  assert.deepEqual([json.state, json.files.length], ['needed', 4]);
  assert.ok(!existsSync(root));
});

test('data fetch, data verify: a name that is none is exit 2 with the nearest one', () => {
  for (const [command, name, words] of [
    ['fetch', 'cifar-10', /Did you mean cifar10\?/],
    ['fetch', 'image-folder', /no official address/],
    ['verify', 'tiny-imagnet', /Did you mean tiny-imagenet\?/],
  ] as const) {
    const { code, stderr } = gqa(['data', command, name]);
    assert.equal(code, 2);
    assert.match(stderr, words);
  }
  assert.equal(gqa(['data', 'fetch']).code, 2);
  assert.equal(gqa(['data', 'steal', 'cifar10']).code, 2);
});

test('data fetch from a mirror: a page instead of the archive is exit 3, a missing file and a closed port exit 4, nothing stays', async (t) => {
  const folder = testFolder(t);
  const root = join(folder, 'sets');
  place(folder, 'www/cifar-10-binary.tar.gz', '<html><title>Moved</title></html>');
  const { url } = await serveFolder(t, join(folder, 'www'));
  const page = await start(['data', 'fetch', 'cifar10', '--root', root, '--mirror', url]);
  assert.equal(page.code, 3, page.stderr);
  assert.match(page.stderr, /an HTML page titled "Moved"; expected a gzip file of 170052171 bytes/);
  const missing = await start(['data', 'fetch', 'cifar100', '--root', root, '--mirror', url]);
  assert.equal(missing.code, 4);
  assert.match(missing.stderr, /cifar-100-binary\.tar\.gz: the server answered 404/);
  const closed = await start(['data', 'fetch', 'cifar10', '--root', root, '--mirror', 'http://127.0.0.1:9']);
  assert.equal(closed.code, 4);
  assert.match(closed.stderr, /127\.0\.0\.1:9 cannot be reached.*\n.*--mirror.*--offline/);
  assert.deepEqual(readdirSync(root), []);
});

test('data fetch: Ctrl-C keeps what came, says how to go on, and the next call asks for the rest', async (t) => {
  const root = testFolder(t);
  const bytes = catalogue.cifar10!.downloads[0]!.bytes;
  const ranges: (string | undefined)[] = [];
  const url = await serveWith(t, (request, response) => {
    ranges.push(request.headers.range);
    if (request.headers.range !== undefined) return void response.writeHead(404).end();
    response.writeHead(200, { 'content-length': bytes, etag: '"one"' });
    response.write(Buffer.concat([Buffer.from('1f8b08', 'hex'), Buffer.alloc(999_997)]));
  });
  const part = join(root, '.cifar10.fetch/cifar-10-binary.tar.gz.part');
  const args = ['data', 'fetch', 'cifar10', '--root', root, '--mirror', url];
  const stopped = await start(args, (kill) => {
    const watching = setInterval(() => {
      if (!existsSync(part) || statSync(part).size < 1_000_000) return;
      clearInterval(watching);
      kill('SIGINT');
    }, 20);
  });
  assert.equal(stopped.code, 130, stopped.stderr);
  assert.match(
    stopped.stderr,
    /stopped by SIGINT; what was downloaded is kept in .*\nThe same command goes on from there/,
  );
  assert.match(stopped.stderr, /fetching cifar-10-binary\.tar\.gz 1\.0\/170\.1 MB/);
  assert.equal(statSync(part).size, 1_000_000);
  assert.ok(!existsSync(join(root, '.cifar10.fetch/lock')));
  assert.equal((await start(args)).code, 4);
  assert.deepEqual(ranges, [undefined, 'bytes=1000000-']);
  assert.equal(statSync(part).size, 1_000_000);
});

test('data verify: report, overview and exit 0 for a folder in order; exit 3 with names for one that is not', async (t) => {
  const root = testFolder(t);
  const png = (colour: string) =>
    sharp({ create: { width: 5, height: 4, channels: 3, background: colour } })
      .png()
      .toBuffer();
  for (const [i, name] of ['train/a/1.png', 'train/b/1.png', 'test/a/1.png', 'test/b/1.png'].entries())
    place(root, name, await png(`rgb(${i},9,9)`));
  const files = ['--overview', join(root, 'o.png'), '--report', join(root, 'r.json')];
  const good = gqa(['data', 'verify', 'image-folder', '--root', root, '--json', ...files]);
  assert.equal(good.code, 0, good.stderr);
  const report = JSON.parse(good.stdout) as {
    problems: string[];
    splits: { train: { per_class: number[]; width: number[] } };
  };
  assert.deepEqual([report.problems, report.splits.train.per_class, report.splits.train.width], [[], [1, 1], [5, 5]]);
  assert.deepEqual(JSON.parse(readFileSync(join(root, 'r.json'), 'utf8')), report);
  assert.equal((await sharp(join(root, 'o.png')).metadata()).format, 'png');

  place(root, 'test/b/2.png', (await png('red')).subarray(0, 50));
  const bad = gqa(['data', 'verify', 'image-folder', '--root', root]);
  assert.equal(bad.code, 3);
  assert.match(bad.stderr, /test: 1 image does not decode:\n.*test\/b\/2\.png/);
  assert.match(bad.stdout, /^wrong: 1$/m);
  const subset = gqa(['data', 'verify', 'fashion-mnist', '--root', 'datasets/fashion-mnist-subset', '--json']);
  assert.equal(subset.code, 3);
  assert.match(subset.stderr, /train: 2000 images; 60000 are official/);
  assert.equal((JSON.parse(subset.stdout) as { problems: string[] }).problems.length, 4);
});

const jpeg = (color: string): Promise<Buffer> =>
  sharp({ create: { width: 40, height: 48, channels: 3, background: color } })
    .jpeg()
    .toBuffer();

/** JPEGs of one size, two classes of four training images and a test image. */
async function imageFolder(t: TestContext): Promise<string> {
  const root = testFolder(t);
  for (const [name, color] of [
    ['cats', 'red'],
    ['dogs', 'blue'],
  ] as const) {
    for (let i = 0; i < 4; i++) place(root, `train/${name}/${i}.jpg`, await jpeg(color));
    place(root, `test/${name}/0.jpg`, await jpeg(color));
  }
  return root;
}

const ofFolder = (root: string, ...sets: string[]): string[] => [
  ...['--config', 'configs/smoke.yaml'],
  ...['data.name=image-folder', `data.root=${root}`, 'data.limit=null', 'data.augment=paper', ...sets].flatMap(
    (set) => ['--set', set],
  ),
];

test('data preview: a PNG with a row an example, the original in the first column', async (t) => {
  const root = await imageFolder(t);
  const out = join(testFolder(t), 'preview.png');
  const { code, stdout, stderr } = gqa([
    'data',
    'preview',
    ...ofFolder(root),
    '--rows',
    '2',
    '--columns',
    '4',
    '--out',
    out,
    '--json',
  ]);
  assert.equal(code, 0, stderr);
  assert.deepEqual(JSON.parse(stdout), { file: out, images: 2, columns: 4, augment: 'paper', crosses_at: '32x32' });
  const { data, info } = await sharp(out).raw().toBuffer({ resolveWithObject: true });
  // 32 pixels, each three by three, and two between
  assert.deepEqual([info.width, info.height], [4 * 98 + 2, 2 * 98 + 2]);
  const at = (row: number, column: number): number[] => [
    ...data.subarray((row * info.width + column) * 3).subarray(0, 3),
  ];
  const dominant = ([red, , blue]: number[]): string => ((red as number) > (blue as number) ? 'red' : 'blue');
  assert.deepEqual([at(50, 50), at(148, 50)].map(dominant).sort(), ['blue', 'red']);
});

test('bench data: images a second, every stage, and whether a step would wait', async (t) => {
  const root = await imageFolder(t);
  const bench = (stepMs: string): Record<string, unknown> => {
    const args = [
      'bench',
      'data',
      ...ofFolder(root),
      '--batches',
      '3',
      '--rounds',
      '2',
      '--batch-size',
      '4',
      '--step-ms',
      stepMs,
      '--json',
    ];
    const { code, stdout, stderr } = gqa(args);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout) as Record<string, unknown>;
  };
  const short = bench('0.000001');
  assert.deepEqual([short.images, short.crosses_at, short.batch_size, short.workers], [8, '32x32', 4, 1]);
  assert.ok((short.images_per_s as number) > 0 && (short.images_per_s_rounds as number[]).length === 2);
  const stages = short.stage_ms_per_image as Record<string, number>;
  assert.deepEqual(Object.keys(stages), ['read', 'decode', 'augment', 'resize', 'place']);
  assert.ok(Object.values(stages).every((ms) => ms > 0));
  assert.deepEqual([short.starves, (short.data_wait as number) > 0.9], [true, true]);
  const long = bench('1000000');
  assert.deepEqual([long.starves, long.data_wait], [false, 0]);
});

test('bench data says what is wrong with an image: exit 3, naming it', async (t) => {
  const root = await imageFolder(t);
  const cut = place(root, 'train/cats/2.jpg', (await jpeg('green')).subarray(0, 200));
  const { code, stdout, stderr } = gqa([
    'bench',
    'data',
    ...ofFolder(root),
    '--batches',
    '3',
    '--rounds',
    '1',
    '--batch-size',
    '4',
  ]);
  assert.deepEqual([code, stdout], [3, '']);
  assert.match(stderr, new RegExp(`${cut} \\(200 bytes\\) does not decode`));
});
