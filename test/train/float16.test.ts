/** float16: no step is left out but where torch's GradScaler leaves out too, and what is left out is reported. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { openSafetensors, readTensor } from '../../src/checkpoint/safetensors.js';
import { encodeSafetensors } from '../../src/checkpoint/write-safetensors.js';
import { GqaError } from '../../src/errors.js';
import { requireMostSteps, requireScale } from '../../src/train/scaling.js';
import { gqa, temporaryFolder } from '../cli-run.js';
import { withZip } from '../data/fetch/zip.js';

const SHARED = path.resolve('../shared/data');
const CHECKPOINT = path.join(SHARED, 'vit_cifar10_timm.safetensors');
const ZIP = path.join(SHARED, 'cifar10-jpeg.zip');
const missing = [CHECKPOINT, ZIP].filter((file) => !fs.existsSync(file));
const native = gqa(['doctor', '--device', 'native']).code === 0;
const noNative = native ? false : 'float16 needs the native runtime: npm run setup';

const sets = (...values: string[]): string[] => values.flatMap((value) => ['--set', value]);
const linesOf = (run: string): Record<string, number>[] =>
  fs
    .readFileSync(path.join(run, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
const rowsOf = (run: string): string[][] =>
  fs
    .readFileSync(path.join(run, 'results.csv'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(','));

/** The images of test/data/torch/float16.py, and a test image of each class. */
async function images(): Promise<string> {
  const folder = temporaryFolder();
  await withZip(ZIP, async (files) => {
    for (const { name, bytes } of files) {
      const place = /cifar10\/(train|test)\/(\w+)\/(\d+)\.jpg$/.exec(name);
      if (place === null || Number(place[3]) >= (place[1] === 'test' ? 1 : place[2] === 'truck' ? 6 : 7)) continue;
      fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
      fs.writeFileSync(path.join(folder, name), bytes());
    }
  });
  return path.join(folder, 'cifar10');
}

test('accumulated in float16, the steps on real images are torch’s, and none is left out', {
  skip: noNative || (missing.length > 0 && `not there: ${missing.join(', ')}`),
}, async (t) => {
  const reference = JSON.parse(fs.readFileSync('test/data/torch/float16.json', 'utf8')) as {
    clip_grad: number | null;
    steps_left_out: number;
    train_loss: number[];
  }[];
  const root = await images();
  t.after(() => fs.rmSync(path.dirname(root), { recursive: true }));
  const config = path.join(root, 'float16.yaml');
  fs.writeFileSync(
    config,
    `data: { name: image-folder, root: ${root}, augment: none, workers: 1 }
model: { size: micro, pretrained: ${CHECKPOINT}, variant: mha }
train: { protocol: paper, batch_size: 16, epochs: 4, lr: 1e-3, weight_decay: 0, grad_accum_steps: 5, precision: float16, log_every: 1 }
eval: { batch_size: 10 }
`,
  );
  for (const expected of reference) {
    const clip = `train.clip_grad=${expected.clip_grad}`;
    const ran = gqa(['train', '--config', config, '--runs-dir', root, '--json', ...sets(clip)]);
    assert.equal(ran.code, 0, ran.stderr);
    const { run, steps_left_out: stepsLeftOut } = JSON.parse(ran.stdout);
    assert.deepEqual([expected.steps_left_out, stepsLeftOut], [0, 0]);
    const lines = linesOf(run);
    assert.deepEqual(
      lines.map(({ steps_left_out, loss_scale }) => [steps_left_out, loss_scale]),
      expected.train_loss.map(() => [0, 65536]),
    );
    lines.forEach(({ train_loss }, i) => {
      const difference = Math.abs((train_loss as number) - (expected.train_loss[i] as number));
      assert.ok(difference < 5e-4, `${clip}, epoch ${i + 1}: loss ${train_loss}, torch ${expected.train_loss[i]}`);
    });
  }
});

test('a run that left out most of its steps ends with 6 and says so everywhere; float32 knows of no such steps', {
  skip: noNative,
}, () => {
  const runsDir = temporaryFolder();
  const train = (runName: string, ...values: string[]) =>
    gqa([
      'train',
      '--config',
      'configs/smoke.yaml',
      '--runs-dir',
      runsDir,
      '--run-name',
      runName,
      '--json',
      ...sets('model.variant=mha', 'model.kv_heads=null', ...values),
    ]);
  const whole = train('whole');
  assert.equal(whole.code, 0, whole.stderr);
  const { run, steps_left_out: stepsLeftOut } = JSON.parse(whole.stdout);
  assert.equal(stepsLeftOut, null);
  assert.equal('steps_left_out' in (linesOf(run)[0] as object), false);
  assert.deepEqual(
    rowsOf(run).map((row) => row.at(-1)),
    ['steps_left_out', '', ''],
  );

  const file = openSafetensors(path.join(run, 'checkpoints/last/model.safetensors'));
  const blown = Object.fromEntries(
    [...file.tensors].map(([name, { shape }]) => {
      const data = readTensor(file, name);
      return [name, { shape, data: name === 'head.weight' ? data.map((value) => value * 3e4) : data }];
    }),
  );
  const pretrained = path.join(runsDir, 'blown.safetensors');
  // gradients of 65536 · loss do not fit into float16
  fs.writeFileSync(pretrained, encodeSafetensors(blown, file.metadata));
  const ran = train('left-out', 'train.precision=float16', `model.pretrained=${pretrained}`);
  assert.equal(ran.code, 6, ran.stderr);
  assert.match(ran.stderr, /epoch 1\/1 · 2 steps left out · /);
  assert.match(
    ran.stderr,
    /float16: 2 of 2 steps were left out.*the test split was not measured\n.*bfloat16 or float32/,
  );
  const place = path.join(runsDir, 'smoke/left-out');
  assert.equal(JSON.parse(fs.readFileSync(path.join(place, 'status.json'), 'utf8')).state, 'failed');
  assert.deepEqual(
    linesOf(place).map(({ steps_left_out, loss_scale }) => [steps_left_out, loss_scale]),
    [
      [1, 32768],
      [1, 16384],
    ],
  );
  assert.deepEqual(
    rowsOf(place).map((row) => row.at(-1)),
    ['steps_left_out', '', '2'],
  );
  assert.ok(fs.existsSync(path.join(place, 'checkpoints/last/model.safetensors')));
});

test('a run goes on with half of its steps, and with a small loss scale; not with fewer, nor with hardly any', () => {
  const ends = (call: () => void, pattern: RegExp): void =>
    assert.throws(
      call,
      (error: unknown) => error instanceof GqaError && error.code === 'training' && pattern.test(error.message),
    );
  requireMostSteps(0, 0);
  requireMostSteps(5, 10);
  ends(() => requireMostSteps(6, 10), /6 of 10 steps were left out/);
  requireScale(2 ** -13, 40);
  ends(() => requireScale(2 ** -14, 40), /fallen to 0\.000061\d* by step 40/);
});
