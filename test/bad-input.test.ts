/**
 * What a user can get wrong outside the config file: one clear message, the right exit code, nothing changed on disk.
 * (Config files: test/config.)
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import sharp from 'sharp';
import { encodeSafetensors } from '../src/checkpoint/write-safetensors.js';
import { gqa, snapshot, temporaryFolder } from './cli-run.js';

const SUBSET = 'datasets/fashion-mnist-subset';
const TRAIN_IMAGES = 'train-images-idx3-ubyte';

interface Case {
  what: string;
  code: number;
  message: RegExp;
  /** Prepares the working folder, which holds a good config.yaml and data/. */
  break?: (folder: string) => unknown;
  /** What `train` gets beside --config config.yaml. */
  args?: string[];
  command?: string[];
}

const edit = (folder: string, file: string, change: (bytes: Buffer) => Buffer): void => {
  const at = path.join(folder, 'data', file);
  fs.writeFileSync(at, change(fs.readFileSync(at)));
};

const CASES: Case[] = [
  {
    what: 'a config that is missing',
    code: 2,
    message: /nowhere\.yaml/,
    command: ['train', '--config', 'nowhere.yaml'],
  },
  {
    what: 'an unknown data set',
    code: 2,
    message: /--set data\.name.*"svhn".*expected/,
    args: ['--set', 'data.name=svhn'],
  },
  {
    what: 'KV heads that do not divide the heads',
    code: 2,
    message: /kv_heads is 5, but must divide heads \(4\)/,
    args: ['--set', 'model.variant=gqa', '--set', 'model.kv_heads=5'],
  },
  {
    what: 'the name of a run that exists',
    code: 2,
    message: /run runs.bad.taken exists already/,
    break: (folder) => fs.mkdirSync(path.join(folder, 'runs/bad/taken'), { recursive: true }),
    args: ['--run-name', 'taken'],
  },
  {
    what: 'a checkpoint of another model',
    code: 2,
    message: /vit\.safetensors is no ViT whose names gqa knows.*: 1 tensor: other\n/,
    break: (folder) =>
      fs.writeFileSync(
        path.join(folder, 'vit.safetensors'),
        encodeSafetensors({ other: { shape: [1], data: new Float32Array(1) } }),
      ),
    args: ['--set', 'model.pretrained=vit.safetensors'],
  },
  {
    what: 'a data folder that is not there',
    code: 3,
    message: /mnist was not found; expected train-images-idx3-ubyte.*\n.*nowhere\n/,
    args: ['--set', 'data.name=mnist', '--set', 'data.root=nowhere'],
  },
  {
    what: 'a data file that is missing',
    code: 3,
    message: /t10k-labels/,
    break: (folder) => fs.rmSync(path.join(folder, 'data/t10k-labels-idx1-ubyte')),
  },
  {
    what: 'a data file cut short',
    code: 3,
    message: /train-images-idx3-ubyte.*\d+ bytes/,
    break: (folder) => edit(folder, TRAIN_IMAGES, (bytes) => bytes.subarray(0, bytes.length - 100)),
  },
  {
    what: 'a data file with bytes too many',
    code: 3,
    message: /train-images-idx3-ubyte.*\d+ bytes/,
    break: (folder) => edit(folder, TRAIN_IMAGES, (bytes) => Buffer.concat([bytes, Buffer.alloc(5)])),
  },
  {
    what: 'a label out of range',
    code: 3,
    message: /train-labels-idx1-ubyte.*77/,
    break: (folder) =>
      edit(folder, 'train-labels-idx1-ubyte', (bytes) => {
        bytes[20] = 77;
        return bytes;
      }),
  },
  {
    what: 'test images of another size',
    code: 3,
    message: /the images of train are 28 × 28, those of test 14 × 56 pixels/,
    break: (folder) =>
      edit(folder, 't10k-images-idx3-ubyte', (bytes) => {
        bytes.writeUInt32BE(14, 8);
        bytes.writeUInt32BE(56, 12);
        return bytes;
      }),
  },
  { what: 'a GPU that is not there', code: 4, message: /device gpu needs a GPU, but: .+/, args: ['--device', 'gpu'] },
  {
    what: 'a checkpoint that is not safetensors',
    code: 5,
    message: /vit\.pth is a checkpoint of PyTorch \(pickle in a zip archive/,
    break: (folder) =>
      fs.writeFileSync(path.join(folder, 'vit.pth'), `PK\u0003\u0004${'\0'.repeat(26)}archive/data.pkl`),
    args: ['--set', 'model.pretrained=vit.pth'],
  },
  {
    what: 'a checkpoint cut short',
    code: 5,
    message: /cut\.safetensors: not a readable safetensors file: .*cut short/,
    break: (folder) =>
      fs.writeFileSync(
        path.join(folder, 'cut.safetensors'),
        encodeSafetensors({ a: { shape: [64], data: new Float32Array(64) } }).subarray(0, -7),
      ),
    args: ['--set', 'model.pretrained=cut.safetensors'],
  },
  {
    what: 'a checkpoint that lies in its header',
    code: 5,
    message: /lie\.safetensors: .*needs \d+ bytes, its offsets/,
    break: (folder) => {
      const header = Buffer.from('{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}');
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(header.length));
      fs.writeFileSync(path.join(folder, 'lie.safetensors'), Buffer.concat([length, header, Buffer.alloc(4)]));
    },
    args: ['--set', 'model.pretrained=lie.safetensors'],
  },
  {
    what: 'a folder that cannot be written',
    code: 5,
    message: /cannot write runs in .*config\.yaml/,
    args: ['--runs-dir', 'config.yaml'],
  },
];

/** A working folder with a small model's config and the committed images, unpacked, so that bytes can be changed. */
function workingFolder(): string {
  const folder = temporaryFolder();
  fs.mkdirSync(path.join(folder, 'data'));
  for (const file of fs.readdirSync(SUBSET).filter((name) => name.endsWith('.gz'))) {
    fs.writeFileSync(
      path.join(folder, 'data', file.replace(/\.gz$/, '')),
      gunzipSync(fs.readFileSync(path.join(SUBSET, file))),
    );
  }
  fs.writeFileSync(
    path.join(folder, 'config.yaml'),
    `name: bad
data: { name: fashion-mnist, root: data, limit: 40, workers: 0 }
model: { size: custom, image_size: 28, patch_size: 7, embed_dim: 16, depth: 1, heads: 4, variant: mha }
train: { epochs: 1, steps: 2, batch_size: 8, lr: 1e-3, log_every: 1 }
`,
  );
  return folder;
}

for (const { what, code, message, break: breakIt, args, command } of CASES) {
  test(`${what}: exit ${code}, one message, nothing written`, () => {
    const folder = workingFolder();
    breakIt?.(folder);
    const before = snapshot(folder);
    const ran = gqa(command ?? ['train', '--config', 'config.yaml', ...(args ?? [])], folder);
    assert.equal(ran.code, code, ran.stderr);
    assert.match(ran.stderr, message);
    assert.equal(ran.stdout, '');
    assert.doesNotMatch(ran.stderr, /\n\s+at |node:internal/, 'no stack unless asked for');
    assert.deepEqual(snapshot(folder), before);
  });
}

/**
 * A folder with pets/{train,test}/{cat,dog}/ of six JPEGs each and a config.yaml; and a JPEG of noise, to be damaged.
 */
async function pets(): Promise<{ folder: string; large: Buffer }> {
  const folder = temporaryFolder();
  for (const split of ['train', 'test'])
    for (const name of ['cat', 'dog']) {
      fs.mkdirSync(path.join(folder, 'pets', split, name), { recursive: true });
      for (let i = 0; i < 6; i++) {
        const image = sharp({
          create: { width: 20, height: 20, channels: 3, background: { r: 40 * i, g: name === 'cat' ? 250 : 5, b: 99 } },
        });
        fs.writeFileSync(path.join(folder, 'pets', split, name, `${i}.jpg`), await image.jpeg().toBuffer());
      }
    }
  fs.writeFileSync(
    path.join(folder, 'config.yaml'),
    `name: pets
data: { name: image-folder, root: pets, workers: 1, val_fraction: 0.2 }
model: { size: custom, image_size: 16, patch_size: 8, embed_dim: 8, depth: 1, heads: 2, variant: mha }
train: { epochs: 1, batch_size: 4, lr: 1e-3 }
`,
  );
  const noise = { type: 'gaussian', mean: 128, sigma: 30 } as const;
  const large = await sharp({ create: { width: 400, height: 400, channels: 3, background: 'grey', noise } })
    .jpeg()
    .toBuffer();
  return { folder, large };
}

test('an image that does not decode: exit 3 with its name, and a run that says it failed', async () => {
  const { folder, large } = await pets();
  // its header is whole: it is found when its turn comes
  fs.writeFileSync(path.join(folder, 'pets/train/dog/3.jpg'), large.subarray(0, large.length / 2));
  const ran = gqa(['train', '--config', 'config.yaml', '--run-name', 'r'], folder);
  assert.equal(ran.code, 3, ran.stderr);
  assert.match(ran.stderr, /train.dog.3\.jpg/);
  assert.equal(JSON.parse(fs.readFileSync(path.join(folder, 'runs/pets/r/status.json'), 'utf8')).state, 'failed');
});

test('a JPEG that is damaged: used as far as it goes, said and listed, or refused', async () => {
  const { folder, large } = await pets();
  const half = Buffer.concat([large.subarray(0, large.length / 2), large.subarray(-2)]);
  for (const file of ['pets/train/dog/3.jpg', 'pets/train/dog/4.jpg', 'pets/test/cat/0.jpg'])
    fs.writeFileSync(path.join(folder, file), half);
  const train = ['train', '--config', 'config.yaml', '--run-name'];
  const ran = gqa([...train, 'r'], folder);
  assert.equal(ran.code, 0, ran.stderr);
  const list = path.join('runs/pets/r/damaged.jsonl');
  assert.ok(ran.stderr.includes(`3 images are damaged and were decoded as far as they go: ${list}\n`), ran.stderr);
  const lines = fs.readFileSync(path.join(folder, list), 'utf8').trim().split('\n');
  assert.deepEqual(
    lines
      .map((line) => JSON.parse(line))
      .map(({ split, reason }) => [split, /[34]\.jpg|cat.0\.jpg/.test(reason), /premature end/.test(reason)])
      .sort(),
    [
      ['test', true, true],
      ['train', true, true],
      ['train', true, true],
    ],
  );
  assert.ok(!fs.existsSync(path.join(folder, 'runs/pets/r/skipped.jsonl')));
  const evaluated = gqa(['eval', 'runs/pets/r', '--json'], folder);
  assert.equal(evaluated.code, 0, evaluated.stderr);
  assert.match(
    evaluated.stderr,
    /1 image is damaged and was decoded as far as it goes: .*0\.jpg \(\d+ bytes\) is damaged: Corrupt JPEG data/,
  );
  assert.deepEqual([JSON.parse(evaluated.stdout).damaged, JSON.parse(evaluated.stdout).skipped], [1, 0]);
  const refused = gqa([...train, 's', '--set', 'data.on_bad_image=error'], folder);
  assert.deepEqual(
    [refused.code, /[034]\.jpg \(\d+ bytes\) does not decode/.test(refused.stderr)],
    [3, true],
    refused.stderr,
  );
});

test('a loss that is not finite: exit 6 with step and learning rate, the run says it failed, its results stay readable', () => {
  const folder = workingFolder();
  const ran = gqa(
    ['train', '--config', 'config.yaml', '--run-name', 'r', '--set', 'train.lr=1e30', '--set', 'train.steps=6'],
    folder,
  );
  assert.equal(ran.code, 6, ran.stderr);
  assert.match(ran.stderr, /the loss is not finite at step \d+, learning rate 1e\+30/);
  assert.equal(JSON.parse(fs.readFileSync(path.join(folder, 'runs/bad/r/status.json'), 'utf8')).state, 'failed');
  assert.match(fs.readFileSync(path.join(folder, 'runs/bad/r/results.csv'), 'utf8'), /^row,epoch,/);
});

test('eval of a folder that is no run, and of a checkpoint without a fitting head, is refused', () => {
  const folder = workingFolder();
  assert.equal(gqa(['train', '--config', 'config.yaml', '--run-name', 'r'], folder).code, 0);
  const before = snapshot(folder);
  const noRun = gqa(['eval', 'data'], folder);
  assert.deepEqual([noRun.code, /data: not a run folder/.test(noRun.stderr)], [2, true]);
  const checkpoint = 'runs/bad/r/checkpoints/best/model.safetensors';
  const otherHeads = gqa(
    ['eval', '--checkpoint', checkpoint, '--config', 'config.yaml', '--set', 'model.heads=2'],
    folder,
  );
  assert.deepEqual(
    [otherHeads.code, /holds 4 heads with 4 KV heads \(mha\); the config wants 2 heads/.test(otherHeads.stderr)],
    [2, true],
  );
  assert.deepEqual(snapshot(folder), before);
});
