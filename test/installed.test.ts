/** `gqa` on the PATH, as `npm install -g .` puts it there, and what it says where the project is not set up. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from './cli-run.js';

const skip = process.platform === 'win32' ? 'npm makes scripts there, not links' : false;

function run(program: string, args: string[], cwd: string, env: NodeJS.ProcessEnv = {}) {
  const { status, stdout, stderr } = spawnSync(program, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  return { status, stdout, stderr };
}

for (const [how, args] of [
  ['npm install -g .', ['install', '-g', '.']],
  ['npm link', ['link']],
] as const) {
  test(`${how}: gqa works from any folder, with paths that are relative to it, and says how it is called`, {
    skip,
  }, () => {
    const prefix = temporaryFolder();
    const installed = run('npm', [...args, '--offline'], process.cwd(), { npm_config_prefix: prefix });
    assert.equal(installed.status, 0, installed.stderr);
    const PATH = `${path.join(prefix, 'bin')}${path.delimiter}${process.env.PATH}`;
    const folder = temporaryFolder();
    const gqa = (...given: string[]) => run('gqa', given, folder, { PATH });

    fs.mkdirSync(path.join(folder, 'mine'));
    fs.cpSync('configs/smoke.yaml', path.join(folder, 'mine', 'smoke.yaml'));
    const root = path.relative(fs.realpathSync(folder), path.resolve('datasets/fashion-mnist-subset'));
    const sets = ['--set', `data.root=${root}`, '--set', 'train.steps=1', '--set', 'data.workers=0'];
    const trained = gqa('train', '--config', 'mine/smoke.yaml', ...sets, '--run-name', 'r');
    assert.equal(trained.status, 0, trained.stderr);
    assert.ok(fs.existsSync(path.join(folder, 'runs', 'smoke', 'r', 'results.csv')));

    assert.match(gqa('eval').stderr, /\nSee gqa eval --help\n$/);
    assert.match(gqa('doctor', '--help').stdout, /Example:\n {2}gqa doctor/);
  });
}

test('a project that is not built, or whose packages are gone, is exit 4 with the folder and the command, from wherever it is called', () => {
  const folder = fs.realpathSync(temporaryFolder());
  fs.cpSync('bin', path.join(folder, 'bin'), { recursive: true });
  const gqa = () => run(process.execPath, [path.join(folder, 'bin', 'gqa.js'), 'train'], temporaryFolder());
  assert.deepEqual(gqa(), {
    status: 4,
    stdout: '',
    stderr: `gqa: the project is not built in ${folder}\nRun there: npm run setup\n`,
  });
  fs.mkdirSync(path.join(folder, 'dist', 'src'), { recursive: true });
  fs.writeFileSync(path.join(folder, 'package.json'), '{ "type": "module" }');
  fs.writeFileSync(path.join(folder, 'dist', 'src', 'cli.js'), "import 'a-package-that-is-not-there';\n");
  assert.deepEqual(gqa(), {
    status: 4,
    stdout: '',
    stderr: `gqa: the packages that it needs are not installed in ${folder}\nRun there: npm run setup\n`,
  });
});
