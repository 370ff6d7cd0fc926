/** A grouping from a file goes the whole way: layers of different KV heads train, are saved, loaded and evaluated. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { readModelCard } from '../../src/checkpoint/model-file.js';
import { openSafetensors } from '../../src/checkpoint/safetensors.js';
import { gqa, temporaryFolder } from '../cli-run.js';

const runsDir = temporaryFolder();
const SIZES = ['model.depth=4', 'model.heads=6'];

function train(runName: string, ...sets: string[]): Record<string, unknown> {
  const args = ['--config', 'configs/smoke.yaml', '--runs-dir', runsDir, '--run-name', runName, '--json'];
  const ran = gqa(['train', ...args, ...[...SIZES, ...sets].flatMap((set) => ['--set', set])]);
  assert.equal(ran.code, 0, ran.stderr);
  return JSON.parse(ran.stdout);
}

test('layers of 1, 2, 3 and 5 KV heads train, save, load and evaluate, and say so', () => {
  train('mha', 'model.variant=mha', 'model.kv_heads=null');
  const labels = path.join(runsDir, 'labels.json');
  const groups = [
    [0, 0, 0, 0, 0, 0],
    [0, 1, 1, 0, 1, 1],
    [0, 0, 1, 1, 2, 2],
    [0, 1, 2, 3, 4, 0],
  ];
  fs.writeFileSync(labels, JSON.stringify(groups));
  const mha = path.join(runsDir, 'smoke/mha/checkpoints/best/model.safetensors');
  const sets = [`model.pretrained=${mha}`, `model.grouping=${labels}`, 'model.kv_heads=null'];
  for (const variant of ['gqa', 'dgqa-ema']) {
    const report = train(variant, `model.variant=${variant}`, ...sets);
    assert.deepEqual(report.kv_heads, [1, 2, 3, 5]);
    const run = path.join(runsDir, `smoke/${variant}`);
    const card = readModelCard(openSafetensors(path.join(run, 'checkpoints/best/model.safetensors')));
    const meta = JSON.parse(fs.readFileSync(path.join(run, 'meta.json'), 'utf8'));
    assert.deepEqual([meta.grouping, meta.head_order[1]], [card?.model.grouping, [0, 3, 1, 2, 4, 5]]);
    // heads of a group lie side by side
    assert.deepEqual(card?.model.grouping[1], [0, 0, 1, 1, 1, 1]);
    assert.deepEqual(card?.model.grouping[3], [0, 0, 1, 2, 3, 4]);
    const evaluated = gqa(['eval', run, '--split', 'val', '--json']);
    assert.equal(evaluated.code, 0, evaluated.stderr);
    const { top1, loss, kv_heads } = JSON.parse(evaluated.stdout);
    const best = report.best as { top1: number; loss: number };
    assert.deepEqual([top1, loss, kv_heads], [best.top1, best.loss, [1, 2, 3, 5]]);
  }
});

test('labels with a number of KV heads, or for a variant without a choice, are refused at their place', () => {
  const refused = (...sets: string[]): string => {
    const args = ['train', '--config', 'configs/smoke.yaml', '--runs-dir', runsDir];
    const ran = gqa([...args, ...[...SIZES, ...sets].flatMap((set) => ['--set', set])]);
    assert.equal(ran.code, 2, ran.stderr);
    return ran.stderr;
  };
  assert.match(refused('model.grouping=./labels.json'), /kv_heads is 2, but the labels of model\.grouping say it/);
  assert.match(
    refused('model.grouping=./labels.json', 'model.variant=mha', 'model.kv_heads=null', 'model.window_size=300'),
    /model\.grouping is \.\/labels\.json, but variant mha leaves no choice of groups/,
  );
  assert.match(
    refused('model.grouping=stripes'),
    /model\.grouping is stripes; expected one of neighbours, random, .*, or a file/,
  );
  assert.match(refused('model.merge=median'), /model\.merge is median; expected one of mean, .*\nDid you mean mean\?/);
  assert.doesNotMatch(refused('model.merge=bases'), /10 classes/); // before data is opened
});
