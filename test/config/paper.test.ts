import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../../src/config/load.js';
import { GqaError } from '../../src/errors.js';

/** The file of the paper's README, word for word. */
const readme = `dataset: 					# 'cifar10' # one of {cifar10, cifar100, food101, tiny-imagenet-200}
in_chans: 3
size: 'b'					# one of {s,b,l}
att_scheme: 'gqa'				# one of {gqa, kdgqa, dgqa_diff, dgqa_ema, pgqa}
num_classes: 10
pretrained: True
window_size: 300
num_kv_heads: 6					# dependent on the model size, and its number of heads
out_dir: "cifar10-base-gqa-pretrained"		# directory to which the outputs are saved
`;
const filled = readme.replace("dataset: 					# 'cifar10'", "dataset: 'cifar10'");

const parse = (text: string, sets: string[] = []) => parseConfig(text, 'p.yaml', sets);

function refused(text: string, sets: string[] = []): GqaError {
  try {
    parse(text, sets);
  } catch (error) {
    assert.ok(error instanceof GqaError, String((error as Error).stack));
    assert.equal(error.code, 'usage');
    return error;
  }
  return assert.fail('the config was accepted');
}

test("the README's file implies what train.py hard-codes", () => {
  const { config, notices } = parse(filled, ['model.pretrained=vit.safetensors']);
  assert.deepEqual(notices, []);
  assert.equal(config.name, 'cifar10-base-gqa-pretrained');
  assert.equal(config.seed, 42);
  const { name, augment } = config.data;
  assert.deepEqual({ name, augment }, { name: 'cifar10', augment: 'paper' });
  const { size, variant, kvHeads, windowSize, pretrained, heads } = config.model;
  assert.deepEqual(
    { size, variant, kvHeads, windowSize, pretrained, heads },
    { size: 'base', variant: 'gqa', kvHeads: 6, windowSize: 300, pretrained: 'vit.safetensors', heads: 12 },
  );
  const { protocol, epochs, batchSize, optimizer, lr, weightDecay, schedule } = config.train;
  assert.deepEqual(
    { protocol, epochs, batchSize, optimizer, lr, weightDecay, schedule },
    {
      protocol: 'paper',
      epochs: 5,
      batchSize: 32,
      optimizer: 'adamw',
      lr: 1e-5,
      weightDecay: 0.01,
      schedule: 'constant',
    },
  );
});

test('pretrained: true without a file is refused with what to do', () => {
  const error = refused(filled);
  assert.match(error.message, /^p\.yaml:6:13 pretrained is true, but nothing is downloaded here/);
  assert.match(error.hint ?? '', /--set model\.pretrained=FILE/);
});

test('pretrained: true and one more problem are reported together, in the words of the flat file', () => {
  assert.deepEqual(refused(filled.replace('num_kv_heads: 6', 'num_kv_heads: 5')).message.split('\n').slice(1), [
    'p.yaml:6:13 pretrained is true, but nothing is downloaded here: the file of the weights must be named',
    'p.yaml:8:15 num_kv_heads is 5, but must divide heads (12): 1, 2, 3, 4, 6 or 12',
  ]);
});

test('an empty dataset, as the README prints it, is named', () => {
  assert.match(
    refused(readme).message,
    /p\.yaml:1:15 dataset is null, expected one of cifar10, cifar100, food101, tiny-imagenet-200, mnist/,
  );
});

test('every scheme, size and data set of the paper has its name here', () => {
  const base = (keys: Record<string, string>) =>
    parse(
      Object.entries({
        dataset: 'cifar10',
        size: 's',
        att_scheme: 'gqa',
        pretrained: 'False',
        num_kv_heads: '3',
        ...keys,
      })
        .map(([key, value]) => `${key}: ${value}`)
        .join('\n'),
    ).config;
  const schemes = {
    mhsa: 'mha',
    gqa: 'gqa',
    kdgqa: 'kdgqa',
    dgqa_diff: 'dgqa-diff',
    dgqa_ema: 'dgqa-ema',
    pgqa: 'pgqa',
  };
  for (const [theirs, ours] of Object.entries(schemes)) assert.equal(base({ att_scheme: theirs }).model.variant, ours);
  for (const [theirs, ours] of Object.entries({ s: 384, b: 768, l: 1024 }))
    assert.equal(base({ size: theirs, num_kv_heads: '1' }).model.embedDim, ours);
  for (const [theirs, ours] of Object.entries({
    cifar100: 'cifar100',
    food101: 'food101',
    'tiny-imagenet-200': 'tiny-imagenet',
    mnist: 'mnist',
    oxfordiitpet: 'oxford-pet',
    cinic10: 'cinic10',
    'imagenet-1k': 'imagenet',
  })) {
    assert.equal(base({ dataset: theirs }).data.name, ours);
  }
  const custom = base({ size: 'c', embed_dim: '48', num_layers: '2', num_heads: '3' }).model;
  assert.deepEqual(
    [custom.size, custom.imageSize, custom.patchSize, custom.depth, custom.kvHeads],
    ['custom', 224, 16, 2, 3],
  );
  assert.equal(base({ pretrained: 'False' }).model.pretrained, null);
  assert.equal(base({ pretrained: 'w.safetensors' }).model.pretrained, 'w.safetensors');
  assert.equal(base({}).name, 'p');
});

test('num_kv_heads beside mhsa is ignored as in the paper, and grey images are said to become three channels', () => {
  const { config, notices } = parse(
    'dataset: mnist\nsize: s\natt_scheme: mhsa\npretrained: False\nnum_kv_heads: 2\nin_chans: 1\nnum_classes: 10\n',
  );
  assert.equal(config.model.kvHeads, 6);
  assert.equal(notices.length, 2);
  assert.match(notices.join('\n'), /in_chans: 1 is read as 3[\s\S]*num_kv_heads: 2 is ignored/);
});

test('a sweep over an mhsa file can choose another variant, for which num_kv_heads counts', () => {
  const { config } = parse('dataset: mnist\nsize: s\natt_scheme: mhsa\npretrained: False\nnum_kv_heads: 2\n', [
    'model.variant=gqa',
  ]);
  assert.deepEqual([config.model.variant, config.model.kvHeads], ['gqa', 2]);
});

test('values that do not fit the data set, the model or the form are refused', () => {
  const base = 'dataset: cifar10\nsize: s\natt_scheme: gqa\npretrained: False\nnum_kv_heads: 3\n';
  const cases: [string, RegExp][] = [
    [`${base}num_classes: 100\n`, /^p\.yaml:6:14 num_classes is 100, but cifar10 has 10$/],
    [`${base}in_chans: 1\n`, /in_chans is 1, but the images of cifar10 have 3 channels/],
    [`${base}in_chans: 4\n`, /in_chans is 4, expected 3 or 1/],
    [base.replace('cifar10', 'cinic'), /dataset is "cinic", expected one of .*did you mean cinic10\?/],
    [base.replace('gqa', 'dgqa-ema'), /att_scheme is "dgqa-ema".*did you mean dgqa_ema\?/],
    [
      base.replace('size: s', 'size: c'),
      /embed_dim is missing: size c \(custom\) needs embed_dim, num_layers and num_heads/,
    ],
    [base.replace('size: s', 'size: x'), /size is "x", expected one of s, b, l, c$/],
    [
      base.replace('num_kv_heads', 'num_kv_head'),
      /p\.yaml:5:1 num_kv_head is not a known key: did you mean num_kv_heads\?/,
    ],
    [base.replace('pretrained: False\n', ''), /pretrained is missing, expected true, false or the path/],
    [`${base}lr: 1e-4\n`, /lr is not a known key: .*--set train\.lr=/],
    [`${base}out_dir: ../..\n`, /out_dir is "\.\.", expected a folder name/],
  ];
  for (const [text, expected] of cases) assert.match(refused(text).message, expected);
});

test('flat and nested keys in one file are refused, each flat key with the nested one to write', () => {
  const { message } = refused('data: { name: cifar10 }\nmodel: { size: micro }\nsize: b\nin_chans: 3\n');
  assert.deepEqual(message.split('\n').slice(1), [
    "p.yaml:3:1 size is a key of the paper's flat files and cannot stand beside data, model: write model.size instead",
    "p.yaml:4:1 in_chans is a key of the paper's flat files and cannot stand beside data, model: leave it out",
  ]);
});

test('--set changes what the paper implies', () => {
  const { config } = parse(filled, [
    'model.pretrained=null',
    'train.epochs=1',
    'data.augment=light',
    'model.kv_heads=3',
    'seed=1',
  ]);
  assert.deepEqual(
    [config.train.epochs, config.data.augment, config.model.kvHeads, config.seed, config.model.pretrained],
    [1, 'light', 3, 1, null],
  );
});
