/**
 * A checkpoint's mean, deviation, resize and interpolation through the commands: train, eval, a second run, convert,
 * distillation, preview and bench.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { openSafetensors, readTensor } from '../../src/checkpoint/safetensors.js';
import { encodeSafetensors } from '../../src/checkpoint/write-safetensors.js';
import { loadConfig } from '../../src/config/load.js';
import { gqa, type Ran, temporaryFolder } from '../cli-run.js';
import { withZip } from '../data/fetch/zip.js';
import { place } from '../data/files.js';

const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
const IMAGES = { ...IMAGENET, resize: 'crop', cropPct: 0.9, interpolation: 'bicubic' };
const timm = (changes: Record<string, unknown> = {}): string =>
  JSON.stringify({
    architecture: 'vit_smoke_patch8_32',
    pretrained_cfg: {
      ...IMAGENET,
      crop_pct: 0.9,
      crop_mode: 'center',
      interpolation: 'bicubic',
      input_size: [3, 32, 32],
      ...changes,
    },
  });

const withSets = (...sets: string[]): string[] => [
  '--config',
  'configs/smoke.yaml',
  ...sets.flatMap((set) => ['--set', set]),
];
const smoke = (...sets: string[]): string[] => withSets('model.variant=mha', 'model.kv_heads=null', ...sets);

function done(ran: Ran): Record<string, unknown> & { run: string; loss: number } {
  assert.equal(ran.code, 0, ran.stderr);
  return JSON.parse(ran.stdout);
}

/** The tensors of a file of ours, as somebody else's: without its card. */
function withoutCard(file: string, to: string): string {
  const source = openSafetensors(file);
  const tensors = Object.fromEntries(
    [...source.tensors].map(([name, { shape }]) => [name, { shape, data: readTensor(source, name) }]),
  );
  fs.mkdirSync(path.dirname(to), { recursive: true });
  fs.writeFileSync(to, encodeSafetensors(tensors));
  return to;
}

const cardOf = (file: string): Record<string, unknown> =>
  JSON.parse(openSafetensors(file).metadata.gqa as string).images;

test('what a run was trained with goes with its checkpoint: to eval, a second run, convert and a teacher; and what lies beside a stranger’s is taken', () => {
  const folder = temporaryFolder();
  const run = (name: string, ...sets: string[]): Ran =>
    gqa(['train', ...smoke(...sets), '--runs-dir', folder, '--run-name', name, '--json']);
  const asked = [
    'data.mean=[0.485,0.456,0.406]',
    'data.std=[0.229,0.224,0.225]',
    'data.resize=crop',
    'data.crop_pct=0.9',
    'data.interpolation=bicubic',
  ];
  const first = done(run('first', ...asked));
  const best = path.join(first.run, 'checkpoints/best/model.safetensors');
  assert.deepEqual(cardOf(best), IMAGES);

  // Evaluated with the checkpoint alone saying so, and with a stranger's file and timm's config beside it.
  const { loss } = first.test as unknown as { loss: number };
  assert.equal(done(gqa(['eval', first.run, '--json'])).loss, loss);
  const evaluated = (checkpoint: string, ...sets: string[]): Ran =>
    gqa(['eval', '--checkpoint', checkpoint, ...smoke(...sets), '--json']);
  const strange = withoutCard(best, path.join(folder, 'strange/model.safetensors'));
  const silent = evaluated(strange);
  assert.ok(Math.abs(done(silent).loss - loss) > 1e-4);
  assert.match(silent.stderr, /data\.mean \[0\.5, 0\.5, 0\.5\].*neither the config nor .* says otherwise/);
  fs.writeFileSync(path.join(folder, 'strange/config.json'), timm());
  const reported = evaluated(strange);
  assert.equal(done(reported).loss, loss);
  const onWasm = done(evaluated(strange, 'device=wasm')).loss;
  assert.ok(Math.abs(onWasm - loss) < 1e-5, `${onWasm} on wasm, ${loss} natively`);
  assert.match(reported.stderr, /data\.mean \[0\.485, 0\.456, 0\.406\], .*, as .*config\.json says/);

  // A second run and a conversion take it over; the resolved config says it.
  const second = done(run('second', `model.pretrained=${best}`, 'train.epochs=0'));
  const { mean, std, resize, cropPct, interpolation } = loadConfig(path.join(second.run, 'config.yaml'), []).data;
  assert.deepEqual({ mean, std, resize, cropPct, interpolation }, IMAGES);
  assert.equal((second.test as unknown as { loss: number }).loss, loss);
  const out = path.join(folder, 'converted.safetensors');
  assert.equal(gqa(['convert', '--checkpoint', strange, ...smoke(), '--out', out]).code, 0);
  assert.deepEqual(cardOf(out), IMAGES);

  // A teacher of another scale is folded; one of another crop is refused before anything is made.
  const student = ['data.resize=crop', 'data.crop_pct=0.9', 'data.interpolation=bicubic', `train.distill_from=${best}`];
  const distilled = run('distilled', ...student);
  done(distilled);
  assert.match(distilled.stderr, /the teacher has data\.mean \[0\.485, 0\.456, 0\.406\].*folded/);
  const refused = run('refused', `train.distill_from=${best}`);
  assert.deepEqual([refused.code, fs.existsSync(path.join(folder, 'smoke/refused'))], [2, false], refused.stderr);
  assert.match(
    refused.stderr,
    /train\.distill_from: the config says data\.resize squash, but .* says data\.resize crop, data\.crop_pct 0\.9/,
  );
});

test('preview and bench show images as the checkpoint wants them; one that is not there yet hinders neither', () => {
  const folder = temporaryFolder();
  const checkpoint = path.join(folder, 'model.safetensors');
  const preview = (): Ran =>
    gqa([
      'data',
      'preview',
      ...withSets(`model.pretrained=${checkpoint}`),
      '--rows',
      '1',
      '--columns',
      '2',
      '--out',
      path.join(folder, 'p.png'),
      '--json',
    ]);
  const before = preview();
  assert.equal(done(before).crosses_at, '28x28');
  assert.match(before.stderr, /model\.safetensors is not there/);
  fs.writeFileSync(checkpoint, encodeSafetensors({ 'head.weight': { shape: [1], data: Float32Array.of(0) } }));
  fs.writeFileSync(path.join(folder, 'config.json'), timm());
  assert.equal(done(preview()).crosses_at, '32x32');
  const bench = gqa([
    'bench',
    'data',
    ...withSets(`model.pretrained=${checkpoint}`),
    '--batches',
    '1',
    '--rounds',
    '1',
    '--json',
  ]);
  assert.equal(done(bench).crosses_at, '32x32');
  fs.writeFileSync(path.join(folder, 'config.json'), timm({ interpolation: 'lanczos' }));
  assert.equal(preview().code, 2);
});

const [zip, vit] = ['cifar10-jpeg.zip', 'vit_cifar10_timm.safetensors'].map((name) =>
  path.resolve('../shared/data', name),
) as [string, string];
const absent = [zip, vit].find((file) => !fs.existsSync(file));

/**
 * A ViT whose patch projection wants ImageNet's statistics, on the first 60 test images of each class of CIFAR-10.
 * Right: timm 1.0.31 and torch 2.15: 189 of 600 right and a mean loss of 2.2272043 with mean and std 0.5; 364 and
 * 1.1020010 with ImageNet's.
 */
test('a ViT that wants ImageNet’s mean and deviation: 31.50 % without, 60.67 % with them, from the config or beside the checkpoint', {
  skip: absent === undefined ? false : `${absent} is not there`,
}, async () => {
  const folder = temporaryFolder();
  await withZip(zip, async (files) => {
    for (const { name, bytes } of files) {
      const image = /^cifar10\/(?:test\/(\w+)\/00[0-5]\d|train\/(\w+)\/0000)\.jpg$/.exec(name);
      if (image !== null) place(folder, name, bytes());
    }
  });
  const source = openSafetensors(vit);
  const tensors = Object.fromEntries(
    [...source.tensors].map(([name, { shape }]) => [name, { shape, data: readTensor(source, name) }]),
  );
  const [weight, bias] = [tensors['patch_embed.proj.weight']?.data, tensors['patch_embed.proj.bias']?.data] as [
    Float32Array,
    Float32Array,
  ];
  const shifted = Float64Array.from(bias);
  const wanting = weight.map((value, i) => {
    const channel = Math.floor(i / 16) % 3;
    const row = Math.floor(i / 48);
    shifted[row] = (shifted[row] as number) + (value * ((IMAGENET.mean[channel] as number) - 0.5)) / 0.5;
    return (value * (IMAGENET.std[channel] as number)) / 0.5;
  });
  Object.assign(tensors, {
    'patch_embed.proj.weight': { shape: [192, 3, 4, 4], data: wanting },
    'patch_embed.proj.bias': { shape: [192], data: Float32Array.from(shifted) },
  });
  const checkpoint = path.join(folder, 'vit.safetensors');
  fs.writeFileSync(checkpoint, encodeSafetensors(tensors));
  fs.writeFileSync(
    path.join(folder, 'c.yaml'),
    'data: { name: image-folder, root: cifar10 }\nmodel: { size: micro }\ntrain: { protocol: paper }\n',
  );
  const evaluated = (...args: string[]): Record<string, unknown> & { top1: number; loss: number } =>
    done(gqa(['eval', '--checkpoint', checkpoint, '--config', 'c.yaml', '--json', ...args], folder)) as never;
  const close = ({ top1, loss }: { top1: number; loss: number }, right: number, rightLoss: number): void => {
    assert.equal(top1, right / 600);
    assert.ok(Math.abs(loss - rightLoss) < 1e-5, `${loss}`);
  };
  close(evaluated(), 189, 2.2272043);
  close(evaluated('--set', 'data.mean=[0.485,0.456,0.406]', '--set', 'data.std=[0.229,0.224,0.225]'), 364, 1.102001);
  fs.writeFileSync(
    path.join(folder, 'preprocessor_config.json'),
    JSON.stringify({ image_mean: IMAGENET.mean, image_std: IMAGENET.std }),
  );
  close(evaluated('--eager'), 364, 1.102001);
});
