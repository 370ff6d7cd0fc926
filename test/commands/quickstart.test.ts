import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gqa, temporaryFolder } from '../cli-run.js';

test('the quickstart goes from MHA to a table of uptrained variants on wasm, and says in its first line that it is made smaller', () => {
  const folder = temporaryFolder();
  const small = [
    '--set',
    'data.limit={train: 40, test: 20}',
    '--set',
    'data.val_fraction=0.25',
    '--set',
    'train.steps=1',
    '--set',
    'train.batch_size=8',
  ];
  const { code, stdout, stderr } = gqa(['quickstart', '--device', 'wasm', '--runs-dir', folder, ...small]);
  assert.equal(code, 0, stderr);
  assert.match(
    stderr.split('\n')[0] as string,
    /^quickstart, made smaller for wasm: 256 training and 200 test images, one epoch/,
  );
  const report = /open it in a browser: (.*)\nnext: .*gqa config init/.exec(stderr)?.[1] as string;
  assert.match(readFileSync(report, 'utf8'), /3 of 3 runs done/);
  for (const variant of ['mha', 'gqa', 'dgqa-ema']) assert.match(stdout, new RegExp(`^${variant} .* done `, 'm'));
});
