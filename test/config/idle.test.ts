/** Keys that change nothing: reported where a file has them, refused where `--set` asks for them. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { type ConfigCommand, requireEffect } from '../../src/config/idle.js';
import { dumpConfig, parseConfig, readConfig } from '../../src/config/load.js';
import { GqaError } from '../../src/errors.js';

const base = 'data: { name: cifar10 }\nmodel: { size: micro, variant: gqa, kv_heads: 4 }\n';
const mha = ['model.variant=mha', 'model.kv_heads=null'];

function refused(command: ConfigCommand, text: string, sets: string[] = []): string {
  try {
    requireEffect('x.yaml', [parseConfig(text, 'x.yaml', sets)], command);
  } catch (error) {
    assert.ok(error instanceof GqaError && error.code === 'usage', String((error as Error).stack));
    return error.message;
  }
  return assert.fail(`${sets.join(' ')} was accepted`);
}

const reported = (command: ConfigCommand, text: string, sets: string[] = []) =>
  requireEffect('x.yaml', [parseConfig(text, 'x.yaml', sets)], command);

/** A key, why it has no effect in `base`, and what gives it one. */
const keys: [key: string, value: string, reason: RegExp, effect: string[]][] = [
  ['model.window_size', '50', /variant gqa has no window/, ['model.variant=dgqa-diff']],
  ['model.window_size', '50', /variant gqa has no window/, ['model.variant=dgqa-ema']],
  ['model.calibration_images', '9', /variant gqa allocates nothing/, ['model.variant=kdgqa']],
  ['model.eval_allocation', 'batch', /variant gqa allocates nothing/, ['model.variant=dgqa-ema']],
  ['model.eval_noise', 'off', /variant gqa has no noise/, ['model.variant=pgqa']],
  ['data.cache_gb', '3', /no data\.cache is named/, ['data.cache=images']],
  [
    'train.distill_weight',
    '0.9',
    /there is no teacher: name one by train\.distill_from/,
    ['train.distill_from=t.safetensors'],
  ],
  [
    'train.distill_temperature',
    '4',
    /there is no teacher: name one by train\.distill_from/,
    ['train.distill_from=t.safetensors'],
  ],
];

test('a key without effect is refused from --set, reported or refused from a file, and accepted where it has one', () => {
  for (const [key, value, reason, effect] of keys) {
    const set = `${key}=${value}`;
    const message = refused('train', base, [set]);
    assert.match(message, new RegExp(`^--set ${set}: ${key} is .*${value}.*, but ${reason.source}: it has no effect$`));
    assert.deepEqual(reported('train', base, [...effect, set]), [], set);
  }
});

const inFile = (key: string, value: string, text = base): string => {
  const [section, name] = key.split('.');
  const with_ = text.replace(`${section}: { `, `${section}: { ${name}: ${value}, `);
  return with_ === text ? `${text}${section}: { ${name}: ${value} }\n` : with_;
};

test('in a file, what is not for its own variant is refused, as is a distillation without a teacher; a flag’s variant excuses it', () => {
  for (const [key, value, reason] of keys) {
    const text = inFile(key, value);
    if (/^(train\.distill|model\.)/.test(key)) assert.match(refused('train', text), reason);
    if (!key.startsWith('train.distill')) {
      const notices = reported('train', text, ['model.variant=gqa']);
      assert.equal(notices.length, 1, key);
      assert.match(
        notices[0] ?? '',
        new RegExp(`^x\\.yaml:\\d+:\\d+ ${key} is .*, but ${reason.source}: it has no effect$`),
      );
    }
    for (const command of ['eval', 'convert', 'bench step', 'bench data', 'data preview'] as const)
      assert.deepEqual(reported(command, text), [], key);
  }
});

test('the same under protocol paper, with a learning rate of 0, and with the teacher alone in the loss', () => {
  const paper = inFile('train.protocol', 'paper');
  assert.match(refused('train', paper, ['data.val_fraction=0.2']), /train\.protocol paper has no validation part/);
  assert.match(reported('train', inFile('data.val_fraction', '0.2', paper)).join(), /data\.val_fraction is 0\.2, but/);
  assert.match(
    refused('train', base, ['train.lr=0', 'train.warmup_steps=3']),
    /train\.warmup_steps is 3, but train\.lr is 0/,
  );
  const teacher = ['train.distill_from=t.safetensors', 'train.distill_weight=1'];
  assert.match(
    refused('train', base, [...teacher, 'train.label_smoothing=0.1']),
    /train\.distill_weight 1 leaves the labels out of the loss/,
  );
  assert.deepEqual(reported('train', base, ['train.lr=0', 'train.warmup_steps=0']), []);
});

test('all of them come at once, and a key at its default never counts', () => {
  assert.match(
    refused('train', base, ['model.window_size=50', 'train.distill_weight=0.9']),
    /2 problems\n--set model\.window_size=50.*\n--set train\.distill_weight=0\.9/,
  );
  const defaults = [
    'model.window_size=300',
    'model.eval_noise=fixed',
    'data.cache_gb=20',
    'train.distill_weight=0.5',
    'train.distill_temperature=1',
  ];
  assert.deepEqual(reported('train', base, [...defaults, ...mha]), []);
});

test('in a sweep a key has an effect when one of its points has it', () => {
  const points = (variants: string[], sets: string[] = [], text = base) =>
    variants.map((variant) => parseConfig(text, 'x.yaml', [...sets, `model.variant=${variant}`]));
  const set = ['model.window_size=50'];
  assert.deepEqual(requireEffect('x.yaml', points(['gqa', 'dgqa-ema'], set), 'sweep'), []);
  assert.throws(() => requireEffect('x.yaml', points(['gqa', 'pgqa'], set), 'sweep'), /window/);
  const text = inFile('model.window_size', '50');
  assert.deepEqual(requireEffect('x.yaml', points(['gqa', 'dgqa-ema'], [], text), 'sweep'), []);
  assert.equal(requireEffect('x.yaml', points(['gqa', 'pgqa'], [], text), 'sweep').length, 1);
});

/** What a command does not use, by `--set` alone. */
const unused: [command: ConfigCommand, set: string, message: RegExp][] = [
  ['eval', 'train.lr=1', /gqa eval measures the checkpoint it is given, and trains nothing: it has no effect$/],
  ['eval', 'train.distill_from=t.safetensors', /gqa eval/],
  ['eval', 'data.mixup=0.8', /gqa eval/],
  ['eval', 'model.pretrained=x.safetensors', /gqa eval measures the checkpoint it is given/],
  ['convert', 'train.lr=1', /gqa convert reads the checkpoint it is given, and trains nothing/],
  ['convert', 'model.pretrained=x.safetensors', /gqa convert/],
  ['convert', 'model.window_size=3', /gqa convert/],
  ['convert', 'train.epochs=1', /gqa convert/],
  ['bench step', 'model.pretrained=x.safetensors', /gqa bench step runs fresh weights on synthetic images/],
  ['bench step', 'data.augment=paper', /gqa bench step/],
  ['bench step', 'data.limit={train: 3}', /gqa bench step/],
  ['bench step', 'train.lr=1', /gqa bench step/],
  ['bench data', 'train.lr=1', /gqa bench data measures the input pipeline alone/],
  ['bench data', 'model.variant=mqa', /gqa bench data/],
  ['data preview', 'data.limit.train=3', /gqa data preview shows training images alone/],
  ['data preview', 'train.batch_size=3', /gqa data preview/],
];

test('--set of a key that the command does not use is refused; in the file it is for another command', () => {
  const plain = 'data: { name: cifar10 }\nmodel: { size: micro }\n';
  for (const [command, set, message] of unused) {
    assert.match(refused(command, plain, [set]), message, set);
    const [key = '', value = ''] = set.split('=');
    if (key.split('.').length === 2) assert.deepEqual(reported(command, inFile(key, value, plain)), [], set);
  }
  const used: [ConfigCommand, string[]][] = [
    [
      'eval',
      [
        'data.root=x',
        'data.limit=3',
        'eval.batch_size=3',
        'train.precision=float16',
        'train.protocol=paper',
        'model.eval_noise=fixed',
        'seed=3',
      ],
    ],
    ['convert', ['model.variant=mqa', 'seed=3']],
    [
      'bench step',
      [
        'data.mixup=0.8',
        'train.precision=float16',
        'train.recompute=blocks',
        'train.batch_size=3',
        'model.variant=mqa',
        'device=cpu',
      ],
    ],
    [
      'bench data',
      [
        'data.augment=paper',
        'data.workers=3',
        'data.limit=30',
        'train.batch_size=3',
        'data.cache=x',
        'data.random_erasing=0.5',
      ],
    ],
    ['data preview', ['data.augment=paper', 'data.random_erasing=0.5', 'data.root=x', 'seed=3']],
  ];
  for (const [command, sets] of used) assert.deepEqual(reported(command, plain, sets), [], command);
});

test('a config that gqa wrote is read again without a word, whatever it holds', () => {
  const sets = ['model.window_size=50', 'data.cache_gb=3', 'train.distill_weight=0.9'];
  const written = dumpConfig(parseConfig(base, 'x.yaml', sets).config);
  assert.deepEqual(reported('train', written), []);
  assert.deepEqual(reported('train', written, ['model.variant=pgqa']), []);
  assert.match(refused('train', written, ['model.window_size=60']), /has no window/);
  assert.equal(written.split('\n')[0]?.startsWith('# Written by gqa'), true);
});

test("the project's own configs are reported nothing in the sweeps and runs that they are for", () => {
  for (const name of readdirSync('configs').filter((name) => name.endsWith('.yaml') && name !== 'cifar10-micro.yaml')) {
    assert.deepEqual(requireEffect(name, [readConfig(path.join('configs', name), [])], 'train'), [], name);
  }
  const micro = ['mha', 'gqa', 'kdgqa', 'dgqa-ema', 'pgqa'].map((variant) =>
    readConfig('configs/cifar10-micro.yaml', [
      `model.variant=${variant}`,
      ...(variant === 'mha' ? ['model.kv_heads=null'] : []),
    ]),
  );
  assert.deepEqual(requireEffect('cifar10-micro.yaml', micro, 'sweep'), []);
});
