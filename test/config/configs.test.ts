import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { readConfig } from '../../src/config/load.js';

const files = readdirSync('configs').filter((name) => name.endsWith('.yaml'));

test('configs/ has the four data sets in the three sizes of the paper, and smoke.yaml', () => {
  const expected = ['cifar10', 'cifar100', 'food101', 'tiny-imagenet'].flatMap((data) =>
    ['small', 'base', 'large'].map((size) => `${data}-${size}.yaml`),
  );
  assert.deepEqual(files.filter((name) => name !== 'smoke.yaml').sort(), expected.sort());
  assert.ok(files.includes('smoke.yaml'));
});

for (const name of files) {
  test(`${name} is accepted and opens with its command, hardware, time and result`, () => {
    const file = path.join('configs', name);
    const { config, notices } = readConfig(file, []);
    assert.deepEqual(notices, []);
    const comment = readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('#'))
      .join('\n');
    for (const word of [`gqa train --config ${file}`, 'Hardware:', 'Time:', 'Result to expect:']) assert.ok(comment.includes(word), word);
    if (name === 'smoke.yaml') return;
    const { protocol, lr, batchSize, epochs } = config.train;
    assert.deepEqual(
      { protocol, lr, batchSize, epochs, seed: config.seed },
      { protocol: 'paper', lr: 1e-5, batchSize: 32, epochs: 5, seed: 42 },
    );
    assert.equal(config.model.kvHeads * 2, config.model.heads);
    assert.equal(`${config.data.name}-${config.model.size}.yaml`, name);
  });
}
