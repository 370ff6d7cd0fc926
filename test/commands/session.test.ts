/** README's session: a run that is interrupted, then each command that the one before names in its last line, down to the exported file. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { gqa, gqaAt, temporaryFolder } from '../cli-run.js';

const skip = process.platform === 'win32' && 'Windows has no such signals';

test('train, Ctrl-C, and from there whatever the last line says: resume, runs, eval, predict, export, inspect', {
  skip,
}, () => {
  const folder = temporaryFolder();
  const first = gqaAt('write "step":1', 'SIGINT', [
    ...['train', '--config', 'configs/smoke.yaml', '--runs-dir', folder, '--run-name', 'session'],
    ...['--set', 'train.steps=4'],
  ]);
  assert.equal(first.code, 130, first.stderr);
  const told = /To go on: \S.*gqa(?:\.js)? (train --resume .*)\n$/.exec(first.stderr)?.[1] ?? '';
  const seen: string[] = [];
  for (let line = told; line !== ''; ) {
    const args = line.split(' ').map((word) => (word === 'PICTURE…' ? path.resolve(PICTURE) : word));
    if (args[0] === 'export') args[args.length - 1] = path.join(folder, 'exported');
    if (args[0] === 'inspect') args[args.length - 1] = path.join(folder, 'exported');
    const ran = gqa(args);
    assert.equal(ran.code, 0, `${line}\n${ran.stderr}`);
    seen.push(args.slice(0, args[0] === 'runs' ? 2 : 1).join(' '));
    line = /(?:^|\n)next: .*?gqa(?:\.js)? (.*)\n$/.exec(ran.stderr || ran.stdout)?.[1] ?? '';
  }
  assert.deepEqual(seen, ['train', 'runs show', 'eval', 'predict', 'export', 'inspect']);
  const list = gqa(['runs', '--runs-dir', folder]);
  assert.match(list.stderr, /next: .*gqa runs show .*session\n$/);
  assert.ok(fs.existsSync(path.join(folder, 'exported')));
});

const PICTURE = 'test/images/food-101/images/cheesecake/3011.jpg';
