import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { calledAs, command, npmRun, projectElsewhere, projectFile } from '../src/invocation.js';
import { temporaryFolder } from './cli-run.js';

/** A project with bin/gqa.js, a link to it as npm makes it, and somebody else's `gqa`. */
function scene(name = 'project') {
  const folder = fs.realpathSync(temporaryFolder());
  const at = (...parts: string[]): string => path.join(folder, ...parts);
  const file = (...parts: string[]): void => {
    fs.mkdirSync(path.dirname(at(...parts)), { recursive: true });
    fs.writeFileSync(at(...parts), '');
  };
  file(name, 'package.json');
  file(name, 'bin', 'gqa.js');
  file(name, 'configs', 'smoke.yaml');
  file(name, 'theirs', 'package.json');
  file('strangers', 'gqa');
  fs.mkdirSync(at('linked'));
  fs.symlinkSync(at(name, 'bin', 'gqa.js'), at('linked', 'gqa'));
  fs.mkdirSync(at(name, 'node_modules', '.bin'), { recursive: true });
  fs.symlinkSync(at(name, 'bin', 'gqa.js'), at(name, 'node_modules', '.bin', 'gqa'));
  const from = (cwd: string, ...PATH: string[]) => ({
    cwd,
    env: { PATH: PATH.join(path.delimiter) },
    project: `${at(name)}${path.sep}`,
  });
  return { at, from };
}

test('gqa where that is this program, npx inside the folder, Node with the file elsewhere', () => {
  const { at, from } = scene();
  const nodeWithFile = `node ${at('project', 'bin', 'gqa.js')}`;
  const known: [standing: ReturnType<typeof from>, expected: string][] = [
    [from(at('project')), 'npx gqa'],
    [from(at('project', 'configs')), 'npx gqa'],
    [from(at('project', 'gone')), 'npx gqa'],
    [from(at('project', 'theirs')), nodeWithFile], // npx would look in that project
    [from(at('strangers')), nodeWithFile],
    [from('/'), nodeWithFile],
    [from('/', at('linked')), 'gqa'],
    [from(at('project'), at('nowhere'), at('linked')), 'gqa'],
    [from('/', at('strangers'), at('linked')), nodeWithFile], // another program is called by that name
    [from('/', at('linked'), at('strangers')), 'gqa'],
    [from('/', at('project', 'node_modules', '.bin')), nodeWithFile], // there for an npm script only
  ];
  for (const [standing, expected] of known) assert.equal(calledAs(standing), expected, JSON.stringify(standing));
  assert.equal(command('data fetch cifar10', from('/', at('linked'))), 'gqa data fetch cifar10');
});

test('a folder with blanks or quotes is quoted for the shell', (t) => {
  if (process.platform === 'win32') return t.skip('quotes of sh');
  const { at, from } = scene("my project's");
  const echoed = spawnSync('sh', ['-c', `printf '%s|' ${calledAs(from('/'))}`], { encoding: 'utf8' }).stdout;
  assert.equal(echoed, `node|${at("my project's", 'bin', 'gqa.js')}|`);
});

test('npm scripts are named with the folder where the user stands elsewhere', () => {
  const { at, from } = scene();
  assert.equal(npmRun('setup', '', from(at('project', 'configs'))), 'npm run setup');
  assert.equal(npmRun('setup', '-- --cuda', from('/')), `npm --prefix ${at('project')} run setup -- --cuda`);
  assert.equal(projectElsewhere(from(at('project'))), null);
  assert.equal(projectElsewhere(from('/')), at('project'));
  assert.equal(projectFile('docs/a.md', from(at('project'))), 'docs/a.md');
  assert.equal(projectFile('docs/a.md', from(at('project', 'configs'))), at('project', 'docs', 'a.md'));
});
