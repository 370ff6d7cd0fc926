/** A checkpoint by a folder, in several files, and the sizes that it shows. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { checkpointFile, openCheckpoint } from '../../src/checkpoint/open.js';
import { resizedPositions } from '../../src/checkpoint/positions.js';
import { sizesIn } from '../../src/checkpoint/sizes-in.js';
import { encodeSafetensors } from '../../src/checkpoint/write-safetensors.js';
import { GqaError } from '../../src/errors.js';
import { filled, timmTensors, writeCheckpoint } from './tensors.js';

const folderOf = (file: string): string => path.dirname(file);
const MODELS = 'test/checkpoint/models';

function refused(at: string, message: RegExp, hint = /./): void {
  assert.throws(
    () => openCheckpoint(at),
    (error) =>
      error instanceof GqaError && error.code === 'io' && message.test(error.message) && hint.test(error.hint ?? ''),
  );
}

test('a folder stands for the weights in it; none, or several, are said', () => {
  const file = writeCheckpoint({ a: filled(1) }, null, 'weights.safetensors');
  const folder = folderOf(file);
  assert.equal(checkpointFile(folder), file);
  assert.equal(checkpointFile(file), file);
  fs.copyFileSync(file, path.join(folder, 'other.safetensors'));
  refused(folder, /holds 2 checkpoints/, /other\.safetensors, weights\.safetensors/);
  fs.copyFileSync(file, path.join(folder, 'model.safetensors'));
  assert.equal(checkpointFile(folder), path.join(folder, 'model.safetensors'));
  const empty = folderOf(writeCheckpoint(Buffer.alloc(1), null, 'pytorch_model.bin'));
  refused(empty, /is a folder without a checkpoint/, /holds pytorch_model\.bin: save the weights with safetensors/);
  const run = folderOf(writeCheckpoint(Buffer.alloc(1), null, 'notes.txt'));
  fs.mkdirSync(path.join(run, 'checkpoints/best'), { recursive: true });
  fs.copyFileSync(file, path.join(run, 'checkpoints/best/model.safetensors'));
  assert.equal(checkpointFile(run), path.join(run, 'checkpoints/best/model.safetensors'));
});

test('several files are read as one; an index that they contradict is refused', () => {
  const folder = folderOf(writeCheckpoint({ a: filled(2) }, null, 'model-00001-of-00002.safetensors'));
  const index = path.join(folder, 'model.safetensors.index.json');
  const place = (weightMap: Record<string, string>): void =>
    fs.writeFileSync(index, JSON.stringify({ metadata: { total_size: 1 }, weight_map: weightMap }));
  const [first, second] = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;
  place({ a: first, b: second });
  refused(folder, /1 file of 2 missing: model-00002/, /again, whole/);
  fs.writeFileSync(path.join(folder, second), encodeSafetensors({ b: filled(3) }));
  const { tensors } = openCheckpoint(index);
  assert.deepEqual(
    [...tensors].map(([name, { file }]) => [name, path.basename(file)]),
    [
      ['a', first],
      ['b', second],
    ],
  );
  place({ a: first, b: second, c: second });
  refused(folder, /places c in model-00002-of-00002\.safetensors, which does not hold it/);
  place({ a: first, c: second });
  refused(folder, /holds b, which it places in no file/);
  place({ a: '../model.safetensors' });
  refused(folder, /names \.\.\/model\.safetensors/);
  fs.writeFileSync(index, '{"weight_map": 3}');
  refused(index, /no weight_map/);
  fs.writeFileSync(index, '{');
  refused(index, /is no index of a checkpoint/);
});

test('sizes are read off a checkpoint: every model of models/, and one of ours', () => {
  const sizes = { imageSize: 8, patchSize: 4, embedDim: 24, depth: 2, mlpRatio: 2 };
  for (const name of fs.readdirSync(MODELS).filter((each) => fs.statSync(`${MODELS}/${each}`).isDirectory())) {
    const { heads, ...found } = sizesIn(openCheckpoint(`${MODELS}/${name}`));
    assert.deepEqual(found, { ...sizes, imageSize: name === 'timm-resized' ? 24 : 8 }, name);
    // only a config.json says it: 24 is no width of timm's
    assert.equal(heads, fs.existsSync(`${MODELS}/${name}/config.json`) ? 4 : null, name);
  }
  const wide = timmTensors((tensors) => {
    tensors['patch_embed.proj.weight'] = filled(192, 3, 16, 16);
    tensors.pos_embed = filled(1, 197, 192);
    for (let i = 2; i < 12; i++) tensors[`blocks.${i}.norm1.weight`] = filled(192);
  });
  const { heads, imageSize, patchSize } = sizesIn(openCheckpoint(writeCheckpoint(wide)));
  assert.equal(
    sizesIn(openCheckpoint(writeCheckpoint({ ...wide, 'blocks.12.norm1.weight': filled(192) }))).heads,
    null,
  );
  assert.deepEqual({ heads, imageSize, patchSize }, { heads: 3, imageSize: 224, patchSize: 16 });
});

test('positions are resized as timm does, to 1e-5', () => {
  const cases = JSON.parse(fs.readFileSync(`${MODELS}/positions.json`, 'utf8')) as {
    before: number;
    after: number;
    values: number[];
    resized: number[];
  }[];
  for (const { before, after, values, resized } of cases) {
    const found = resizedPositions(Float32Array.from(values), before, after);
    assert.equal(found.length, resized.length);
    const largest = Math.max(...[...found].map((value, i) => Math.abs(value - (resized[i] as number))));
    assert.ok(largest <= 1e-5, `${before} → ${after}: off by ${largest}`);
  }
});
