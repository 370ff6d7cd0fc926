/**
 * What a run has found is not lost to what goes wrong afterwards, and what is said of it is true: a bad image, a full
 * disk, a stdout that nobody reads.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { openSafetensors } from '../../src/checkpoint/safetensors.js';
import { gqa, gqaAt, temporaryFolder } from '../cli-run.js';

const stepsIn = (file: string): number => JSON.parse(openSafetensors(file).metadata.gqa as string).steps;
const statusOf = (run: string): Record<string, unknown> =>
  JSON.parse(fs.readFileSync(path.join(run, 'status.json'), 'utf8'));
const smoke = (runsDir: string, ...sets: string[]): string[] => [
  ...['train', '--config', 'configs/smoke.yaml', '--runs-dir', runsDir, '--run-name', 'r'],
  ...['device=wasm', 'model.variant=gqa', ...sets].flatMap((set) => ['--set', set]),
];

/** Two classes of so many training images and four test images each. */
async function imageFolder(trainImages: number): Promise<string> {
  const root = temporaryFolder();
  for (const [label, colour] of [
    ['a', 'red'],
    ['b', 'blue'],
  ] as const) {
    const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: colour } })
      .png()
      .toBuffer();
    for (const [split, count] of [
      ['train', trainImages],
      ['test', 4],
    ] as const) {
      fs.mkdirSync(path.join(root, split, label), { recursive: true });
      for (let i = 0; i < count; i++) fs.writeFileSync(path.join(root, split, label, `${i}.png`), png);
    }
  }
  return root;
}

/** Cut short behind its head, so that it is found when it is decoded, not before. */
const spoil = (file: string): void => fs.truncateSync(file, fs.statSync(file).size - 20);

const own = (root: string): string[] => [
  'data.name=image-folder',
  `data.root=${root}`,
  'data.limit=null',
  'data.on_bad_image=error',
  'train.steps=null',
];

test('a bad image in the part that the epoch is measured on does not lose the epoch: it is saved before', async () => {
  const runsDir = temporaryFolder();
  const root = await imageFolder(12);
  spoil(path.join(root, 'test/b/2.png'));
  const ran = gqa(smoke(runsDir, ...own(root), 'train.protocol=paper', 'train.epochs=2'));
  assert.equal(ran.code, 3, ran.stderr);
  const run = path.join(runsDir, 'smoke/r');
  assert.equal(stepsIn(path.join(run, 'checkpoints/last/model.safetensors')), 3);
  assert.match(
    ran.stderr,
    /b.2\.png[\s\S]*\nThe model after step 3 is in .*last.model\.safetensors\.\nTo go on: .*train --resume .*\n$/,
  );
  const { state, epoch, step } = statusOf(run);
  assert.deepEqual([state, epoch, step], ['failed', 1, 3]);

  const without = gqa(['eval', run]);
  assert.equal(without.code, 5);
  assert.match(
    without.stderr,
    /best.model\.safetensors: there is no such checkpoint\nThe run failed before its first epoch was measured \(status\.json: epoch 1, step 3\)\.\nIts last model can be measured: .*gqa(\.js)? eval --checkpoint .*last/,
  );
});

test('a bad image in the middle of an epoch: what was trained until then is saved', async () => {
  const runsDir = temporaryFolder();
  const root = await imageFolder(12);
  spoil(path.join(root, 'train/a/7.png'));
  const ran = gqa(
    smoke(
      runsDir,
      ...own(root),
      'train.protocol=paper',
      'train.epochs=1',
      'train.batch_size=2',
      'seed=3',
      'train.log_every=1000',
    ),
  );
  assert.equal(ran.code, 3, ran.stderr);
  const { step } = statusOf(path.join(runsDir, 'smoke/r'));
  assert.ok(Number(step) > 0 && Number(step) < 12, `${step} steps`);
  assert.equal(stepsIn(path.join(runsDir, 'smoke/r/checkpoints/last/model.safetensors')), step);
  assert.match(ran.stderr, new RegExp(`a.7\\.png[\\s\\S]*\nThe model after step ${step} is in `));
});

test('a disk that fills up: the first error is reported, with what is saved; the status is true, and no part of a file is left', () => {
  const runsDir = temporaryFolder();
  const run = path.join(runsDir, 'smoke/r');
  const ran = gqaAt('rename checkpoints/last', 'full', smoke(runsDir));
  assert.equal(ran.code, 5, ran.stderr);
  assert.match(
    ran.stderr,
    /\ngqa: cannot write .*best.model\.safetensors: the disk is full \(ENOSPC\)\nFree some space, or write elsewhere\.\nThe model after step 2 is in .*last.model\.safetensors\.\nTo go on: .*train --resume .*\n$/,
  );
  assert.equal(statusOf(run).state, 'failed');
  assert.deepEqual(
    fs.readdirSync(run, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.tmp')),
    [],
  );
});

test('a limit on the size of files is reported in words; no model was saved, and that is said', {
  skip: process.platform === 'win32' && 'needs a POSIX shell',
}, () => {
  const runsDir = temporaryFolder();
  const args = smoke(runsDir)
    .map((arg) => `'${arg}'`)
    .join(' ');
  const { status, stderr } = spawnSync('bash', ['-c', `ulimit -f 100; exec "${process.execPath}" bin/gqa.js ${args}`], {
    encoding: 'utf8',
  });
  assert.equal(status, 5, stderr);
  assert.match(
    stderr,
    /cannot write .*last.model\.safetensors: the file would be larger than is allowed here \(EFBIG\)\n.*ulimit -f.*\nNo model was saved\.\n$/,
  );
  assert.equal(statusOf(path.join(runsDir, 'smoke/r')).state, 'failed');
  assert.deepEqual(fs.readdirSync(path.join(runsDir, 'smoke/r/checkpoints/last')), []);
});

test('readers that leave early end nothing: the run is done, exit 0', {
  skip: process.platform === 'win32' && 'pipes break otherwise there',
}, async () => {
  const runsDir = temporaryFolder();
  const child = spawn(process.execPath, ['bin/gqa.js', ...smoke(runsDir)], { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy();
  child.stderr.destroy();
  assert.equal(await new Promise((resolve) => child.on('exit', resolve)), 0);
  assert.equal(statusOf(path.join(runsDir, 'smoke/r')).state, 'done');
});

test('results that stdout does not take are an error', {
  skip: process.platform !== 'linux' && '/dev/full is a Linux device',
}, () => {
  const full = fs.openSync('/dev/full', 'w');
  for (const args of [['--help'], ['data', 'list', '--json']]) {
    const { status, stderr } = spawnSync(process.execPath, ['bin/gqa.js', ...args], {
      stdio: ['ignore', full, 'pipe'],
      encoding: 'utf8',
    });
    assert.equal(status, 5, stderr);
    assert.match(stderr, /^gqa: cannot write to stdout: the disk is full \(ENOSPC\)\n/);
  }
  fs.closeSync(full);
});
