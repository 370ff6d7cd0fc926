/** The commonest mistakes in YAML: each is reported in one sentence at its line, with what to write instead. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../../src/config/load.js';
import { GqaError } from '../../src/errors.js';

function reported(text: string): string {
  try {
    parseConfig(text, 'x.yaml', []);
  } catch (error) {
    assert.ok(error instanceof GqaError && error.code === 'usage', String((error as Error).stack));
    return error.message;
  }
  return assert.fail(`${JSON.stringify(text)} was accepted`);
}

/** What is wrong, the text, and the whole message or (with `m`) one of its lines. */
const slips: [what: string, text: string, message: RegExp][] = [
  [
    'no colon',
    'seed 42\ndata:\n  name: cifar10\n',
    /^x\.yaml:1:1 "seed 42" lacks a colon after the key: write "seed: 42"$/,
  ],
  [
    'no colon in a section',
    'data:\n  name: cifar10\n  root x/y\n  limit: 3\n',
    /^x\.yaml:3:3 "root x\/y" lacks a colon after the key: write "root: x\/y"$/,
  ],
  [
    'no colon after a section',
    'data:\n  name: cifar10\nmodel\n  size: micro\n',
    /^x\.yaml:3:1 "model" lacks a colon: write "model:"$/,
  ],
  [
    'no colon in the only line of a section',
    'data:\n  name cifar10\n',
    /^x\.yaml:2:3 data is "name cifar10".*; "name cifar10" lacks a colon after the key: write "name: cifar10"$/m,
  ],
  [
    'no colon in braces',
    'data: { name cifar10 }\n',
    /^x\.yaml:1:9 data\."name cifar10" is not a known key: it lacks a colon after the key: write "name: cifar10"$/m,
  ],
  ['a tab', 'data:\n\tname: cifar10\n', /^x\.yaml:2:1 a tab cannot indent in YAML: use blanks$/],
  ['a tab after blanks', 'data:\n  name: cifar10\n\troot: x\n', /^x\.yaml:3:1 a tab cannot indent/],
  [
    'a quote that is not closed',
    'data: { name: cifar10, root: "x }\nmodel: 3\n',
    /^x\.yaml:1:30 this quote is not closed$/,
  ],
  ['an apostrophe in single quotes', "name: 'it's'\n", /^x\.yaml:1:11 text goes on after the closing quote/],
  [
    'a backslash in double quotes',
    'data: { name: cifar10, root: "C:\\data" }\n',
    /\\d means nothing in double quotes: write \\\\ for a backslash, or use single quotes$/,
  ],
  ['a bracket that is not closed', 'seed: 1\ndata: [1\nmodel: 2\n', /^x\.yaml:2:7 this \[ is not closed$/],
  [
    'a brace that is not closed',
    'data: { name: cifar10\nmodel: { size: micro }\n',
    /^x\.yaml:1:7 this \{ is not closed$/,
  ],
  ['a brace too many', 'data: { name: cifar10 }}\n', /^x\.yaml:1:24 } closes what nothing opened$/],
  ['no comma', 'data: { name: cifar10 root: x }\n', /^x\.yaml:1:15 a comma is missing/],
  [
    'indented too deep',
    'data:\n  name: cifar10\n   root: x\n',
    /^x\.yaml:3:4 this line is indented deeper than the key before it/,
  ],
  [
    'indented otherwise',
    'data:\n   name: cifar10\n  root: x\n',
    /^x\.yaml:3:1 this line begins in another column than the keys of the section above it/,
  ],
  [
    'a first line that is indented',
    ' seed: 1\ndata: 2\n',
    /^x\.yaml:2:1 this line begins further left than the first one/,
  ],
  ['a key twice', 'seed: 1\nseed: 2\n', /^x\.yaml:2:1 seed is given twice; the first time at x\.yaml:1:1$/m],
  [
    'no blank after the colon',
    'seed:42\ndata:\n  name: a\n',
    /^x\.yaml:1:1 "seed:42" lacks a blank after the colon: write "seed: 42"$/,
  ],
  [
    'no blank in a section',
    'data:\n  name:cifar10\n',
    /"name:cifar10" lacks a blank after the colon: write "name: cifar10"$/m,
  ],
  [
    'no blank in braces',
    'data: { name:cifar10 }\n',
    /data\."name:cifar10" is not a known key: it lacks a blank after the colon: write "name: cifar10"$/m,
  ],
  ['curly quotes around a key', '“seed”: 1\n', /curly quotes are letters in YAML/],
  [
    'curly quotes around a value',
    'name: “x”\n',
    /name is "“x”", .*curly quotes are letters in YAML: leave them out, or write "$/m,
  ],
  ['a list', '- data: 1\n', /^x\.yaml:1:1 the file holds a list; expected a mapping of keys/],
  ['= for :', 'seed = 1\ndata = 2\n', /"seed = 1" has "=" where YAML wants ": ": write "seed: 1"$/],
  [
    '= after a section',
    'data:\n  name: a\nseed = 1\n',
    /^x\.yaml:3:1 "seed = 1" has "=" where YAML wants ": ": write "seed: 1"$/,
  ],
  [
    '= in a section',
    'data:\n  name = cifar10\n  root = x\n',
    /"name = cifar10" has "=" where YAML wants ": ": write "name: cifar10"$/m,
  ],
  [
    'a section of TOML',
    '[data]\nname = "a"\n',
    /^x\.yaml:2:1 \[data\] begins a section in TOML and INI files; in YAML write "data:"/,
  ],
  ['two colons', 'name: a: b\n', /^x\.yaml:1:7 the value "a: b" holds another colon: put it in quotes$/],
  ['a value with @', 'name: @x\n', /^x\.yaml:1:7 a value that begins with @ must stand in quotes$/],
  ['a value with %', 'name: %x\n', /begins with % must stand in quotes$/],
  ['a value with a backtick', 'name: `x`\n', /begins with ` must stand in quotes$/],
  ['a value with !', 'name: !x y\n', /begins with ! must stand in quotes$/],
  ['a value with *', 'name: *x\n', /text that begins with \* must stand in quotes/],
  [
    'a value with &, which YAML reads as nothing',
    'data: { name: cifar10 }\nmodel: { size: micro }\nname: &x\n',
    /^x\.yaml:3:1 name is empty but for &x: text that begins with & must stand in quotes$/,
  ],
  ['a value with - ', 'name: - x\n', /begins with "- " must stand in quotes$/],
  [
    'a merge conflict',
    '<<<<<<< HEAD\nseed: 1\n=======\nseed: 2\n>>>>>>> x\n',
    /^x\.yaml:1:1 a merge conflict is left in the file/,
  ],
  ['blanks that are none', 'data:\n\u00a0\u00a0name: a\n', /begins with a blank that is none in YAML \(U\+00A0\)/],
  ['a comment of another language', '{ // c\n "seed": 1 }', /a comment begins with # in YAML/],
  ['a colon too many', 'data::\n  name: a\n', /"data:" is not a known key: it has a colon too many/],
  ['lines that end in CR alone', 'seed: 1\rdata: 2\r', /lines end with CR alone/],
  ['a section with a word', 'model: base\n', /^x\.yaml:1:8 model is "base", .*; write model: \{ size: base }$/m],
];

for (const [what, text, message] of slips) {
  test(`${what} is reported in one sentence with its line`, () => {
    assert.match(reported(text), message);
  });
}

test('CRLF and a byte order mark are no mistakes', () => {
  const { config } = parseConfig(
    '\ufeffdata: { name: cifar10 }\r\nmodel: { size: micro }\r\nseed: 7\r\n',
    'x.yaml',
    [],
  );
  assert.equal(config.seed, 7);
});

test('an empty anchor is the only one refused: anchors with a value are read', () => {
  assert.equal(
    parseConfig('data: { name: cifar10 }\nmodel: { size: micro }\nseed: &s 7\ntrain: { epochs: *s }\n', 'x.yaml', [])
      .config.train.epochs,
    7,
  );
});

/** What other tools have: the line, and what is reported of it. */
const others: [line: string, message: RegExp][] = [
  ['train: { amp: true }', /train\.amp is not a known key: write train\.precision: float16 or bfloat16/],
  ['train: { fp16: true }', /write train\.precision: float16/],
  ['train: { resume: x }', /a stopped run goes on by gqa train --resume RUN; model\.pretrained/],
  ['train: { drop_path: 0.1 }', /there is no stochastic depth here/],
  ['train: { dropout: 0.1 }', /there is no dropout here/],
  ['train: { optimizer: sgd }', /expected adamw; AdamW is the only one$/],
  ['train: { optim: adamw }', /did you mean train\.optimizer\?/],
  ['train: { ema: true }', /did you mean train\.ema_decay\?/],
  ['train: { num_workers: 4 }', /did you mean data\.workers\?/],
  ['train: { patience: 4 }', /there is no early stopping/],
  ['train: { lr_scheduler: cosine }', /did you mean train\.schedule\?/],
  ['train: { precision: fp16 }', /did you mean float16\?/],
  ['train: { recompute: true }', /did you mean blocks\?/],
  ['gpus: 4', /one device computes: device: gpu/],
  ['device: cuda', /did you mean gpu\?/],
  ['wandb: true', /results\.csv and metrics\.jsonl/],
  ['compile: true', /compiled on the native runtime by themselves; --eager/],
  ['resume: true', /gqa train --resume RUN/],
  ['tiny: true', /ViT-Ti is model\.size: tiny/],
  ['model: { size: micro, pretrained: true }', /nothing is downloaded here: name a safetensors file/],
  ['model: { name: vit_base }', /did you mean model\.size\?/],
  ['data: { name: cifar10, batch_size: 4 }', /did you mean train\.batch_size or eval\.batch_size\?/],
  ['data: { name: cifar10, img_size: 4 }', /did you mean model\.image_size\?/],
  ['data: { name: cifar10, augment: randaugment }', /RandAugment is paper/],
  ['data: { name: imagefolder }', /did you mean image-folder\?/],
];

test("other tools' words are answered with what gqa has instead", () => {
  for (const [line, message] of others) assert.match(reported(`${line}\n`), message, line);
});
