import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { readConfig } from '../../src/config/load.js';

const files = readdirSync('configs').filter((name) => name.endsWith('.yaml'));

const papers = ['cifar10', 'cifar100', 'food101', 'tiny-imagenet'].flatMap((data) =>
  ['small', 'base', 'large'].map((size) => `${data}-${size}.yaml`),
);

test('configs/ has the four data sets in the three sizes of the paper, and smoke.yaml', () => {
  assert.deepEqual(
    [...papers, 'smoke.yaml'].filter((name) => !files.includes(name)),
    [],
  );
});

for (const name of files) {
  test(`configs/${name} is accepted and opens with its command, hardware, time and result`, () => {
    const { notices } = readConfig(path.join('configs', name), []);
    assert.deepEqual(notices, []);
    const comment = readFileSync(path.join('configs', name), 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('#'))
      .join('\n');
    assert.match(comment, new RegExp(`npx gqa (train|sweep|bench step) --config configs/${name}`));
    for (const word of [/Hardware:/, /time/i, /result/i]) assert.match(comment, word);
  });
}

for (const name of papers) {
  test(`configs/${name} has the paper's protocol and hyper-parameters`, () => {
    const { config } = readConfig(path.join('configs', name), []);
    const { protocol, lr, batchSize, epochs } = config.train;
    assert.deepEqual(
      { protocol, lr, batchSize, epochs, seed: config.seed },
      { protocol: 'paper', lr: 1e-5, batchSize: 32, epochs: 5, seed: 42 },
    );
    assert.equal(config.model.variant, 'dgqa-ema');
    assert.equal(config.model.kvHeads * 2, config.model.heads);
    assert.equal(`${config.data.name}-${config.model.size}.yaml`, name);
  });
}
