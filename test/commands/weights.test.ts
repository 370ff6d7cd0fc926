/** Weights by a hub's id, sizes that a config leaves to them, `inspect`, `config init`, `completion`. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { openCheckpoint } from '../../src/checkpoint/open.js';
import { commands } from '../../src/cli/commands.js';
import { completion } from '../../src/cli/completion.js';
import { inspected } from '../../src/commands/inspect.js';
import { readConfigAndWeights } from '../../src/commands/weights.js';
import { loadConfig } from '../../src/config/load.js';
import { dataNames, sizeNames } from '../../src/config/names.js';
import { starterConfig } from '../../src/config/starter.js';
import { testFolder } from '../data/files.js';
import { COMMIT, serveHub } from '../download/hub-server.js';

const MODELS = 'test/checkpoint/models';

test('a model of the hub: found, its sizes taken, the file in the cache as model.pretrained', async (t) => {
  const folder = testFolder(t);
  fs.cpSync(`${MODELS}/hf-sharded`, path.join(folder, 'hub/google/vit-odd'), { recursive: true });
  const server = await serveHub(path.join(folder, 'hub'));
  t.after(server.close);
  const config = path.join(folder, 'mine.yaml');
  fs.writeFileSync(
    config,
    'data: { name: cifar10 }\nmodel: { pretrained: google/vit-odd, variant: gqa, kv_heads: 2 }\n',
  );
  const env = { ...process.env, HF_ENDPOINT: server.endpoint, HF_HOME: path.join(folder, 'hf'), HF_TOKEN: '' };
  const show = (...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> => {
    const child = spawn(process.execPath, ['bin/gqa.js', 'config', 'show', config, '--json', ...args], { env });
    const texts = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream].setEncoding('utf8').on('data', (text: string) => {
        texts[stream] += text;
      });
    return new Promise((done) => child.on('close', (code) => done({ code, ...texts })));
  };
  const { code, stdout, stderr } = await show();
  assert.equal(code, 0, stderr);
  assert.match(stderr, new RegExp(`google/vit-odd: commit ${COMMIT}`));
  assert.match(stderr, /heads: 4, and the other sizes: as .*index\.json has them/);
  const shown = JSON.parse(stdout) as Record<string, { value: unknown }>;
  const model = Object.fromEntries(
    ['size', 'image_size', 'patch_size', 'embed_dim', 'depth', 'heads', 'mlp_ratio'].map((key) => [
      key,
      shown[`model.${key}`]?.value,
    ]),
  );
  assert.deepEqual(model, {
    ...{ size: 'custom', image_size: 8, patch_size: 4, embed_dim: 24, depth: 2, heads: 4, mlp_ratio: 2 },
  });
  assert.equal(
    shown['model.pretrained']?.value,
    path.join(env.HF_HOME, 'hub/models--google--vit-odd/snapshots', COMMIT, 'model.safetensors.index.json'),
  );
  const absent = await show('--set', 'model.pretrained=google/nobody');
  assert.equal(absent.code, 4);
  assert.match(absent.stderr, /google\/nobody is not there/);
});

test('sizes that the config gives count before those of the checkpoint; heads that nothing says are asked for', async (t) => {
  const config = path.join(testFolder(t), 'mine.yaml');
  fs.writeFileSync(config, 'data: { name: cifar10 }\n');
  const read = (pretrained: string, ...sets: string[]) =>
    readConfigAndWeights(config, [`model.pretrained=${MODELS}/${pretrained}`, ...sets]);
  const { config: found } = await read('timm-avg', 'model.image_size=16');
  assert.deepEqual([found.model.imageSize, found.model.patchSize, found.model.heads], [16, 4, 4]);
  await assert.rejects(read('timm-plain'), /does not show its number of heads.*embed_dim 24/);
  assert.equal((await read('timm-plain', 'model.heads=4')).config.model.heads, 4);
  await assert.rejects(readConfigAndWeights(config, []), /model\.size is missing/);
  await assert.rejects(read('nothing-there'), /model\.size is missing/);
});

test('inspect: every model of models/ is told, and one that is refused says why', () => {
  for (const name of fs.readdirSync(MODELS).filter((each) => fs.statSync(`${MODELS}/${each}`).isDirectory())) {
    const found = inspected(openCheckpoint(`${MODELS}/${name}`));
    assert.equal(found.refused, null, name);
    assert.deepEqual([found.embed_dim, found.classes, found.variant], [24, 5, 'mha'], name);
    const elements = Object.values(found.dtypes).reduce((sum, count) => sum + count, 0);
    // LayerScale, a mask token and the like are stored and not trained; biases that are missing are trained
    assert.ok(Math.abs(found.parameters - elements) < 500, `${name}: ${found.parameters}, ${elements} stored`);
  }
  const sharded = inspected(openCheckpoint(`${MODELS}/hf-sharded`));
  assert.deepEqual([sharded.files, sharded.heads, sharded.kv_heads], [3, 4, 4]);
  assert.equal(inspected(openCheckpoint(`${MODELS}/timm-avg`)).global_pool, 'avg');
});

test('config init: valid for every data set and size, and a comment behind every key', (t) => {
  const file = path.join(testFolder(t), 'config.yaml');
  for (const data of dataNames)
    for (const size of sizeNames) {
      const text = starterConfig({ data, size, pretrained: null });
      fs.writeFileSync(file, text);
      const { model, data: read } = loadConfig(file, []);
      assert.deepEqual([read.name, model.heads % model.kvHeads], [data, 0]);
      for (const line of text.split('\n').filter((each) => each.startsWith('  '))) assert.match(line, /# \S/);
    }
});

test('completion: bash completes commands, options and choices; the other scripts are whole', (t) => {
  const script = path.join(testFolder(t), 'gqa.bash');
  fs.writeFileSync(script, completion('bash', commands));
  const complete = (...words: string[]): string[] =>
    execFileSync('bash', [
      ...[
        '-c',
        `source ${script}; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _gqa gqa "\${@: -1}" "\${@: -2:1}"; echo "\${COMPREPLY[@]}"`,
      ],
      ...['bash', ...words],
    ])
      .toString()
      .trim()
      .split(' ');
  assert.deepEqual(complete('gqa', 'exp'), ['export']);
  assert.deepEqual(complete('gqa', 'config', ''), ['init', 'schema', 'show']);
  assert.deepEqual(complete('gqa', 'config', 'init', '--size', ''), [...sizeNames]);
  assert.ok(complete('gqa', 'train', '--').includes('--resume'));
  for (const [shell, flag] of [
    ['zsh', '-n'],
    ['fish', '--no-execute'],
  ] as const) {
    const text = completion(shell, commands);
    for (const { name } of commands) assert.ok(text.includes(name.split(' ').at(-1) as string), `${shell}: ${name}`);
    const { error, status } = spawnSync(shell, [flag], { input: text });
    if (error !== undefined) t.diagnostic(`no ${shell} here: its script is not parsed`);
    else assert.equal(status, 0, `${shell} cannot read its script`);
  }
});
