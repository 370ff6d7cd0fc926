import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../src/config/load.js';
import type { Split } from '../../src/data/dataset.js';
import { GqaError } from '../../src/errors.js';
import { shapeOf } from '../../src/train/model.js';
import type { Part, Parts } from '../../src/train/parts.js';
import { planFindings, planOf, requireWarmupEnds } from '../../src/train/plan.js';
import { gqa, temporaryFolder } from '../cli-run.js';

const CLASSES = ['ant', 'bee', 'cat', 'dog'];
const config = (...sets: string[]) => loadConfig('configs/smoke.yaml', ['train.steps=null', ...sets]);

/** Images whose classes take turns. */
function partOf(images: number, classes = CLASSES.length): Part {
  const labels = Int32Array.from({ length: images }, (_, i) => i % classes);
  return { split: { labels } as unknown as Split, indices: Int32Array.from(labels.keys()) };
}

/** @param built whether the head is fresh, and whether everything is */
function findings(
  images: number,
  sets: string[],
  built: { freshHead?: boolean; scratch?: boolean } = {},
  classes?: number,
) {
  const given = config(...sets);
  const [training, selection] = [partOf(images, classes), partOf(20)];
  const parts: Parts = { train: training, selection, test: partOf(20), notices: [] };
  const model = {
    shape: shapeOf(given.model, CLASSES.length),
    variant: given.model.variant,
    values: {},
    attention: [],
  };
  const { freshHead = false, scratch = false } = built;
  return planFindings(given, parts, CLASSES, {
    model,
    freshHead: freshHead ? 'it has none' : null,
    fromKvHeads: scratch ? null : 4,
  });
}

const NOTHING = { notices: [], warnings: [] };

test('the length of a run: epochs of whole and short steps, cut by steps where that is less', () => {
  const { train } = config('train.epochs=3', 'train.batch_size=8', 'train.grad_accum_steps=2');
  assert.deepEqual(planOf(train, 69), { stepsPerEpoch: 5, totalSteps: 15 });
  assert.deepEqual(planOf({ ...train, steps: 7 }, 69), { stepsPerEpoch: 5, totalSteps: 7 });
  assert.deepEqual(planOf({ ...train, steps: 100 }, 69), { stepsPerEpoch: 5, totalSteps: 15 });
});

test('a warm-up that is longer than the run is refused, whatever ends the run; one that ends before it is not', () => {
  const refused = (sets: string[], pattern: RegExp): void =>
    assert.throws(
      () => requireWarmupEnds(config(...sets), 960),
      (error: unknown) => error instanceof GqaError && error.code === 'usage' && pattern.test(error.message),
    );
  const length = ['train.batch_size=32', 'train.epochs=2'];
  refused(
    [...length, 'train.warmup_steps=10000'],
    /warmup_steps is 10000, but training stops after 60 steps \(2 epochs of 960 images, 32 a step\)/,
  );
  refused([...length, 'train.warmup_steps=60'], /after 60 steps/);
  refused(
    ['train.batch_size=32', 'train.epochs=1', 'train.steps=100', 'train.warmup_steps=50'],
    /after 30 steps \(1 epoch of /,
  );
  refused(
    [...length, 'train.grad_accum_steps=4', 'train.warmup_steps=16'],
    /after 16 steps \(2 epochs of 960 images, 128 a step\)/,
  );
  requireWarmupEnds(config(...length, 'train.warmup_steps=59'), 960);
  requireWarmupEnds(config('train.epochs=0', 'train.warmup_steps=10'), 960);
});

test('a run that does what its config seems to say is not spoken of', () => {
  const usual = [
    'train.epochs=4',
    'train.batch_size=8',
    'model.window_size=2',
    'train.ema_decay=0.9998',
    'train.freeze=all',
  ];
  assert.deepEqual(findings(64, usual, { freshHead: true }), NOTHING);
  assert.deepEqual(findings(64, [...usual, 'train.steps=32']), NOTHING);
  assert.deepEqual(findings(64, ['train.epochs=0']), NOTHING);
  assert.deepEqual(findings(64, [...usual, 'train.freeze=none'], { scratch: true }), NOTHING);
});

const TOLD: [
  name: string,
  found: () => { notices: string[]; warnings: string[] },
  pattern: RegExp,
  kind?: 'warnings',
][] = [
  [
    'steps that the epochs do not have',
    () => findings(64, ['train.steps=33', 'train.epochs=4']),
    /^train\.steps is 33, but training stops after 32 steps \(4 epochs of 64 images, 8 a step\)$/,
  ],
  [
    'an epoch of less than a step',
    () => findings(7, ['train.batch_size=4', 'train.grad_accum_steps=2']),
    /^train\.batch_size 4 × train\.grad_accum_steps 2 is more than the 7 training images/,
  ],
  [
    'a window longer than an epoch',
    () => findings(64, ['model.window_size=9']),
    /^model\.window_size is 9, but an epoch has 8 steps: query heads are allocated once an epoch/,
  ],
  [
    'a window longer than the run',
    () => findings(64, ['model.window_size=9', 'train.steps=3']),
    /an epoch has 3 steps/,
  ],
  [
    'an average that keeps its start',
    () => findings(960, ['train.ema_decay=0.9998', 'train.ema_warmup=false']),
    /after 120 steps the averages, .* are still 97\.6 % of what training began with$/,
    'warnings',
  ],
  [
    'a fresh head that is frozen',
    () => findings(64, ['train.freeze=head'], { freshHead: true }),
    /^train\.freeze is head, .* at random \(head\.weight, head\.bias\)$/,
    'warnings',
  ],
  [
    'a model from scratch that is frozen',
    () => findings(64, ['train.freeze=all'], { scratch: true }),
    /at random \(cls_token, pos_embed and \d+ more\)$/,
    'warnings',
  ],
  ['classes without images', () => findings(64, [], {}, 2), /^2 of 4 classes have no training image: cat, dog$/],
];

for (const [name, found, pattern, kind = 'notices'] of TOLD) {
  test(`reported: ${name}`, () => {
    const lines = found();
    assert.match(lines[kind][0] as string, pattern);
    assert.deepEqual({ ...lines, [kind]: lines[kind].slice(1) }, NOTHING);
  });
}

test('a run whose warm-up is longer than it is ends with exit 2, and nothing is made', () => {
  const runsDir = temporaryFolder();
  const sets = ['train.steps=null', 'train.epochs=2', 'train.warmup_steps=10000'].flatMap((set) => ['--set', set]);
  const ran = gqa(['train', '--config', 'configs/smoke.yaml', '--runs-dir', path.join(runsDir, 'runs'), ...sets]);
  assert.equal(ran.code, 2, ran.stderr);
  assert.match(
    ran.stderr,
    /train\.warmup_steps is 10000, but training stops after 6 steps \(2 epochs of 24 images, 8 a step\)/,
  );
  assert.deepEqual(fs.readdirSync(runsDir), []);
});
