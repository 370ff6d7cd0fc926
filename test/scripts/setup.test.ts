import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';

// The scripts are plain JavaScript that runs before anything is built; these are the parts of them that are tested.
interface Candidate {
  name: string;
  taken: boolean;
  reason: string;
}
interface NativeRecord {
  runtime: 'native' | 'wasm';
  flavour: 'cpu' | 'cuda';
  library: string | null;
  addon: string | null;
  images: string | null;
  candidates: Candidate[];
}
type Notice = (line: string) => void;
interface Scripts {
  nodeProblem(version: string): string | null;
  packagesMatch(root: string): boolean;
  setUpNative(
    root: string,
    asked: 'cpu' | 'cuda' | undefined,
    env: NodeJS.ProcessEnv,
    notice: Notice,
    repair?: boolean,
  ): Promise<NativeRecord>;
  readRecord(root: string): NativeRecord | null;
  describe(record: NativeRecord): string;
  platformProblem(): string | null;
  cacheFolder(env: NodeJS.ProcessEnv): string;
  compileAddon(root: string, library: string, name: string, target: string, env: NodeJS.ProcessEnv): string | null;
  buildProject(root: string, notice: Notice): void;
  withLock<T>(folder: string, work: () => Promise<T>, notice: Notice): Promise<T>;
}

const ROOT = process.cwd();
const modules = await Promise.all(
  ['packages', 'native-runtime', 'libtensorflow', 'addons', 'build', 'lock'].map(
    (name) => import(pathToFileURL(path.join(ROOT, `scripts/${name}.mjs`)).href),
  ),
);
const scripts = Object.assign({}, ...modules) as Scripts;

const folder = mkdtempSync(path.join(os.tmpdir(), 'gqa-setup-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const notLinux = scripts.platformProblem() ?? false;

/** A checkout with what the addons are built from, and no more. */
function checkout(name: string): string {
  const root = path.join(folder, name);
  const tfjs = path.join(root, 'node_modules/@tensorflow/tfjs-node-gpu');
  mkdirSync(tfjs, { recursive: true });
  for (const part of ['package.json', 'binding']) {
    cpSync(path.join(ROOT, 'node_modules/@tensorflow/tfjs-node-gpu', part), path.join(tfjs, part), { recursive: true });
  }
  symlinkSync(path.join(ROOT, 'node_modules/node-api-headers'), path.join(root, 'node_modules/node-api-headers'));
  cpSync(path.join(ROOT, 'src/native'), path.join(root, 'src/native'), { recursive: true });
  return root;
}

/** A PATH that holds only the given programs, each a shell script. */
function programs(name: string, scriptOf: Record<string, string>): string {
  const bin = path.join(folder, name);
  mkdirSync(bin, { recursive: true });
  for (const [program, script] of Object.entries(scriptOf)) {
    writeFileSync(path.join(bin, program), `#!/bin/sh\n${script}\n`);
    chmodSync(path.join(bin, program), 0o755);
  }
  return bin;
}

function environment(name: string, scriptOf: Record<string, string> = {}): NodeJS.ProcessEnv {
  return { HOME: path.join(folder, `${name}-home`), PATH: programs(`${name}-bin`, scriptOf) };
}

/** A Python whose pip answers every download with `words` and fails. */
function failingPip(words: string): Record<string, string> {
  return { python3: `case "$*" in *download*) echo '${words}' >&2; exit 1;; esac; exit 0` };
}

const silent: Notice = () => {};

test('Node 20.9 to 24 is accepted, and any other version is named in one sentence', () => {
  for (const version of ['20.9.0', '20.20.2', '22.1.0', '24.99.0']) assert.equal(scripts.nodeProblem(version), null);
  for (const version of ['18.20.0', '20.8.1', '25.0.0'])
    assert.match(scripts.nodeProblem(version) ?? '', new RegExp(`this is Node ${version}: install`));
});

test('candidates are tried in order, each with its reason, and wasm is left when there is no python3', {
  skip: notLinux,
}, async () => {
  const env = environment('no-python');
  const root = checkout('no-python');
  const record = await scripts.setUpNative(root, 'cpu', env, silent);
  assert.equal(record.runtime, 'wasm');
  assert.deepEqual(
    record.candidates.map(({ name }) => name),
    ['GQA_LIBTENSORFLOW', 'cache', 'wheel'],
  );
  assert.equal(record.candidates[0]?.reason, 'not set');
  assert.match(record.candidates[1]?.reason ?? '', /does not exist/);
  assert.match(record.candidates[2]?.reason ?? '', /no python3 on the PATH/);
  assert.deepEqual(scripts.readRecord(root), record);
  assert.match(scripts.describe(record), /^no native runtime, .*wasm.*no python3/);
});

test('a GQA_LIBTENSORFLOW that is no library folder is reported at once and says what it lacks', {
  skip: notLinux,
}, async () => {
  const given = path.join(folder, 'not-a-library');
  mkdirSync(given);
  const reported: string[] = [];
  const env = { ...environment('explicit'), GQA_LIBTENSORFLOW: given };
  const record = await scripts.setUpNative(checkout('explicit'), 'cpu', env, (line) => reported.push(line));
  assert.match(record.candidates[0]?.reason ?? '', /not-a-library lacks libtensorflow_cc\.so\.2/);
  assert.match(reported.join('\n'), /GQA_LIBTENSORFLOW is not used/);
});

test('a python3 without pip, an unreachable registry, another hash and a full disk each have their own reason', {
  skip: notLinux,
}, async () => {
  const cases: [name: string, programs: Record<string, string>, reason: RegExp][] = [
    ['no-pip', { python3: 'case "$*" in *pip*) exit 1;; esac; exit 0' }, /has no pip/],
    ['no-network', failingPip('NewConnectionError: Temporary failure in name resolution'), /cannot be reached/],
    [
      'other-hash',
      failingPip('ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.'),
      /SHA-256 differs/,
    ],
    ['full-disk', failingPip('ERROR: Could not install: No space left on device'), /no space left/],
    ['unknown', failingPip('ERROR: No matching distribution found for tensorflow-cpu'), /No matching distribution/],
  ];
  for (const [name, scriptOf, reason] of cases) {
    const env = environment(name, scriptOf);
    const record = await scripts.setUpNative(checkout(name), 'cpu', env, silent);
    assert.match(record.candidates.at(-1)?.reason ?? '', reason, name);
    const left = existsSync(scripts.cacheFolder(env)) ? readdirSync(scripts.cacheFolder(env)) : [];
    assert.deepEqual(left, [], `${name} left something in the cache`);
  }
});

test('without a compiler, and with one that fails, the reason says which, and nothing is left behind', () => {
  const root = checkout('no-compiler');
  const target = path.join(folder, 'addon/tfjs_binding.node');
  assert.match(
    scripts.compileAddon(root, folder, 'tfjs_binding.node', target, environment('no-compiler')) ?? '',
    /no C\+\+ compiler on the PATH/,
  );
  const broken = environment('broken-compiler', {
    'c++': '[ "$1" = --version ] && exit 0; echo "fatal error: c_api.h: No such file" >&2; exit 1',
  });
  assert.match(
    scripts.compileAddon(root, folder, 'tfjs_binding.node', target, broken) ?? '',
    /c\+\+ failed: fatal error: c_api\.h/,
  );
  assert.match(
    scripts.compileAddon(root, folder, 'tfjs_binding.node', target, { ...broken, CXX: 'no-such-compiler' }) ?? '',
    /CXX \(no-such-compiler\) does not run/,
  );
  assert.deepEqual(readdirSync(path.dirname(target)), []);
});

const before = scripts.readRecord(ROOT);
const noNative = before?.runtime === 'native' ? false : 'set-up found no native runtime on this machine';

test('a second set-up of the native runtime starts no program and says nothing', { skip: noNative }, async () => {
  // No pip, compiler or python is on this PATH, so that a download or a compilation could not succeed.
  const reported: string[] = [];
  const env = { ...process.env, PATH: programs('empty-bin', {}) };
  const record = await scripts.setUpNative(ROOT, undefined, env, (line) => reported.push(line));
  assert.deepEqual(record, before);
  assert.deepEqual(reported, []);
});

const noImages = noNative || (before?.images === null ? false : 'set-up compiled no addon for images on this machine');

test('an addon for images that failed once is made anew when set-up is asked for, and not on the way to something else', {
  skip: noImages,
}, async () => {
  const root = checkout('mend');
  symlinkSync(path.join(ROOT, 'node_modules/sharp'), path.join(root, 'node_modules/sharp'));
  const placed = 'node_modules/@tensorflow/tfjs-node-gpu/lib/napi-v8';
  const { addon, library } = before!;
  const cache = path.join(scripts.cacheFolder({ HOME: path.join(folder, 'mend-home') }), addon!);
  for (const target of [path.join(root, placed), cache])
    cpSync(path.join(ROOT, placed, 'tfjs_binding.node'), path.join(target, 'tfjs_binding.node'));
  // As after a compilation that the disk was too full for: what lies in the cache does not load.
  for (const target of [path.join(root, placed), cache])
    cpSync(path.join(ROOT, placed, 'gqa_fused.node'), path.join(target, 'gqa_fused.node'));
  writeFileSync(path.join(cache, 'gqa_images.node'), 'cut short');
  writeFileSync(path.join(root, 'node_modules/.gqa-native.json'), JSON.stringify({ ...before, images: 'it failed' }));
  const compiler = (script: string): NodeJS.ProcessEnv => ({
    ...environment('mend', { 'c++': `[ "$1" = --version ] && exit 0; ${script}` }),
    GQA_LIBTENSORFLOW: library!,
  });
  const set = async (
    env: NodeJS.ProcessEnv,
    repair: boolean,
  ): Promise<{ images: string | null; reported: string[]; placed: boolean }> => {
    const reported: string[] = [];
    const { images } = await scripts.setUpNative(root, 'cpu', env, (line) => reported.push(line), repair);
    assert.equal(scripts.readRecord(root)?.images, images);
    return { images, reported, placed: existsSync(path.join(root, placed, 'gqa_images.node')) };
  };
  const good = (): NodeJS.ProcessEnv =>
    compiler(`for last; do :; done; /bin/cp '${path.join(ROOT, placed, 'gqa_images.node')}' "$last"`);
  assert.deepEqual(await set(good(), false), { images: 'it failed', reported: [], placed: false });
  const failed = await set(compiler('echo "fatal error: out of paper" >&2; exit 1'), true);
  assert.match(failed.images ?? '', /out of paper/);
  assert.match(failed.reported.join('\n'), /decoded by sharp .*out of paper/);
  assert.deepEqual(await set(good(), true), { images: null, reported: ['compiling the native addons'], placed: true });
  assert.deepEqual(await set(compiler('exit 1'), true), { images: null, reported: [], placed: true });
});

test('the packages of this checkout are as the lock file lists them, and a version that differs is noticed', () => {
  assert.equal(scripts.packagesMatch(ROOT), true);
  const root = path.join(folder, 'packages');
  mkdirSync(path.join(root, 'node_modules/a'), { recursive: true });
  const lock = (version: string): string =>
    JSON.stringify({ packages: { '': {}, 'node_modules/a': { version, integrity: 'x' } } });
  writeFileSync(path.join(root, 'package-lock.json'), lock('1.0.0'));
  assert.equal(scripts.packagesMatch(root), false); // never installed
  writeFileSync(path.join(root, 'node_modules/.package-lock.json'), lock('1.0.0'));
  assert.equal(scripts.packagesMatch(root), false); // installed, then removed by hand
  writeFileSync(path.join(root, 'node_modules/a/package.json'), '{}');
  assert.equal(scripts.packagesMatch(root), true);
  writeFileSync(path.join(root, 'package-lock.json'), lock('1.0.1'));
  assert.equal(scripts.packagesMatch(root), false);
});

test('the build runs only after a change, drops what was removed, and keeps the former build when there is an error', () => {
  const root = path.join(folder, 'build');
  mkdirSync(path.join(root, 'src'), { recursive: true });
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(root, 'node_modules'));
  for (const file of ['tsconfig.json', 'package.json', 'package-lock.json'])
    cpSync(path.join(ROOT, file), path.join(root, file));
  const source = (name: string, text: string): void => writeFileSync(path.join(root, 'src', name), text);
  const build = (): string[] => {
    const reported: string[] = [];
    scripts.buildProject(root, (line) => reported.push(line));
    return reported;
  };
  source('kept.ts', 'export const kept: number = 1;\n');
  source('removed.ts', 'export const removed: number = 1;\n');
  assert.equal(build().length, 1);
  assert.deepEqual(build(), []);
  rmSync(path.join(root, 'src/removed.ts'));
  assert.equal(build().length, 1);
  assert.deepEqual(
    [existsSync(path.join(root, 'dist/src/kept.js')), existsSync(path.join(root, 'dist/src/removed.js'))],
    [true, false],
  );
  source('kept.ts', "export const kept: number = 'no number';\n");
  assert.throws(build, /The build failed:\n.*kept\.ts/);
  assert.match(readFileSync(path.join(root, 'dist/src/kept.js'), 'utf8'), /kept = 1/);
  assert.deepEqual(
    readdirSync(root).filter((name) => name.startsWith('dist')),
    ['dist'],
  );
});

test('two set-ups of one checkout take turns, and the lock of a process that died is taken over', async () => {
  const order: string[] = [];
  const work = (name: string) => async (): Promise<void> => {
    order.push(`${name} begins`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    order.push(`${name} ends`);
  };
  const place = path.join(folder, 'locked');
  await Promise.all([scripts.withLock(place, work('first'), silent), scripts.withLock(place, work('second'), silent)]);
  assert.deepEqual(order, ['first begins', 'first ends', 'second begins', 'second ends']);

  const lock = pathToFileURL(path.join(ROOT, 'scripts/lock.mjs')).href;
  const dies = `const { withLock } = await import('${lock}'); await withLock('${place}', async () => process.kill(process.pid, 'SIGKILL'), () => {});`;
  assert.equal(spawnSync(process.execPath, ['--input-type=module', '-e', dies]).signal, 'SIGKILL');
  assert.equal(await scripts.withLock(place, async () => 'mine', silent), 'mine');
});

test('the wheels are locked by version and SHA-256, and name no host', () => {
  for (const file of ['cpu.txt', 'cuda.txt']) {
    const lines = readFileSync(path.join(ROOT, 'scripts/wheels', file), 'utf8')
      .trim()
      .split('\n')
      .filter((line) => !line.startsWith('#'));
    assert.ok(lines.length > 0);
    for (const line of lines) assert.match(line, /^[a-z0-9-]+==[0-9.]+ --hash=sha256:[0-9a-f]{64}$/);
  }
});

test('set-up refuses an option it does not know with exit code 2', () => {
  const result = spawnSync(process.execPath, ['scripts/setup.mjs', '--gpu'], { encoding: 'utf8' });
  assert.equal(result.status, 2);
  assert.match(result.stderr, /--cuda \| --cpu.*found: --gpu/);
});
