/**
 * Data sets with a validation part, without a test split, of one split, of one class, and changed since a run: what
 * train and eval make of them.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import sharp from 'sharp';
import { draws } from '../../src/random.js';
import { gqa, temporaryFolder } from '../cli-run.js';

const folder = temporaryFolder();
const CONFIG = path.join(folder, 'config.yaml');
const CLASSES = ['ant', 'bee', 'cat'];
/** Images of each class. */
const COUNTS = { train: 6, val: 2, test: 3 } as const;
type Split = keyof typeof COUNTS;

/** Images of 8 × 8, all different, each of its class's brightness. */
async function placeImage(root: string, split: string, label: string, number: number): Promise<void> {
  const noise = draws(CLASSES.indexOf(label), `${split}/${number}`);
  const pixels = Buffer.from(Array.from({ length: 192 }, () => 80 * CLASSES.indexOf(label) + noise.below(60)));
  const at = path.join(root, split, label, `${number}.png`);
  fs.mkdirSync(path.dirname(at), { recursive: true });
  await sharp(pixels, { raw: { width: 8, height: 8, channels: 3 } })
    .png()
    .toFile(at);
}

async function placeSet(name: string, splits: Record<string, Split>, classes = CLASSES): Promise<string> {
  const root = path.join(folder, name);
  for (const [as, split] of Object.entries(splits))
    for (const label of classes)
      for (let number = 0; number < COUNTS[split]; number++) await placeImage(root, as, label, number);
  return root;
}

const sets: string[] = [];
const all = async () => sets.push(await placeSet('all', { train: 'train', val: 'val', test: 'test' }));

before(async () => {
  fs.writeFileSync(
    CONFIG,
    `name: parts
data: { name: image-folder, workers: 0, augment: none }
model: { size: custom, image_size: 8, patch_size: 4, embed_dim: 16, depth: 1, heads: 4 }
train: { epochs: 1, batch_size: 6, lr: 1e-3, log_every: 1 }
`,
  );
  await all();
});

const train = (root: string, runName: string, ...keys: string[]) =>
  gqa([
    'train',
    '--config',
    CONFIG,
    '--runs-dir',
    path.join(folder, 'runs'),
    '--run-name',
    runName,
    '--json',
    ...[`data.root=${root}`, ...keys].flatMap((key) => ['--set', key]),
  ]);

interface Report {
  run: string;
  best: { top1: number; loss: number };
  test: { images: number; top1: number; loss: number } | null;
}

test('a folder val is the validation part: nothing is held out of train, and the best epoch is chosen on it', () => {
  const ran = train(sets[0]!, 'all');
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(ran.stderr, /3 classes, 18 training, 6 validation and 9 test images/);
  assert.match(ran.stderr, /brings its validation part/);
  assert.match(ran.stderr, /18 training, 6 validation, 9 test images/);
  const report = JSON.parse(ran.stdout) as Report;
  assert.equal(report.test?.images, 9);
  const again = gqa(['eval', report.run, '--split', 'val', '--json']);
  const { top1, loss, images, warnings } = JSON.parse(again.stdout);
  assert.deepEqual([top1, loss, images, warnings], [report.best.top1, report.best.loss, 6, []]);
});

test('train and val alone: no test figure anywhere; protocol paper refuses; data.val_is: test makes val the test split', async () => {
  const root = await placeSet('two', { train: 'train', valid: 'val' });
  const ran = train(root, 'two');
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(ran.stderr, /has no test split/);
  const report = JSON.parse(ran.stdout) as Report;
  assert.equal(report.test, null);
  const [columns = [], ...rows] = fs
    .readFileSync(path.join(report.run, 'results.csv'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(','));
  const cell = (row: string[] | undefined, column: string): string | undefined => row?.[columns.indexOf(column)];
  assert.deepEqual(
    [cell(rows.at(-1), 'row'), cell(rows.at(-1), 'test_top1'), cell(rows.at(-1), 'test_loss')],
    ['best', '', ''],
  );
  assert.notEqual(cell(rows[0], 'val_top1'), '');
  const tested = gqa(['eval', report.run]);
  assert.equal(tested.code, 2, tested.stderr);
  assert.match(tested.stderr, /has no test split\n.*--split val/);
  const paper = train(root, 'paper', 'train.protocol=paper');
  assert.equal(paper.code, 2, paper.stderr);
  assert.match(paper.stderr, /train\.protocol is paper.*has none\n.*data\.val_is: test/);
  const asTest = train(root, 'as-test', 'train.protocol=paper', 'data.val_is=test');
  assert.equal((JSON.parse(asTest.stdout) as Report).test?.images, 6);
});

test('eval on a folder of one split, with fewer classes than the checkpoint: labels by name, reported; a key-driven variant has nothing to be calibrated on', async () => {
  const { run } = JSON.parse(train(sets[0]!, 'whole').stdout) as Report;
  const root = await placeSet('one', { '': 'test' }, ['bee', 'cat']);
  const ran = gqa([
    'eval',
    run,
    '--set',
    `data.root=${root}`,
    '--json',
    '--logits',
    path.join(folder, 'one.safetensors'),
  ]);
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(ran.stderr, /its 2 class folders are the test split/);
  assert.match(ran.stderr, /no images of 1 of the checkpoint's 3 classes: ant/);
  const whole = gqa(['eval', run, '--json', '--logits', path.join(folder, 'whole.safetensors')]);
  const labels = (file: string): number[] => {
    const bytes = fs.readFileSync(path.join(folder, file));
    const length = Number(bytes.readBigUInt64LE(0));
    const [begin, end] = JSON.parse(bytes.toString('utf8', 8, 8 + length)).labels.data_offsets;
    return Array.from({ length: (end - begin) / 4 }, (_, i) => bytes.readInt32LE(8 + length + begin + 4 * i));
  };
  assert.deepEqual(labels('one.safetensors'), [1, 1, 1, 2, 2, 2]);
  assert.deepEqual(labels('whole.safetensors'), [0, 0, 0, 1, 1, 1, 2, 2, 2]);
  assert.equal(whole.code, 0);
  const keyed = gqa([
    'eval',
    run,
    '--set',
    `data.root=${root}`,
    '--set',
    'model.variant=kdgqa',
    '--set',
    'model.kv_heads=2',
  ]);
  assert.equal(keyed.code, 3, keyed.stderr);
  assert.match(keyed.stderr, /no training images to calibrate it on/);
});

test('a data set that changed since the run is reported, in the last lines and in --json', async () => {
  const root = await placeSet('changing', { train: 'train', test: 'test' });
  const { run } = JSON.parse(train(root, 'before', 'data.val_fraction=0.3').stdout) as Report;
  const meta = JSON.parse(fs.readFileSync(path.join(run, 'meta.json'), 'utf8'));
  assert.deepEqual([meta.data.splits.train.images, meta.data.splits.val, meta.data.splits.test.images], [18, null, 9]);
  assert.match(meta.data.splits.train.sha256, /^[0-9a-f]{64}$/);
  await placeImage(root, 'train', 'bee', 99);
  fs.renameSync(path.join(root, 'test/cat/0.png'), path.join(root, 'test/cat/7.png'));
  const ran = gqa(['eval', run, '--split', 'val']);
  assert.equal(ran.code, 0, ran.stderr);
  const said =
    /warning: the data set is not as the run saw it.*train: 18 images then, 19 now; test: 9 images as then, but not the same ones/;
  assert.match(ran.stdout.trim().split('\n').at(-1) ?? '', said);
  assert.match(ran.stderr, said);
  const { warnings } = JSON.parse(gqa(['eval', run, '--split', 'val', '--json']).stdout);
  assert.equal(warnings.length, 1);
});

test('one class is refused by train and eval before anything is made', async () => {
  const root = await placeSet('single', { train: 'train', test: 'test' }, ['cat']);
  const ran = train(root, 'single');
  assert.equal(ran.code, 3, ran.stderr);
  assert.match(ran.stderr, /one class only \(cat\)/);
  assert.equal(fs.existsSync(path.join(folder, 'runs/parts/single')), false);
});

test('a folder for temporary files that is not there is exit 5, with its name', (t) => {
  const ran = gqa(
    [
      'train',
      '--config',
      CONFIG,
      '--runs-dir',
      path.join(folder, 'runs'),
      '--set',
      `data.root=${sets[0]}`,
      '--device',
      'cpu',
    ],
    undefined,
    { TMPDIR: path.join(folder, 'nowhere') },
  );
  if (/wasm/.test(ran.stderr)) return t.skip('no native runtime here: nothing is compiled');
  assert.equal(ran.code, 5, ran.stderr);
  assert.match(ran.stderr, /temporary files, .*nowhere, cannot be used.*\n.*TMPDIR/);
});
