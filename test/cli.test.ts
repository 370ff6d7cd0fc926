import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const cli = fileURLToPath(new URL('../src/cli.js', import.meta.url));

function gqa(args: string[], cwd = process.cwd(), nodeArgs: string[] = []) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...nodeArgs, cli, ...args], {
    cwd,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

const temporary = () => mkdtempSync(path.join(tmpdir(), 'gqa-cli-'));

/** Every file below a folder with its content, to see whether anything changed. */
function contents(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .sort()
      .map((name) => [
        name,
        statSync(path.join(folder, name)).isFile() ? readFileSync(path.join(folder, name), 'latin1') : 'folder',
      ]),
  );
}

test('gqa --help names every command and the exit codes', () => {
  const { status, stdout, stderr } = gqa(['--help']);
  assert.equal(status, 0);
  assert.equal(stderr, '');
  for (const name of ['train', 'eval', 'convert', 'sweep', 'reference', 'quickstart', 'doctor'])
    assert.match(stdout, new RegExp(`^ {2}${name} `, 'm'));
  assert.match(
    stdout,
    /0 ok · 1 unexpected · 2 usage or config .* 7 a run of a sweep failed · 129 SIGHUP · 130 SIGINT · 143 SIGTERM/s,
  );
});

for (const name of ['train', 'eval', 'convert', 'sweep', 'reference', 'quickstart', 'doctor']) {
  test(`gqa ${name} --help has an example`, () => {
    const { status, stdout } = gqa([name, '--help']);
    assert.equal(status, 0);
    assert.match(stdout, new RegExp(`Example:\\n {2}npx gqa ${name}`));
  });
}

test('gqa help <command> is gqa <command> --help, in groups too', () => {
  for (const [asked, same] of [
    [['help'], ['--help']],
    [
      ['help', 'train'],
      ['train', '--help'],
    ],
    [
      ['train', '-h'],
      ['train', '--help'],
    ],
    [
      ['--debug', 'help', 'train'],
      ['train', '--help'],
    ],
    [
      ['help', 'data'],
      ['data', '--help'],
    ],
    [
      ['help', 'data', 'fetch'],
      ['data', 'fetch', '--help'],
    ],
    [
      ['data', 'help', 'fetch'],
      ['data', 'fetch', '--help'],
    ],
  ] as const) {
    const found = gqa([...asked]);
    assert.deepEqual(found, gqa([...same]), asked.join(' '));
    assert.deepEqual([found.status, found.stderr], [0, '']);
  }
});

test('elsewhere help gives commands that work there, and says in which folder the files of the project lie', () => {
  const folder = temporary();
  const called = `node ${path.resolve('bin/gqa.js')}`;
  const known: [args: string[], expected: string][] = [
    [['train', '--help'], `Example, in ${process.cwd()}:\n  ${called} train --config configs/smoke.yaml`],
    [['doctor', '--help'], `Example:\n  ${called} doctor`],
    [['trian'], `See ${called} --help, or ${called} <command> --help.`],
    [['eval'], `See ${called} eval --help`],
    [['data', 'list'], `${called} data fetch cifar100\n`],
  ];
  for (const [args, expected] of known) {
    const { stdout, stderr } = gqa(args, folder);
    assert.ok((stdout + stderr).includes(expected), `${expected}\n---\n${stdout}${stderr}`);
    assert.doesNotMatch(stdout + stderr, /npx/);
  }
});

/** Every module that a command loads, whether imported or required. */
function modulesLoadedBy(args: string[]): string[] {
  const folder = temporary();
  const log = path.join(folder, 'modules');
  writeFileSync(
    path.join(folder, 'hooks.mjs'),
    `import { appendFileSync } from 'node:fs';
     export async function resolve(specifier, context, next) {
       const found = await next(specifier, context);
       appendFileSync(${JSON.stringify(log)}, found.url + '\\n');
       return found;
     }`,
  );
  writeFileSync(
    path.join(folder, 'register.mjs'),
    `import { appendFileSync } from 'node:fs';
     import { createRequire, register } from 'node:module';
     register('./hooks.mjs', import.meta.url);
     process.on('exit', () => appendFileSync(${JSON.stringify(log)}, Object.keys(createRequire(import.meta.url).cache).join('\\n') + '\\n'));`,
  );
  gqa(args, process.cwd(), ['--import', path.join(folder, 'register.mjs')]);
  return readFileSync(log, 'utf8').split('\n');
}

test('gqa --help loads neither TensorFlow.js, sharp nor zod', () => {
  const loadedBy = (args: string[]) => {
    const modules = modulesLoadedBy(args);
    return ['commander', '@tensorflow', 'sharp', 'zod', 'yaml'].filter((name) =>
      modules.some((url) => url.includes(`/node_modules/${name}/`)),
    );
  };
  assert.deepEqual(loadedBy(['--help']), ['commander']);
  assert.deepEqual(loadedBy(['train', '--help']), ['commander']);
  // The list does show what is loaded: a command that reads its config needs these two.
  const train = loadedBy(['train', '--config', 'none.yaml']);
  assert.ok(train.includes('zod') && train.includes('yaml'), train.join());
});

test('--version is that of package.json, alone on stdout', () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  assert.deepEqual(gqa(['--version']), { status: 0, stdout: `${version}\n`, stderr: '' });
});

const smoke = 'data: { name: cifar10, root: none }\nmodel: { size: micro }\n';

/**
 * Command line, exit code, what is reported. Each is run in a folder with `ok.yaml`, `empty.yaml`, … and must leave it
 * as it was.
 */
const badInputs: [what: string, args: string[], code: number, message: RegExp][] = [
  ['no command', [], 2, /^Usage: gqa/],
  ['help for no command', ['help', 'trian'], 2, /^gqa: unknown command 'trian'\n\(Did you mean train\?\)\n/],
  [
    'help for no command of a group',
    ['help', 'data', 'fetsh'],
    2,
    /^gqa: unknown command 'fetsh'\n\(Did you mean fetch\?\)\n/,
  ],
  [
    'bench data with flags of bench step',
    [
      'bench',
      'data',
      '--config',
      'ok.yaml',
      '--steps',
      '3',
      '--profile',
      '--compare',
      'mha',
      '--eager',
      '--device',
      'cpu',
    ],
    2,
    /^gqa: gqa bench data does not use --steps, --compare, --profile, --device, --eager\n--steps is for gqa bench step\./,
  ],
  [
    'bench step with flags of bench data',
    ['bench', 'step', '--config', 'ok.yaml', '--batches', '3', '--step-ms', '5'],
    2,
    /^gqa: gqa bench step does not use --batches, --step-ms\n/,
  ],
  [
    'a flag given twice',
    ['sweep', '--config', 'ok.yaml', '--seeds', '1', '--seeds=2', '--config', 'ok.yaml'],
    2,
    /^gqa: --seeds, --config given more than once\nOnly the last would count/,
  ],
  [
    "another user's home",
    ['eval', '--config', 'ok.yaml', '--checkpoint', '~ann/x'],
    2,
    /'~ann\/x' is invalid\. .*only ~ and ~\/ are expanded/,
  ],
  [
    'a key that does nothing',
    ['train', '--config', 'ok.yaml', '--set', 'model.window_size=50'],
    2,
    /^gqa: --set model\.window_size=50: model\.window_size is 50, but variant mha has no window: it has no effect\n/,
  ],
  [
    'a key that another command uses',
    ['eval', '--config', 'ok.yaml', '--checkpoint', 'x', '--set', 'train.lr=1'],
    2,
    /^gqa: --set train\.lr=1: train\.lr is 1, but gqa eval measures/,
  ],
  [
    'an axis of a sweep given twice',
    ['sweep', '--config', 'ok.yaml', '--seeds', '1,2', '--set', 'seed=3'],
    2,
    /^gqa: --set seed=3 and --seeds 1,2 both choose seed\n/,
  ],
  [
    'a checkpoint that is not there',
    ['train', '--config', 'data.yaml', '--set', 'model.pretrained=vit.safetensors'],
    5,
    /^gqa: --set model\.pretrained=vit\.safetensors: model\.pretrained is "vit\.safetensors", but .*vit\.safetensors does not exist\n$/,
  ],
  [
    'data, checkpoint and teacher that are not there',
    ['train', '--config', 'wrong.yaml'],
    3,
    /^gqa: wrong\.yaml: 3 problems\nwrong\.yaml:1:30 data\.root is "none", but \S+none does not exist\nwrong\.yaml:2:35 model\.pretrained is "vit\.safetensors", but \S+ does not exist\nwrong\.yaml:3:24 train\.distill_from is "a\/t\.safetensors", but \S+ does not exist \(\S+ does\)\n$/,
  ],
  [
    'data and the checkpoint of eval that are not there',
    ['eval', '--config', 'ok.yaml', '--checkpoint', 'vit.safetensors'],
    3,
    /^gqa: ok\.yaml: 2 problems\nok\.yaml:1:30 data\.root is "none", .*\n--checkpoint is "vit\.safetensors", but .* does not exist\n$/,
  ],
  ['an unknown command', ['trian'], 2, /^gqa: unknown command 'trian'\n\(Did you mean train\?\)\n/],
  ['an unknown flag', ['train', '--config', 'ok.yaml', '--devic', 'gpu'], 2, /^gqa: unknown option '--devic'/],
  ['a surplus argument', ['train', 'x', '--config', 'ok.yaml'], 2, /^gqa: too many arguments/],
  ['a missing flag', ['train'], 2, /^gqa: required option '--config <file>' not specified/],
  [
    'an unknown device',
    ['train', '--config', 'ok.yaml', '--device', 'tpu'],
    2,
    /^gqa: option '--device <device>' argument 'tpu' is invalid\. Allowed choices are auto, gpu/,
  ],
  [
    'a list with an empty item',
    ['sweep', '--config', 'ok.yaml', '--seeds', '1,,2'],
    2,
    /argument '1,,2' is invalid\. Expected values with commas between them/,
  ],
  [
    'a list of no numbers',
    ['sweep', '--config', 'ok.yaml', '--kv-heads', '1,two'],
    2,
    /"two" is no whole number from 1 to 1024/,
  ],
  ['zero KV heads', ['sweep', '--config', 'ok.yaml', '--kv-heads', '0'], 2, /"0" is no whole number from 1 to 1024/],
  [
    'a seed that is too large',
    ['sweep', '--config', 'ok.yaml', '--seeds', '4294967296'],
    2,
    /is no whole number from 0 to 4294967295/,
  ],
  ['an unknown split', ['eval', 'run', '--split', 'dev'], 2, /Allowed choices are train, val, test/],
  ['eval of nothing', ['eval'], 2, /^gqa: eval needs a run folder, or --checkpoint FILE and --config FILE\n/],
  [
    'eval of two things',
    ['eval', 'run', '--checkpoint', 'x', '--config', 'ok.yaml'],
    2,
    /^gqa: eval takes a run folder or --checkpoint/,
  ],
  [
    'a missing config',
    ['train', '--config', 'okk.yaml'],
    2,
    /^gqa: config okk\.yaml does not exist\nDid you mean ok\.yaml\?\n$/,
  ],
  ['an empty config', ['train', '--config', 'empty.yaml'], 2, /^gqa: empty\.yaml:1:1 the file is empty/],
  [
    'a misspelt key',
    ['train', '--config', 'misspelt.yaml'],
    2,
    /^gqa: misspelt\.yaml:3:1 trian is not a known key: did you mean train\?\n$/,
  ],
  [
    'a wrong type',
    ['train', '--config', 'type.yaml'],
    2,
    /^gqa: type\.yaml:3:14 train\.lr is the text "1e-4", expected a number of at least 0 \(without quotes\)\n$/,
  ],
  [
    'a duplicate key',
    ['train', '--config', 'twice.yaml'],
    2,
    /^gqa: twice\.yaml:3:1 model is given twice; the first time at twice\.yaml:2:1\n$/,
  ],
  [
    'KV heads that do not divide the heads',
    ['train', '--config', 'ok.yaml', '--set', 'model.variant=gqa', '--set', 'model.kv_heads=5'],
    2,
    /^gqa: --set model\.kv_heads=5: model\.kv_heads is 5, but must divide heads \(12\): 1, 2, 3, 4, 6 or 12\n$/,
  ],
  [
    'an unknown data set',
    ['train', '--config', 'ok.yaml', '--set', 'data.name=cifar11'],
    2,
    /data\.name is "cifar11", expected one of .*; did you mean cifar10\?\n$/,
  ],
  ['--set without a value', ['train', '--config', 'ok.yaml', '--set', 'seed'], 2, /^gqa: --set seed: has no "="/],
  [
    'a --run-name that leaves its folder',
    ['train', '--config', 'ok.yaml', '--run-name', '../x'],
    2,
    /^gqa: --run-name is "\.\.\/x"/,
  ],
  [
    'a --run-name that exists',
    ['train', '--config', 'ok.yaml', '--run-name', 'mine'],
    2,
    /^gqa: run runs.ok.mine exists already\nChoose another --run-name/,
  ],
  [
    'a runs folder that is a file',
    ['train', '--config', 'ok.yaml', '--runs-dir', 'ok.yaml'],
    5,
    /^gqa: cannot write runs in ok\.yaml.ok: a part of the path is a file/,
  ],
  [
    'data that is not there',
    ['train', '--config', 'ok.yaml'],
    3,
    /^gqa: cifar10 was not found[\s\S]*\nok\.yaml:1:30 data\.root is "none", but \S+none does not exist\n.*gqa(\.js)? data fetch cifar10 --root none downloads it/,
  ],
  [
    "the paper's pretrained: true without a file",
    ['train', '--config', 'paper.yaml'],
    2,
    /^gqa: paper\.yaml:4:13 pretrained is true.*\nName a safetensors file.*--set model\.pretrained=FILE/,
  ],
];

for (const [what, args, code, message] of badInputs) {
  test(`${what}: exit ${code}, one clear message, nothing changed on disk`, () => {
    const folder = temporary();
    const files = {
      'ok.yaml': smoke,
      'empty.yaml': '',
      'misspelt.yaml': `${smoke}trian: { lr: 1 }\n`,
      'type.yaml': `${smoke}train: { lr: "1e-4" }\n`,
      'wrong.yaml': `${smoke.replace('size: micro', 'size: micro, pretrained: vit.safetensors')}train: { distill_from: a/t.safetensors }\n`,
      'data.yaml': `data: { name: fashion-mnist, root: ${path.resolve('datasets/fashion-mnist-subset')} }\nmodel: { size: micro }\n`,
      'twice.yaml': `${smoke}model: { size: micro }\n`,
      'paper.yaml': 'dataset: cifar10\nsize: s\natt_scheme: gqa\npretrained: True\nnum_kv_heads: 3\n',
      'runs/ok/mine/results.csv': 'kept',
    };
    mkdirSync(path.join(folder, 'runs/ok/mine'), { recursive: true });
    for (const [name, text] of Object.entries(files)) writeFileSync(path.join(folder, name), text);
    const before = contents(folder);
    const { status, stdout, stderr } = gqa(args, folder);
    assert.match(stderr, message);
    assert.equal(status, code);
    assert.equal(stdout, '');
    assert.doesNotMatch(stderr, /^ +at /m);
    assert.deepEqual(contents(folder), before);
  });
}

test('~ is the home folder in flags and arguments', () => {
  const home = temporary();
  const at = (args: string[]) => {
    const { status, stderr } = spawnSync(process.execPath, [cli, ...args], {
      encoding: 'utf8',
      env: { ...process.env, HOME: home, USERPROFILE: home },
    });
    return { status, stderr };
  };
  writeFileSync(path.join(home, 'ok.yaml'), smoke);
  assert.deepEqual(at(['train', '--config=~/none.yaml']), {
    status: 2,
    stderr: `gqa: config ${path.join(home, 'none.yaml')} does not exist\n`,
  });
  assert.match(at(['eval', '~/run']).stderr, new RegExp(`^gqa: ${path.join(home, 'run')}: not a run folder`));
  assert.match(
    at(['eval', '--config=~/ok.yaml', '--checkpoint=~/x']).stderr,
    new RegExp(`--checkpoint is "${home}/x", but`),
  );
  assert.match(
    at(['train', '--config=~/ok.yaml', '--set', 'data.root=~/images']).stderr,
    new RegExp(`${home}/images does not exist`),
  );
  assert.match(at(['data', 'list', '--root=~/sets', '--json']).stderr, /^$/);
  assert.match(
    at(['train', '--config=~/ok.yaml', '--runs-dir=~/ok.yaml']).stderr,
    new RegExp(`cannot write runs in ${home}/ok\\.yaml`),
  );
});

test('--debug shows the stack, before or after the command', () => {
  for (const args of [
    ['--debug', 'train', '--config', 'none.yaml'],
    ['train', '--config', 'none.yaml', '--debug'],
  ]) {
    const { status, stderr } = gqa(args);
    assert.equal(status, 2);
    assert.match(stderr, /^ +at /m);
    assert.match(stderr, /^gqa: config none\.yaml does not exist$/m);
  }
});

test('an error that nobody foresaw is exit 1 in one line, with the way to its stack', () => {
  const folder = temporary();
  // A setting that no code expects: the file of package.json's version cannot be read as JSON.
  const preload = path.join(folder, 'break.mjs');
  writeFileSync(preload, 'JSON.parse = () => { throw new TypeError("broken\\nin two lines"); };\n');
  const { status, stdout, stderr } = gqa(['--version'], process.cwd(), ['--import', preload]);
  assert.deepEqual(
    { status, stdout, stderr },
    { status: 1, stdout: '', stderr: 'gqa: unexpected error: broken\nRun again with --debug for the stack.\n' },
  );
});

test('a reader of stdout that leaves early is no error', {
  skip: process.platform === 'win32' && 'needs a POSIX shell',
}, () => {
  const { status, stdout, stderr } = spawnSync(
    'sh',
    ['-c', `"${process.execPath}" "${cli}" --help | true; echo ended`],
    {
      encoding: 'utf8',
    },
  );
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: 'ended\n', stderr: '' });
});

for (const [signal, code] of [
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`${signal} ends with exit code ${code}`, {
    skip: process.platform === 'win32' && 'Windows has no such signals',
  }, async () => {
    const folder = temporary();
    const preload = path.join(folder, 'slow.mjs');
    // Holds the command in its first step, so that the signal meets a running command line.
    writeFileSync(
      preload,
      `const write = process.stdout.write; process.stdout.write = function (text, ...rest) { if (text.length > 0) { process.stderr.write('ready\\n'); setInterval(() => {}, 1000); return true; } return true; };\n`,
    );
    const child = spawn(process.execPath, ['--import', preload, cli, '--version'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stderr.once('data', () => child.kill(signal));
    const [ended, by] = await new Promise<[number | null, string | null]>((resolve) =>
      child.on('close', (...how) => resolve(how)),
    );
    assert.deepEqual([ended, by], [code, null]);
  });
}
