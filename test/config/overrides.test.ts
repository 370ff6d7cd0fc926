/** Values of `--set`: text as it stands, everything else as YAML without anything lost. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { parseConfig } from '../../src/config/load.js';
import type { Config } from '../../src/config/schema.js';
import { openDataset } from '../../src/data/open.js';
import { GqaError } from '../../src/errors.js';

const minimal = 'data: { name: cifar10 }\nmodel: { size: micro }\n';
const parse = (...sets: string[]): Config => parseConfig(minimal, 'x.yaml', sets).config;

function refused(...sets: string[]): string {
  try {
    parse(...sets);
  } catch (error) {
    assert.ok(error instanceof GqaError && error.code === 'usage', String((error as Error).stack));
    return error.message;
  }
  return assert.fail(`${sets.join(' ')} was accepted`);
}

test('a path is taken as it stands, whatever YAML would make of it', () => {
  const paths = [
    '/data/set #2',
    '#tag',
    'a #b #c',
    'a: b',
    'a:',
    '*star',
    '&anchor',
    '!tag x',
    '@scope/x',
    '`x`',
    '%TEMP%/x',
    '- x',
    '-',
    '[a',
    '[a]',
    '{a: b}',
    '{',
    ' x',
    'x ',
    'a  b',
    'yes',
    'no',
    'on',
    'true',
    '007',
    '1e5',
    '0x10',
    '1_000',
    '.inf',
    '.nan',
    '2026-11-26',
    '12:30',
    'C:\\data\\new',
    '\\\\host\\share',
    'a\nb',
    'a\n#b',
    '---',
    '...',
    '? a',
    '| a',
    '> a',
    '<<',
    'a=b',
    'it\'s "here"',
    'ä 图',
    '“x”',
    './null',
    'nullable',
    '$HOME/x',
  ];
  for (const text of paths) {
    assert.equal(parse(`data.root=${text}`).data.root, text);
    assert.equal(parse(`model.pretrained=${text}`).model.pretrained, text);
  }
});

test('a name may look like a number, a date or a word of YAML', () => {
  for (const name of ['007', '1e5', '2026-11-26', 'yes', 'no', 'true', 'null', '0x10', '1_000', '-', '12', '1.0'])
    assert.equal(parse(`name=${name}`).name, name);
  for (const name of ['a b', 'a#b', 'a #b', ' a', '.inf', '~'])
    assert.match(refused(`name=${name}`), /name is .*, expected a folder name/);
});

test('text wholly in quotes is the text in them; a quote that begins it and does not end it is refused', () => {
  assert.equal(parse('data.root="a #b"').data.root, 'a #b');
  assert.equal(parse("data.root='a: b'").data.root, 'a: b');
  assert.equal(parse("data.root='it''s'").data.root, "it's");
  assert.equal(parse(`data.root=${JSON.stringify('"quoted" \\ \n')}`).data.root, '"quoted" \\ \n');
  assert.equal(parse('model.pretrained="null"').model.pretrained, 'null');
  assert.equal(parse('data.root="~"', 'device="cpu"').device, 'cpu');
  for (const set of [
    'data.root="a',
    'data.root="a" b',
    'data.root="a" #b',
    "data.root='a' 'b'",
    'data.root="C:\\data"',
  ])
    assert.match(refused(set), /begins with a quote, but is no text in quotes: leave the quotes out, or write "/, set);
});

test('null is nothing where a key may be nothing, and a name where not; ~ alone is neither', () => {
  const nullable = {
    'model.pretrained': ({ model }: Config) => model.pretrained,
    'data.cache': ({ data }: Config) => data.cache,
    'train.distill_from': ({ train }: Config) => train.distillFrom,
  };
  for (const [key, pathIn] of Object.entries(nullable)) {
    for (const text of ['null', 'Null', 'NULL']) assert.equal(pathIn(parse(`${key}=x`, `${key}=${text}`)), null);
    assert.match(
      refused(`${key}=~`),
      /~ is null in YAML and the home folder in a shell: write null, or the name of the folder$/,
    );
  }
  assert.equal(parse('data.root=null').data.root, 'null');
  for (const text of ['', ' ', '\t']) assert.match(refused(`data.root=${text}`), /has no value after "="/);
});

test('of numbers, lists of words and mappings nothing is lost', () => {
  const config = parse(
    'train.lr= 1e-4 ',
    'seed=0x10',
    'train.epochs=010',
    'data.limit={train: 3, test: 4}',
    'device= cpu ',
    'train.steps=~',
  );
  assert.deepEqual(
    [config.train.lr, config.seed, config.train.epochs, config.device, config.train.steps],
    [1e-4, 16, 10, 'cpu', null],
  );
  for (const set of [
    'train.lr=1e-4 # x',
    'train.lr=1e-4 #',
    'data.limit=3 # x',
    'data.limit={train: 3} # x',
    'train.steps=# 3',
    'data.workers=auto # x',
  ])
    assert.match(refused(set), /holds a comment \(from "#" on\), which would be lost: leave it out$/, set);
  const others: [string, RegExp][] = [
    ['device=cpu # x', /device is "cpu # x", expected one of/],
    ['train.optimizer=adamw # x', /train\.optimizer is "adamw # x", expected adamw/],
    ['data.augment=null', /data\.augment is "null", expected one of none, .*did you mean none\?/],
    ['train.lr=1,5', /train\.lr is the text "1,5", expected a number/],
    ['train.lr=1e-4 2', /is the text "1e-4 2"/],
    ['train.lr="1e-4"', /is the text "1e-4", expected a number of at least 0 \(without quotes\)/],
    ['train.lr=.inf', /train\.lr is Infinity, expected a number/],
    ['train.lr=.nan', /train\.lr is NaN, expected a number/],
    ['train.lr=1e999', /train\.lr is Infinity/],
    ['train.lr=1e-4\ntrain.epochs=1', /is the text "1e-4 train\.epochs=1"/],
    ['train.lr=a: 1', /train\.lr is a mapping/],
    ['train.lr=- 1', /train\.lr is a list, expected a number/],
    ['train.lr=*a', /holds an alias/],
    ['train.lr=!!int x', /is not YAML|is the text/],
    ['seed=1_000', /seed is the text "1_000"/],
    ['seed=yes', /seed is the text "yes"/],
    ['seed=1.5', /seed is 1\.5/],
    ['data.limit={train: 3, train: 4}', /is not YAML: Map keys must be unique/],
    ['data.limit=[3, 4]', /data\.limit is \[3, 4\]/],
  ];
  for (const [set, message] of others) assert.match(refused(set), message, set);
});

test('images come from the folder that --set names, though its name holds a #', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'gqa-hash-'));
  for (const [set, classes] of [
    ['set', 3],
    ['set #2', 4],
  ] as const) {
    for (const split of ['train', 'test']) {
      for (let i = 0; i < classes; i++) {
        mkdirSync(path.join(folder, set, split, `class${i}`), { recursive: true });
        writeFileSync(path.join(folder, set, split, `class${i}`, 'a.png'), '');
      }
    }
  }
  const { data } = parse('data.name=image-folder', `data.root=${folder}/set #2`);
  assert.equal((await openDataset(data)).classes.length, 4);
});

test('a path in a file that a comment cuts is refused where the whole of it is there', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'gqa-cut-'));
  for (const name of ['set', 'set #2']) mkdirSync(path.join(folder, name));
  writeFileSync(path.join(folder, '#1.safetensors'), '');
  const root = (text: string) =>
    parseConfig(`data:\n  name: cifar10\n  root: ${text}\nmodel: { size: micro }\n`, 'x.yaml', []).config.data.root;
  assert.throws(
    () => root(`${folder}/set #2`),
    /x\.yaml:3:9 data\.root is ".*set", since # begins a comment, but ".*set #2" is there too: put the path in quotes$/,
  );
  assert.equal(root(`"${folder}/set #2"`), `${folder}/set #2`);
  assert.equal(root(`${folder}/set # my images`), `${folder}/set`);
  assert.equal(root(`${folder}/set`), `${folder}/set`);
  const before = process.cwd();
  process.chdir(folder);
  try {
    const commented = parseConfig(
      'data: { name: cifar10 }\nmodel:\n  size: micro\n  pretrained: # from scratch\n',
      'x.yaml',
      [],
    );
    assert.equal(commented.config.model.pretrained, null);
    assert.throws(
      () => parseConfig('data: { name: cifar10 }\nmodel:\n  size: micro\n  pretrained: #1.safetensors\n', 'x.yaml', []),
      /model\.pretrained is null, since # begins a comment, but "#1\.safetensors" is there too/,
    );
  } finally {
    process.chdir(before);
  }
});
