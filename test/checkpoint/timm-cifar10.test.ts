/** A checkpoint that timm made and trained, on real images: the logits, loss and top-1 that torch gave for it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { openSafetensors, readTensor } from '../../src/checkpoint/safetensors.js';
import { gqa, temporaryFolder } from '../cli-run.js';
import { withZip } from '../data/fetch/zip.js';

const SHARED = path.resolve('../shared/data');
const CHECKPOINT = path.join(SHARED, 'vit_cifar10_timm.safetensors');
const ZIP = path.join(SHARED, 'cifar10-jpeg.zip');
const missing = [CHECKPOINT, `${CHECKPOINT}.json`, ZIP].filter((file) => !fs.existsSync(file));

/** All test images and one training image of each class, as an image folder. */
async function unpacked(): Promise<string> {
  const folder = temporaryFolder();
  await withZip(ZIP, async (files) => {
    for (const { name, bytes } of files.filter(({ name }) => name.includes('/test/') || name.endsWith('/0000.jpg'))) {
      fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
      fs.writeFileSync(path.join(folder, name), bytes());
    }
  });
  return path.join(folder, 'cifar10');
}

const skip = missing.length > 0 && `not there: ${missing.join(', ')}`;

test('a ViT that timm trained has torch’s top-1, loss and logits on the 10,000 test images of CIFAR-10', {
  skip,
}, async (t) => {
  const reference = JSON.parse(fs.readFileSync(`${CHECKPOINT}.json`, 'utf8'));
  const root = await unpacked();
  t.after(() => fs.rmSync(path.dirname(root), { recursive: true }));
  const wasm = gqa(['doctor', '--device', 'native']).code !== 0;
  // On wasm a tenth of the images, of all classes, has to do.
  const limit = wasm ? ['--set', 'data.limit={train: null, test: 1000}'] : [];
  const logits = path.join(root, 'logits.safetensors');
  const sets = ['model.variant=mha', 'model.kv_heads=null', `data.root=${root}`, 'train.protocol=paper'].flatMap(
    (set) => ['--set', set],
  );
  const ran = gqa([
    'eval',
    '--checkpoint',
    CHECKPOINT,
    '--config',
    'configs/cifar10-micro.yaml',
    ...sets,
    ...limit,
    '--json',
    '--logits',
    logits,
  ]);
  assert.equal(ran.code, 0, ran.stderr);
  const { top1, loss } = JSON.parse(ran.stdout);
  if (wasm) {
    assert.ok(Math.abs(top1 - reference.top1) < 0.05, `top-1 ${top1} on a tenth of the images`);
    return;
  }
  assert.ok(Math.abs(top1 - reference.top1) <= 0.0005, `top-1 ${top1}, torch ${reference.top1}`);
  assert.ok(Math.abs(loss - reference.loss) <= 1e-4, `loss ${loss}, torch ${reference.loss}`);
  const ours = readTensor(openSafetensors(logits), 'logits');
  const theirs = (reference.first_64_logits as number[][]).flat();
  const largest = Math.max(...theirs.map((value, i) => Math.abs(value - (ours[i] as number))));
  assert.ok(largest <= 1e-3, `the first 64 images’ logits differ by up to ${largest}`);
});
