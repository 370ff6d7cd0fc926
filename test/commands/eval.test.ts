/**
 * What `gqa eval` writes beside its figures: looked at before anything is computed, written after the figures are
 * printed, whatever its size.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import sharp from 'sharp';
import { openSafetensors, readTensor } from '../../src/checkpoint/safetensors.js';
import { gqa, gqaAt, temporaryFolder } from '../cli-run.js';

const CLASSES = 200;
const IN_BATCH = 625;
const folder = temporaryFolder();
const run = path.join(folder, 'runs/smoke/r');

before(async () => {
  for (let label = 0; label < CLASSES; label++) {
    const background = { r: label, g: 255 - label, b: (label * 7) % 256 };
    const png = await sharp({ create: { width: 8, height: 8, channels: 3, background } })
      .png()
      .toBuffer();
    for (const [split, count] of [
      ['train', 1],
      ['test', 4],
    ] as const) {
      const place = path.join(folder, 'set', split, String(label).padStart(3, '0'));
      fs.mkdirSync(place, { recursive: true });
      for (let i = 0; i < count; i++) fs.writeFileSync(path.join(place, `${i}.png`), png);
    }
  }
  const sets = [
    'data.name=image-folder',
    `data.root=${path.join(folder, 'set')}`,
    'data.limit=null',
    'train.protocol=paper',
    'train.steps=1',
  ];
  const small = [
    'device=wasm',
    'model.variant=gqa',
    'model.image_size=8',
    'model.patch_size=8',
    `eval.batch_size=${IN_BATCH}`,
  ];
  const args = ['--config', 'configs/smoke.yaml', '--runs-dir', path.join(folder, 'runs'), '--run-name', 'r'];
  const ran = gqa(['train', ...args, ...[...sets, ...small].flatMap((set) => ['--set', set])]);
  assert.equal(ran.code, 0, ran.stderr);
});

test('the logits of a batch of 125,000 values, and of all batches in order', () => {
  const file = path.join(folder, 'logits.safetensors');
  const ran = gqa(['eval', run, '--logits', file, '--json']);
  assert.equal(ran.code, 0, ran.stderr);
  const { images, top1 } = JSON.parse(ran.stdout);
  assert.equal(images, 4 * CLASSES);
  const opened = openSafetensors(file);
  const [logits, labels] = [readTensor(opened, 'logits'), readTensor(opened, 'labels')];
  assert.deepEqual(
    [...labels],
    Array.from({ length: images }, (_, i) => Math.floor(i / 4)),
  );
  const right = [...labels].filter((label, i) => {
    const row = logits.subarray(i * CLASSES, (i + 1) * CLASSES);
    return row.indexOf(Math.max(...row)) === label;
  });
  assert.equal(logits.length, images * CLASSES);
  assert.equal(right.length / images, top1);
});

for (const [what, target, reason] of [
  ['in a folder that is missing', 'none/x', /cannot write .*none.x: the folder does not exist \(ENOENT\)/],
  ['that is a folder', 'set', /cannot write .*set: a folder stands there \(EISDIR\)/],
  ['below a file', 'file/x', /cannot write .*file.x: a part of the path is a file, not a folder \(ENOTDIR\)/],
] as const) {
  test(`--logits ${what}: exit 5 before anything is read`, () => {
    fs.writeFileSync(path.join(folder, 'file'), '');
    const ran = gqa(['eval', run, '--logits', path.join(folder, target)]);
    assert.equal(ran.code, 5);
    assert.match(ran.stderr, reason);
    assert.deepEqual([ran.stderr.split('\n').length, ran.stdout], [2, '']);
  });
}

test('a run folder that takes nothing: exit 5 before anything is read, and how to measure it all the same', () => {
  fs.rmSync(path.join(run, 'eval'), { recursive: true, force: true });
  fs.writeFileSync(path.join(run, 'eval'), ''); // as permissions do not hold back an administrator
  try {
    const ran = gqa(['eval', run]);
    assert.equal(ran.code, 5);
    assert.match(
      ran.stderr,
      /^gqa: cannot write .*metrics\.json: a part of the path is a file.*\nTo measure it without keeping the figures: .*gqa(\.js)? eval --checkpoint .* --config .*\n$/,
    );
  } finally {
    fs.rmSync(path.join(run, 'eval'));
  }
});

test('a disk that fills up meanwhile does not take the figures: they are on stdout, and the exit code is 5', () => {
  const ran = gqaAt('worker', 'full', ['eval', run, '--json']);
  assert.equal(ran.code, 5, ran.stderr);
  assert.equal(JSON.parse(ran.stdout).images, 4 * CLASSES);
  assert.match(ran.stderr, /\ngqa: cannot write .*metrics\.json: the disk is full \(ENOSPC\)\n/);
});
