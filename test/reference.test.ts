import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { before, test } from 'node:test';
import { startBackend } from '../src/native/backend.js';
import { compareAttention } from '../src/reference/attention.js';
import type { CaseResult } from '../src/reference/case.js';
import { compareNeighbours } from '../src/reference/neighbours.js';
import { comparePreprocess } from '../src/reference/preprocess.js';
import { gqa } from './cli-run.js';

const VECTORS = 'test/reference/attention';
const IMAGES = 'test/reference/preprocess';

/** The cases that every machine runs on wasm too. */
const ON_WASM = ['gqa_kv2', 'kdgqa_kv4', 'dgqa_ema_kv2'];

let native = false;
before(async () => {
  native = (await startBackend('auto')).name === 'tensorflow';
});

/** A copy of the vectors whose index holds these cases only, changed as wanted. */
function copyWith(
  names: string[],
  change: (index: { cases: Record<string, unknown>[] }, dir: string) => void = () => {},
): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'gqa-reference-'));
  fs.cpSync(VECTORS, dir, { recursive: true });
  const file = path.join(dir, 'index.json');
  const index = JSON.parse(fs.readFileSync(file, 'utf8'));
  index.cases = index.cases.filter((of: { name: string }) => names.includes(of.name));
  change(index, dir);
  fs.writeFileSync(file, JSON.stringify(index));
  return dir;
}

const byName = (results: Iterable<CaseResult>): Map<string, CaseResult> =>
  new Map([...results].map((result) => [result.name, result]));

for (const mode of ['compiled', 'eager'] as const) {
  test(`the project agrees with the paper’s code, ${mode}: conversion, logits, losses, gradients, AdamW, allocations, caches, noise`, (t) => {
    if (mode === 'compiled' && !native) return t.skip('compiled functions need the native runtime: npm run setup');
    const results = [...compareAttention(native ? VECTORS : copyWith(ON_WASM), mode)];
    assert.equal(results.length, native ? 14 : 5);
    assert.deepEqual(
      results.filter(({ passed }) => !passed),
      [],
    );
  });
}

for (const mode of ['compiled', 'eager'] as const)
  test(`the neighbouring methods agree with their vectors, ${mode}`, async (t) => {
    if (mode === 'compiled' && !native) return t.skip('compiled functions need the native runtime: npm run setup');
    const results: CaseResult[] = [];
    for await (const result of compareNeighbours('test/reference/neighbours', mode)) results.push(result);
    assert.equal(results.length, 34);
    assert.deepEqual(
      results.filter(({ passed }) => !passed),
      [],
    );
  });

test('the wasm backend agrees with the paper’s code too', () => {
  const { code, stdout, stderr } = gqa(['reference', copyWith(ON_WASM), '--device', 'wasm', '--json']);
  assert.equal(code, 0, stderr);
  const { passed, failed, cases } = JSON.parse(stdout);
  assert.deepEqual([passed, failed], [5, 0]);
  assert.deepEqual(
    cases.map(({ name }: CaseResult) => name),
    ['timm_mha', ...ON_WASM, 'pgqa_noise'],
  );
});

test('a case whose numbers were changed fails, and only that one', () => {
  const dir = copyWith(['gqa_kv1', 'gqa_kv2'], (index) => {
    const losses = index.cases[1]?.losses as number[];
    losses[2] = (losses[2] as number) + 1e-3;
  });
  const results = byName(compareAttention(dir, 'eager'));
  assert.equal(results.get('gqa_kv1')?.passed, true);
  assert.equal(results.get('gqa_kv2')?.passed, false);
  assert.match(results.get('gqa_kv2')?.detail as string, /losses 1\.0e-3 \(allowed 0\.0002\)/);
});

test('other splits, an unknown scheme and a missing file each fail their case', () => {
  const dir = copyWith(['dgqa_ema_kv2', 'gqa_kv1', 'gqa_kv2'], (index, folder) => {
    const splits = (index.cases.find(({ name }) => name === 'dgqa_ema_kv2') as { splits: number[][][] }).splits;
    splits[2] = (splits[2] as number[][]).map(() => [7, 1]);
    (index.cases.find(({ name }) => name === 'gqa_kv1') as { scheme: string }).scheme = 'xgqa';
    fs.rmSync(path.join(folder, 'gqa_kv2.safetensors'));
    fs.rmSync(path.join(folder, 'pgqa_noise.safetensors'));
  });
  const results = byName(compareAttention(dir, 'eager'));
  assert.match(results.get('dgqa_ema_kv2')?.detail as string, /splits [1-9]\.0e\+0 \(allowed 0\)/);
  assert.match(results.get('gqa_kv1')?.detail as string, /scheme “xgqa” is unknown/);
  assert.match(results.get('gqa_kv2')?.detail as string, /gqa_kv2\.safetensors: cannot be opened/);
  assert.match(results.get('pgqa_noise')?.detail as string, /cannot be opened/);
  assert.ok(['dgqa_ema_kv2', 'gqa_kv1', 'gqa_kv2', 'pgqa_noise'].every((name) => results.get(name)?.passed === false));
});

test('a case in which the paper’s code drew at random counts as converted only', () => {
  const dir = copyWith(['dgqa_diff_kv4'], (index) => {
    (index.cases[0] as { deterministic: boolean }).deterministic = false;
  });
  const result = byName(compareAttention(dir, 'eager')).get('dgqa_diff_kv4');
  assert.equal(result?.passed, true);
  assert.match(result?.detail as string, /^converted only/);
});

async function preprocessResults(dir: string): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  for await (const result of comparePreprocess(dir)) results.push(result);
  return results;
}

test('every operation of RandAugment, the resize in both directions and normalisation agree with torchvision and Pillow', async () => {
  const results = await preprocessResults(IMAGES);
  assert.equal(results.length, 50);
  assert.deepEqual(
    results.filter(({ passed }) => !passed),
    [],
  );
  // Tolerances are for others; ours are Pillow's bytes but for what the device rounds and sharp shrinks.
  const inexact = results
    .filter(({ detail }) => !/^(largest|pixels off by more than 1) 0 /.test(detail))
    .map(({ name }) => name);
  assert.deepEqual(
    inexact.filter((name) => !/^resize .*(device|512x384|300x700)|^normalize/.test(name)),
    [],
  );
});

test('the wasm backend enlarges and normalises as Pillow and torchvision do', () => {
  const dir = preprocessCopy((index) => {
    index.randaugment = [];
  });
  const { code, stdout, stderr } = gqa(['reference', dir, '--device', 'wasm', '--json']);
  assert.equal(code, 0, stderr);
  const { passed, failed, cases } = JSON.parse(stdout);
  assert.deepEqual([passed, failed], [7, 0]);
  assert.ok(cases.some(({ name }: CaseResult) => name.endsWith('device')));
});

function preprocessCopy(change: (index: Record<string, { [key: string]: unknown }[]>, dir: string) => void): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'gqa-reference-'));
  fs.cpSync(IMAGES, dir, { recursive: true });
  const file = path.join(dir, 'index.json');
  const index = JSON.parse(fs.readFileSync(file, 'utf8'));
  change(index, dir);
  fs.writeFileSync(file, JSON.stringify(index));
  return dir;
}

test('another image, a missing one, another magnitude and an unknown operation each fail their case', async () => {
  const dir = preprocessCopy((index, folder) => {
    const find = (op: string) => index.randaugment?.find((each) => each.op === op) as Record<string, unknown>;
    find('Equalize').output = find('AutoContrast').output;
    find('Posterize').level = 20;
    find('Rotate').output = find('ShearX').output;
    find('Solarize').op = 'Invert';
    fs.rmSync(path.join(folder, 'ra_AutoContrast_0_p.png'));
    fs.copyFileSync(path.join(folder, 'resized_64x64.png'), path.join(folder, 'resized_32x32.png'));
  });
  const failed = (await preprocessResults(dir)).filter(({ passed }) => !passed);
  const detailOf = (name: string): string => failed.find((result) => result.name.startsWith(name))?.detail ?? '';
  assert.match(detailOf('Equalize'), /AutoContrast_0_p\.png cannot be read/);
  assert.match(detailOf('AutoContrast'), /cannot be read/);
  assert.match(detailOf('Posterize'), /means 5 here and 7 there/);
  assert.match(detailOf('Rotate'), /pixels off by more than 1 0\.\d+ \(allowed 0\.02\)/);
  assert.match(detailOf('Invert'), /“Invert” is unknown/);
  assert.match(detailOf('resize in_32x32.png to 224 × 224, worker'), /largest \d+ \(allowed 1\)/);
  assert.match(detailOf('resize in_32x32.png to 224 × 224, device'), /largest \d+ \(allowed 1\)/);
  assert.equal(failed.length, 7);
});
