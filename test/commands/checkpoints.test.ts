/**
 * Checkpoints through the commands: a head of other classes is no measurement, and what cannot be decided is warned of
 * to the end.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { readModelCard } from '../../src/checkpoint/model-file.js';
import { openSafetensors, readTensor } from '../../src/checkpoint/safetensors.js';
import { encodeSafetensors } from '../../src/checkpoint/write-safetensors.js';
import { kvHeadsOf } from '../../src/model/grouping.js';
import { encodeModel } from '../checkpoint/tensors.js';
import { gqa, type Ran, temporaryFolder } from '../cli-run.js';

const CONFIG = path.resolve('configs/smoke.yaml');
const MHA = ['--set', 'model.variant=mha', '--set', 'model.kv_heads=null'];
const folder = temporaryFolder();
const file = (name: string): string => path.join(folder, name);

const train = (runName: string, ...args: string[]): Ran =>
  gqa(['train', '--config', CONFIG, '--runs-dir', folder, '--run-name', runName, ...MHA, ...args]);
const from = (name: string): string[] => ['--set', `model.pretrained=${file(name)}`];
const runFile = (runName: string, name: string): string =>
  fs.readFileSync(path.join(folder, 'smoke', runName, name), 'utf8');

/**
 * A trained model of ours; the same with the names of its classes in reverse; with other names; and without our card,
 * as timm would have it, with and without its head.
 */
before(() => {
  const ran = train('mha');
  assert.equal(ran.code, 0, ran.stderr);
  const trained = openSafetensors(path.join(folder, 'smoke/mha/checkpoints/best/model.safetensors'));
  const card = readModelCard(trained);
  assert.ok(card !== null);
  const { form: _, ...rest } = card;
  const reversed = encodeModel((name) => readTensor(trained, name), {
    ...rest,
    classes: [...card.classes].reverse(),
  });
  fs.writeFileSync(file('reversed.safetensors'), reversed);
  const tensors = [...trained.tensors].map(
    ([name, { shape }]) => [name, { shape, data: readTensor(trained, name) }] as const,
  );
  fs.writeFileSync(file('bare.safetensors'), encodeSafetensors(Object.fromEntries(tensors)));
  fs.writeFileSync(
    file('headless.safetensors'),
    encodeSafetensors(Object.fromEntries(tensors.filter(([name]) => !name.startsWith('head.')))),
  );
});

test('a head of other classes is drawn afresh, and “as converted” is then no figure, on the terminal, in the files and in --json', () => {
  const ran = train('fresh', ...from('reversed.safetensors'), '--json');
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(
    ran.stderr,
    /fresh head for 10 classes: the checkpoint’s are others: class 0 is “Ankle boot” there, “T-shirt\/top” in the data/,
  );
  assert.match(ran.stderr, /^as converted · – \(fresh head\)$/m);
  const report = JSON.parse(ran.stdout);
  assert.deepEqual([report.converted, report.fresh_head], [null, true]);
  const [titles, first] = runFile('fresh', 'results.csv')
    .split('\n')
    .map((line) => line.split(','));
  const row = Object.fromEntries((titles as string[]).map((title, i) => [title, first?.[i]]));
  assert.deepEqual(
    [row.row, row.epoch, row.val_loss, row.val_top1, row.val_top5, row.test_top1],
    ['epoch', '0', '', '', '', ''],
  );
  assert.match(
    train('fresh-text', ...from('headless.safetensors')).stdout,
    /as converted, validation: – \(fresh head\)\n/,
  );
});

test('a head of other classes is refused where it would be measured or would teach', () => {
  const evaluated = gqa(['eval', '--checkpoint', file('reversed.safetensors'), '--config', CONFIG, ...MHA]);
  assert.equal(evaluated.code, 2);
  assert.match(
    evaluated.stderr,
    /has no head for the 10 classes of fashion-mnist: the checkpoint’s are others: class 0 is “Ankle boot”/,
  );
  const refused = (message: RegExp, ...args: string[]): void => {
    const ran = train('refused', ...args);
    assert.equal(ran.code, 2, ran.stderr);
    assert.match(ran.stderr, message);
    assert.equal(fs.existsSync(path.join(folder, 'smoke/refused')), false);
  };
  refused(
    /train\.distill_from: .*cannot teach this model.*class 0 is “Ankle boot” there/,
    '--set',
    `train.distill_from=${file('reversed.safetensors')}`,
  );
  refused(
    /cannot teach this model.*the checkpoint has no head/,
    '--set',
    `train.distill_from=${file('headless.safetensors')}`,
  );
  refused(
    /train\.epochs is 0, and the head would be a fresh one: the checkpoint has no head/,
    ...from('headless.safetensors'),
    '--set',
    'train.epochs=0',
  );
});

const WARNING = /does not say its number of heads: model\.heads is 4/;

test('a number of heads that nothing confirms is warned of in the first lines, the last ones, meta.json, --json, and when the run is evaluated', () => {
  const ran = train('warned', ...from('bare.safetensors'));
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(ran.stderr, /^warning: .*model\.heads is 4/m);
  assert.match(ran.stdout.trim().split('\n').at(-1) as string, WARNING);
  assert.match(JSON.parse(runFile('warned', 'meta.json')).warnings.join('\n'), WARNING);
  const run = path.join(folder, 'smoke/warned');
  const text = gqa(['eval', run]);
  assert.match(text.stdout.trim().split('\n').at(-1) as string, WARNING);
  assert.match(JSON.parse(runFile('warned', 'eval/test/metrics.json')).warnings.join('\n'), WARNING);
  const confirmed = train(
    'not-warned',
    '--set',
    `model.pretrained=${path.join(folder, 'smoke/mha/checkpoints/best/model.safetensors')}`,
    '--json',
  );
  assert.deepEqual(
    [JSON.parse(confirmed.stdout).warnings, JSON.parse(runFile('not-warned', 'meta.json')).warnings],
    [[], []],
  );
});

test('a sweep tells its points’ warnings once, at its end', () => {
  const swept = gqa([
    'sweep',
    '--config',
    CONFIG,
    '--runs-dir',
    folder,
    '--name',
    's',
    '--variants',
    'mha',
    '--seeds',
    '0,1',
    ...from('bare.safetensors'),
  ]);
  assert.equal(swept.code, 0, swept.stderr);
  assert.equal(swept.stdout.split('\n').filter((line) => WARNING.test(line)).length, 1);
  assert.match(swept.stdout.trim().split('\n').at(-1) as string, WARNING);
});

test('gqa convert takes a checkpoint without a head; training then draws one', () => {
  const out = file('converted.safetensors');
  const ran = gqa([
    'convert',
    '--checkpoint',
    file('headless.safetensors'),
    '--config',
    CONFIG,
    '--set',
    'model.variant=gqa',
    '--out',
    out,
  ]);
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(ran.stderr, /no head that can be taken over: the file has none either/);
  assert.match(ran.stdout, WARNING);
  const card = readModelCard(openSafetensors(out));
  assert.deepEqual(
    [card?.model.numClasses, kvHeadsOf(card?.model.grouping[0] ?? []), card?.warnings?.length],
    [0, 2, 1],
  );
  const up = gqa([
    'train',
    '--config',
    CONFIG,
    '--runs-dir',
    folder,
    '--run-name',
    'up',
    '--set',
    'model.variant=gqa',
    ...from('converted.safetensors'),
    '--json',
  ]);
  assert.equal(up.code, 0, up.stderr);
  assert.equal(JSON.parse(up.stdout).fresh_head, true);
  assert.match(JSON.parse(up.stdout).warnings.join('\n'), WARNING);
});
