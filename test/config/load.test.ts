import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { dumpConfig, loadConfig, parseConfig } from '../../src/config/load.js';
import { dataNames, deviceNames } from '../../src/config/names.js';
import { modelSizes } from '../../src/config/schema.js';
import { GqaError } from '../../src/errors.js';
import { VARIANTS } from '../../src/model/variants.js';
import { draws } from '../../src/random.js';

const parse = (text: string, sets: string[] = []) => parseConfig(text, 'x.yaml', sets).config;

/** The problems, a line each; without the heading that counts them. */
function problems(text: string, sets: string[] = []): string[] {
  try {
    parse(text, sets);
  } catch (error) {
    assert.ok(error instanceof GqaError, String((error as Error).stack));
    assert.equal(error.code, 'usage');
    const lines = error.message.split('\n');
    return lines.length === 1 ? lines : lines.slice(1);
  }
  return assert.fail('the config was accepted');
}

const minimal = 'data: { name: cifar10 }\nmodel: { size: micro }\n';

test('a config that names data and size gets every default of the schema', () => {
  assert.deepEqual(parse(minimal), {
    name: 'x',
    seed: 42,
    device: 'auto',
    data: {
      name: 'cifar10',
      root: 'datasets',
      labels: 'fine',
      valIs: 'validation',
      limit: { train: null, val: null, test: null },
      valFraction: 0.1,
      augment: 'light',
      mean: null,
      std: null,
      resize: null,
      cropPct: null,
      interpolation: null,
      workers: 'auto',
      randomErasing: 0,
      mixup: null,
      cutmix: null,
      onBadImage: 'warn',
      maxPixels: 50_000_000,
      timeoutS: 60,
      cache: null,
      cacheGb: 20,
    },
    model: {
      size: 'micro',
      pretrained: null,
      variant: 'mha',
      windowSize: 300,
      calibrationImages: 512,
      evalAllocation: 'frozen',
      evalNoise: 'fixed',
      grouping: 'neighbours',
      merge: 'mean',
      groupValues: 'with_keys',
      search: 'auto',
      kvBudget: null,
      refit: 'none',
      calibrateOn: 'mha',
      imageSize: 32,
      patchSize: 4,
      embedDim: 192,
      depth: 4,
      heads: 12,
      mlpRatio: 4,
      kvHeads: 12,
    },
    train: {
      protocol: 'validation',
      epochs: 5,
      steps: null,
      batchSize: 32,
      optimizer: 'adamw',
      lr: 1e-5,
      weightDecay: 0.01,
      beta1: 0.9,
      beta2: 0.999,
      eps: 1e-8,
      schedule: 'constant',
      warmupSteps: 0,
      labelSmoothing: 0,
      clipGrad: null,
      gradAccumSteps: 1,
      emaDecay: null,
      emaWarmup: true,
      freeze: 'none',
      distillFrom: null,
      distill: 'logits',
      distillFeatures: 'cosine',
      distillWeight: 0.5,
      distillTemperature: 1,
      precision: 'float32',
      tensorboard: false,
      compiler: 'auto',
      recompute: 'none',
      logEvery: 10,
      checkpointEvery: { minutes: 10 },
      keep: 1,
      onNan: 'stop',
    },
    eval: { batchSize: 64 },
  });
});

test('every problem is reported at once, in the order of the file and then of the flags', () => {
  const text = [
    'sed: 3',
    'data: { name: cifar1, limt: 3, workers: 100, limit: { train: a, tst: 3 } }',
    'model:',
    '  size: base',
    '  variant: gqa',
    '  kv_heads: 5',
    '  heads: 8',
    'train: { lr: "1e-4", epochs: 1.5, label_smoothing: 1, eps: 0 }',
    'model.kv_heads: 3',
  ].join('\n');
  assert.deepEqual(problems(text, ['train.beta1=1', 'foo.bar=1', 'train.log_every']), [
    'x.yaml:1:1 sed is not a known key: did you mean seed?',
    'x.yaml:2:15 data.name is "cifar1", expected one of fashion-mnist, mnist, cifar10, cifar100, food101, tiny-imagenet, cinic10, imagenet, oxford-pet, image-folder; did you mean cifar10?',
    'x.yaml:2:23 data.limt is not a known key: did you mean limit?',
    'x.yaml:2:41 data.workers is 100, expected a whole number from 0 to 64 or auto',
    'x.yaml:2:62 data.limit.train is the text "a", expected a whole number of at least 1 or null',
    'x.yaml:2:65 data.limit.tst is not a known key: did you mean test?',
    'x.yaml:6:13 model.kv_heads is 5, but must divide heads (12): 1, 2, 3, 4, 6 or 12',
    'x.yaml:7:10 model.heads is 8, but size base has 12: use size custom to choose it',
    'x.yaml:8:14 train.lr is the text "1e-4", expected a number of at least 0 (without quotes)',
    'x.yaml:8:30 train.epochs is 1.5, expected a whole number from 0 to 1000000',
    'x.yaml:8:52 train.label_smoothing is 1, expected a number of at least 0 and below 1',
    'x.yaml:8:60 train.eps is 0, expected a number above 0',
    'x.yaml:9:1 model.kv_heads is not a known key: write kv_heads inside model',
    '--set train.beta1=1: train.beta1 is 1, expected a number of at least 0 and below 1',
    '--set foo.bar=1: foo.bar is not a known key',
    '--set train.log_every: has no "=": expected --set key=value, e.g. --set train.lr=1e-4',
  ]);
});

test('mean and std are three numbers of pixels of 0 to 1 each, and a part belongs to a crop', () => {
  const text = (data: string): string => `data: { name: cifar10, ${data} }\nmodel: { size: micro }\n`;
  const three = 'expected three numbers from 0 to 1 (red, green, blue; of pixels of 0 to 1) or null';
  const cases: [data: string, problem: string][] = [
    ['mean: [0.4, 0.5]', `x.yaml:1:30 data.mean is [0.4, 0.5], ${three}`],
    ['mean: 0.5', `x.yaml:1:30 data.mean is 0.5, ${three}`],
    ['mean: [123.675, 116.28, 103.53]', `x.yaml:1:30 data.mean is [123.675, 116.28, 103.53], ${three}`],
    ['mean: [0.4, 0.5, red]', `x.yaml:1:30 data.mean is a list, ${three}`],
    [
      'std: [0, 0.5, 0.5]',
      'x.yaml:1:29 data.std is [0, 0.5, 0.5], expected three numbers above 0 and of at most 1 (red, green, blue; of pixels of 0 to 1) or null',
    ],
    ['resize: border', 'x.yaml:1:32 data.resize is "border", expected one of squash, crop or null'],
    [
      'interpolation: lanczos',
      'x.yaml:1:39 data.interpolation is "lanczos", expected one of bilinear, bicubic or null',
    ],
    [
      'resize: crop, crop_pct: 1.5',
      'x.yaml:1:48 data.crop_pct is 1.5, expected a number above 0 and of at most 1 or null',
    ],
    [
      'resize: squash, crop_pct: 0.9',
      'x.yaml:1:50 data.crop_pct is 0.9, but data.resize is squash: only resize crop has it',
    ],
  ];
  for (const [data, problem] of cases) assert.deepEqual(problems(text(data)), [problem]);
  const { config } = parseConfig(text('resize: crop, crop_pct: 0.9, interpolation: bicubic'), 'x.yaml', [
    'data.mean=[0.485, 0.456, 0.406]',
  ]);
  assert.deepEqual([config.data.mean, config.data.cropPct], [[0.485, 0.456, 0.406], 0.9]);
  assert.deepEqual(parseConfig(dumpConfig(config), 'x.yaml', []).config, config);
});

test('a misspelt or misplaced key is answered with the one that was meant', () => {
  const suggestions: [string, RegExp][] = [
    ['lr: 1', /lr is not a known key: did you mean train\.lr\?/],
    ['train: { batchSize: 1 }', /train\.batchSize is not a known key: did you mean batch_size\?/],
    ['train: { learning_rate: 1 }', /did you mean train\.lr\?/],
    ['batch_size: 1', /did you mean train\.batch_size or eval\.batch_size\?/],
    ['constructor: 1', /constructor is not a known key: a config has name, seed/],
  ];
  for (const [line, expected] of suggestions) assert.match(problems(minimal + line).join('\n'), expected);
});

test('files that are no config are refused with their place', () => {
  const refused: [string, RegExp][] = [
    ['', /^x\.yaml:1:1 the file is empty/],
    ['# only a comment\n', /^x\.yaml:1:1 the file is empty/],
    ['- a\n', /^x\.yaml:1:1 the file holds a list/],
    ['data:\n\tname: cifar10\n', /^x\.yaml:2:1 a tab cannot indent/],
    [`${minimal}---\n${minimal}`, /^x\.yaml:3:1 a second document starts here/],
    ['data: [1\nmodel: 2', /^x\.yaml:1:7 this \[ is not closed$/],
    [`${minimal}seed: *none\n`, /^x\.yaml:3:7 \*none has no anchor/],
    [`base: &base { a: 1 }\n<<: *base\n${minimal}`, /x\.yaml:2:1 merge keys \(<<\) are not read/],
    [`${minimal}__proto__: { seed: 1 }\n`, /^x\.yaml:3:1 __proto__ is not a key/],
    [`${minimal}? [a]\n: 1\n`, /a key must be a plain word/],
    [
      'data: { name: cifar10 }\nmodel: { size: micro }\nseed: 1\nseed: 2\n',
      /^x\.yaml:4:1 seed is given twice; the first time at x\.yaml:3:1/,
    ],
    ['data: { name: cifar10 }\nmodel: 3\n', /^x\.yaml:2:8 model is 3, expected a mapping of keys/],
    [`${minimal}seed: .nan\n`, /^x\.yaml:3:7 seed is NaN, expected a whole number/],
    [`${minimal}name: ../x\n`, /^x\.yaml:3:7 name is "\.\.\/x", expected a folder name/],
    [`${minimal}name: NUL\n`, /^x\.yaml:3:7 name is "NUL", expected a folder name/],
    [`${minimal}name: 2024\n`, /^x\.yaml:3:7 name is 2024, expected a folder name .*\(in quotes\)/],
    [`${minimal}name: "a\\e[31m"\n`, /name is "a\\u001b\[31m"/],
  ];
  for (const [text, expected] of refused) assert.match(problems(text).join('\n'), expected);
});

test('aliases that multiply into millions of values are refused without being expanded', () => {
  const levels = ['a: &a [x, x, x, x, x, x, x, x, x]'];
  for (let i = 1; i < 12; i++) {
    const [name, before] = [String.fromCharCode(97 + i), String.fromCharCode(96 + i)];
    levels.push(`${name}: &${name} [${Array(9).fill(`*${before}`).join(', ')}]`);
  }
  assert.match(problems(levels.join('\n')).join('\n'), /is too large: more than 10000 values/);
  assert.match(problems('a: &a [*a]').join('\n'), /is too large/);
});

test('a byte order mark and plain aliases are read', () => {
  assert.equal(parse(`\ufeff${minimal}`).data.name, 'cifar10');
  assert.deepEqual(parse('data: { name: cifar10, limit: &n 7 }\nmodel: { size: micro }\nseed: *n\n').seed, 7);
});

test('1e-4 is a number, and null, hexadecimal and signed numbers are as YAML 1.2 has them', () => {
  const config = parse(`${minimal}seed: 0x10\ntrain: { lr: 1e-4, steps: ~, eps: +.5 }\n`);
  assert.deepEqual([config.train.lr, config.train.steps, config.train.eps, config.seed], [1e-4, null, 0.5, 16]);
});

test('--set wins over the file, the last one of a key over the others, and its values are YAML', () => {
  const config = parse(`${minimal}train: { lr: 1 }\n`, [
    'train.lr=2',
    'train.lr=5e-4',
    'data.limit={train: 3, test: 4}',
    'name="7"',
    'model.pretrained=a=b.safetensors',
  ]);
  assert.deepEqual(
    [config.train.lr, config.data.limit, config.name, config.model.pretrained],
    [5e-4, { train: 3, val: null, test: 4 }, '7', 'a=b.safetensors'],
  );
});

test('--set of one split leaves the other split as the file limits both', () => {
  assert.deepEqual(
    parse('data: { name: cifar10, limit: 100 }\nmodel: { size: micro }', ['data.limit.test=5']).data.limit,
    {
      train: 100,
      val: 100,
      test: 5,
    },
  );
  assert.deepEqual(parse(minimal, ['data.limit.test=5']).data.limit, { train: null, val: null, test: 5 });
});

test('--set refuses what is no key=value of a known key, and changes no prototype', () => {
  const refused: [string, RegExp][] = [
    ['train.lr', /^--set train\.lr: has no "="/],
    ['train.lr=', /^--set train\.lr=: has no value after "="/],
    ['train=1', /^--set train=1: train is a section: set one of its keys/],
    ['train.lrr=1', /^--set train\.lrr=1: train\.lrr is not a known key: did you mean lr\?/],
    ['kv_heads=1', /kv_heads is not a known key: did you mean model\.kv_heads\?/],
    ['__proto__.polluted=1', /__proto__\.polluted is not a known key/],
    ['constructor.prototype.polluted=1', /constructor\.prototype\.polluted is not a known key/],
    ['data.limit.0=1', /data\.limit\.0 is not a known key/],
    ['train.lr=[', /the value "\[" is not YAML/],
    ['train.lr=*a', /holds an alias/],
    ['a\nb=1', /^--set a\\nb=1: "a\\nb" is not a known key/],
    ['=1', /is not a known key/],
  ];
  for (const [set, expected] of refused) assert.match(problems(minimal, [set]).join('\n'), expected);
  assert.equal(({} as Record<string, unknown>).polluted, undefined);
});

test('rules between keys: heads, KV heads, patches, sizes, warm-up, validation', () => {
  const model = (text: string) => problems(`data: { name: cifar10 }\nmodel: { ${text} }\n`).join('\n');
  assert.match(
    model('size: small, variant: gqa, kv_heads: 5'),
    /^x\.yaml:2:47 model\.kv_heads is 5, but must divide heads \(6\): 1, 2, 3 or 6$/,
  );
  assert.match(
    model('size: small, variant: gqa, kv_heads: 0'),
    /model\.kv_heads is 0, expected a whole number from 1 to 1024 or null/,
  );
  assert.match(
    model('size: small, variant: gqa'),
    /model\.kv_heads is missing: variant gqa needs it, a divisor of heads \(6\)/,
  );
  assert.match(model('size: small, kv_heads: 3'), /model\.kv_heads is 3, but variant mha has 6: leave it out/);
  assert.match(model('size: small, variant: mqa, kv_heads: 3'), /model\.kv_heads is 3, but variant mqa has 1/);
  assert.match(model('size: small, depth: 3'), /model\.depth is 3, but size small has 12/);
  assert.match(
    model('size: custom, heads: 5, embed_dim: 12, image_size: 30, patch_size: 4'),
    /heads is 5, but must divide embed_dim \(12\)/,
  );
  assert.match(
    model('size: custom, heads: 5, embed_dim: 12, image_size: 30, patch_size: 4'),
    /patch_size is 4, but must divide image_size \(30\)/,
  );
  assert.match(
    model('size: custom, heads: 5, embed_dim: 12, image_size: 30, patch_size: 4'),
    /model\.depth is missing: size custom needs it/,
  );
  assert.match(
    problems(minimal, ['train.steps=3', 'train.warmup_steps=3']).join(),
    /train\.warmup_steps is 3, but training stops after 3 steps/,
  );
  assert.match(problems(minimal, ['data.limit=1']).join(), /data\.limit leaves 1 training image/);
  assert.equal(parse(minimal, ['data.limit=1', 'train.protocol=paper']).data.limit.train, 1);
  assert.match(
    problems(minimal, ['data.cutmix=1', 'train.batch_size=1']).join(),
    /data\.cutmix is 1, but train\.batch_size is 1: an image alone has no partner/,
  );
  assert.match(problems(minimal, ['data.mixup=0']).join(), /data\.mixup is 0, expected .* null/);
});

test('mha and mqa find their KV heads; said rightly they may also be written', () => {
  assert.equal(parse(minimal, ['model.variant=mqa']).model.kvHeads, 1);
  assert.equal(parse(minimal, ['model.variant=mqa', 'model.kv_heads=1']).model.kvHeads, 1);
  assert.equal(parse(minimal, ['model.kv_heads=12']).model.kvHeads, 12);
  assert.equal(parse(minimal, ['model.kv_heads=3', 'model.kv_heads=null']).model.kvHeads, 12);
});

test('a config file that is missing, a folder, or no text is named, and its folder left as it is', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'gqa-load-'));
  writeFileSync(path.join(folder, 'food-small.yaml'), Buffer.from([0xff, 0xfe, 0x61, 0x00]));
  const refused = (file: string, message: RegExp, hint?: RegExp) =>
    assert.throws(
      () => loadConfig(path.join(folder, file), []),
      (error) =>
        error instanceof GqaError &&
        error.code === 'usage' &&
        message.test(error.message) &&
        (hint?.test(error.hint ?? '') ?? true),
    );
  refused('food-smal.yaml', /config .*food-smal\.yaml does not exist/, /Did you mean .*food-small\.yaml\?/);
  refused('none/x.yaml', /does not exist/);
  refused('.', /is a folder/);
  refused('food-small.yaml', /is not UTF-8 text/);
  assert.deepEqual(readdirSync(folder), ['food-small.yaml']);
});

test('coarse labels are those of CIFAR-100 alone', () => {
  assert.equal(parse('data: { name: cifar100, labels: coarse }\nmodel: { size: micro }\n').data.labels, 'coarse');
  assert.deepEqual(problems('data: { name: cifar10, labels: coarse }\nmodel: { size: micro }\n'), [
    'x.yaml:1:32 data.labels is coarse, but only cifar100 has coarse labels (data.name is cifar10)',
  ]);
});

test('what dumpConfig writes, loadConfig reads back as the same config', () => {
  for (let i = 0; i < 300; i++) {
    const next = draws(7, 'dump', i).uniform;
    const pick = <T>(items: readonly T[]): T => items[Math.floor(next() * items.length)] as T;
    const size = pick(['micro', 'small', 'base', 'large', 'custom'] as const);
    const heads = size === 'custom' ? 6 : modelSizes[size].heads;
    const variant = pick(Object.keys(VARIANTS));
    const dataName = pick(dataNames);
    const kvHeads = variant === 'mha' || variant === 'mqa' ? null : pick([1, 2, heads]);
    const sets = [
      `name=${JSON.stringify(pick(['a', '007', 'true', 'null', '1e5', 'a.b-c_d']))}`,
      `seed=${Math.floor(next() * 2 ** 32)}`,
      `device=${pick(deviceNames)}`,
      `data.name=${dataName}`,
      `data.root=${JSON.stringify(pick(['datasets', '~/a b', '#x', 'C:\\d', ' ', 'ä: *b', 'a\nb', '\u0007']))}`,
      `data.limit=${pick(['null', '20', '{train: 5, test: null}'])}`,
      ...(dataName === 'cifar100' ? [`data.labels=${pick(['fine', 'coarse'])}`] : []),
      `data.val_fraction=${next() * 0.98 + 0.01}`,
      `data.workers=${pick(['auto', '0', '3'])}`,
      `model.size=${size}`,
      ...(size === 'custom'
        ? [
            'model.image_size=30',
            'model.patch_size=5',
            'model.embed_dim=36',
            'model.depth=3',
            'model.heads=6',
            'model.mlp_ratio=2.5',
          ]
        : []),
      `model.variant=${variant}`,
      `model.kv_heads=${kvHeads}`,
      `model.pretrained=${pick(['null', '"null"', '"1"', 'a.safetensors'])}`,
      `train.lr=${pick([0, 1e-5, 1e-300, 0.1 + 0.2, next() * 1e-6, 12345678901234])}`,
      `train.eps=${pick([1e-8, 5e-324, next()])}`,
      `train.steps=${pick(['null', '500'])}`,
      `train.schedule=${pick(['constant', 'cosine', 'linear'])}`,
    ];
    const config = parse('{}', sets);
    assert.deepEqual(parse(dumpConfig(config)), config);
  }
});

test('a config torn at random is accepted or refused with a place, never anything else', () => {
  const flat = 'dataset: cifar10\nsize: s\natt_scheme: gqa\npretrained: False\nnum_kv_heads: 3\nout_dir: a/b\n';
  const sources = [
    flat,
    ...readdirSync('configs').flatMap((name) =>
      name.endsWith('.yaml') ? [readFileSync(path.join('configs', name), 'utf8')] : [],
    ),
  ];
  const scraps = [
    'null',
    '{}',
    '[',
    ']',
    '- a',
    '&a ',
    '*a',
    '"',
    '\t',
    '\n',
    ': ',
    '__proto__',
    'toString',
    '1e999',
    '.inf',
    '!!binary x',
    '!!set {a}',
    '%YAML 1.1\n',
    '---\n',
    '\0',
    '? ',
    '|',
    '0x',
    '<<: ',
  ];
  const counts = { accepted: 0, refused: 0 };
  for (let i = 0; i < 1500; i++) {
    const { below } = draws(11, 'torn', i);
    let text = sources[below(sources.length)] ?? '';
    for (let cut = 0; cut <= below(3); cut++) {
      const at = below(text.length + 1);
      text =
        below(2) === 0
          ? text.slice(0, at) + scraps[below(scraps.length)] + text.slice(at)
          : text.slice(0, at) + text.slice(at + below(12));
    }
    try {
      parse(text);
      counts.accepted++;
    } catch (error) {
      assert.ok(
        error instanceof GqaError && error.code === 'usage',
        `${JSON.stringify(text)}: ${(error as Error).stack}`,
      );
      for (const line of error.message.split('\n')) assert.match(line, /^x\.yaml:( \d+ problems$|\d+:\d+ \S)/);
      counts.refused++;
    }
  }
  assert.ok(counts.accepted > 50 && counts.refused > 50, JSON.stringify(counts));
});
