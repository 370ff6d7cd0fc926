/** Models of the hub, from a local server that speaks its protocol and has its faults. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { openCheckpoint } from '../../src/checkpoint/open.js';
import { fetchModel } from '../../src/download/hub.js';
import { hubModel, hubPlaces } from '../../src/download/hub-cache.js';
import { GqaError } from '../../src/errors.js';
import { testFolder } from '../data/files.js';
import { COMMIT, type HubFaults, serveHub } from './hub-server.js';

const MODELS = 'test/checkpoint/models';
const impatient = { stallMs: 2000, delaysMs: [1, 1] };
const silent = { progress: () => ({ update() {}, stop() {} }), notice() {} };

async function hubWith(t: TestContext, faults: HubFaults = {}) {
  const root = testFolder(t);
  for (const [name, from] of [
    ['timm/plain', 'timm-plain'],
    ['google/sharded', 'hf-sharded'],
  ] as const)
    cpSync(`${MODELS}/${from}`, path.join(root, name), { recursive: true });
  writeFileSync(path.join(root, 'timm/plain/config.json'), '{"architecture": "vit_tiny_patch16_224"}');
  mkdirSync(path.join(root, 'old/pickle'), { recursive: true });
  const server = await serveHub(root, faults);
  t.after(server.close);
  const env = { HF_ENDPOINT: server.endpoint, HF_HOME: path.join(testFolder(t), 'hf') };
  const get = (id: string, more: Record<string, string> = {}) =>
    fetchModel(hubModel(id) as never, silent, { ...env, ...more }, impatient);
  return { ...server, env, get };
}

async function refused(doing: Promise<unknown>, code: string, message: RegExp, hint: RegExp): Promise<void> {
  await assert.rejects(doing, (error) => {
    assert.ok(error instanceof GqaError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.match(error.hint ?? '', hint);
    return true;
  });
}

test('ids of the hub, and what is a path', () => {
  assert.deepEqual(hubModel('google/vit-base-patch16-224'), { id: 'google/vit-base-patch16-224', revision: 'main' });
  assert.deepEqual(hubModel('hf-hub:timm/vit_small_patch16_224.augreg_in21k_ft_in1k@refs/pr/1'), {
    id: 'timm/vit_small_patch16_224.augreg_in21k_ft_in1k',
    revision: 'refs/pr/1',
  });
  for (const path of ['vit.safetensors', 'a/b/c', './a/b', '../a/b', '/a/b', 'runs/x.safetensors', 'a/b@../c', '~/b'])
    assert.equal(hubModel(path), null, path);
});

test('a model comes into the usual cache, once: weights, config.json, the commit of its branch', async (t) => {
  const { get, asked, env } = await hubWith(t);
  const { folder, commit } = await get('timm/plain');
  assert.equal(commit, COMMIT);
  const cache = path.join(env.HF_HOME, 'hub', 'models--timm--plain');
  assert.equal(folder, path.join(cache, 'snapshots', COMMIT));
  assert.equal(readFileSync(path.join(cache, 'refs/main'), 'utf8'), COMMIT);
  assert.deepEqual(readdirSync(folder).sort(), ['config.json', 'model.safetensors']);
  assert.ok(lstatSync(path.join(folder, 'model.safetensors')).isSymbolicLink());
  assert.deepEqual(
    readFileSync(path.join(folder, 'model.safetensors')),
    readFileSync(`${MODELS}/timm-plain/model.safetensors`),
  );
  const blobs = readdirSync(path.join(cache, 'blobs'));
  assert.equal(blobs.length, 2);
  assert.ok(
    blobs.every((name) => /^[0-9a-f]{40}$|^[0-9a-f]{64}$/.test(name)),
    blobs.join(),
  );
  const before = asked.length;
  assert.deepEqual(await get('timm/plain'), { folder, commit });
  assert.deepEqual(await get(`timm/plain@${COMMIT}`, { HF_HUB_OFFLINE: '1' }), { folder, commit });
  assert.equal(asked.length, before, 'nobody is asked for what is there');
});

test('a model in several files comes whole, and again where one was taken away', async (t) => {
  const { get } = await hubWith(t);
  const { folder } = await get('google/sharded');
  assert.equal(openCheckpoint(folder).tensors.size, openCheckpoint(`${MODELS}/hf-sharded`).tensors.size);
  const part = path.join(folder, 'model-00002-of-00003.safetensors');
  rmSync(part);
  await get('google/sharded');
  assert.ok(existsSync(part));
});

test('a connection that is cut is gone on with, from the byte it had', async (t) => {
  const { get, asked } = await hubWith(t, { cutAfter: 5000 });
  const { folder } = await get('timm/plain');
  assert.deepEqual(
    readFileSync(path.join(folder, 'model.safetensors')),
    readFileSync(`${MODELS}/timm-plain/model.safetensors`),
  );
  assert.equal(asked.filter((line) => line.startsWith('GET large:')).length, 2);
});

test('a token is sent to the hub and nowhere else, from the usual places', async (t) => {
  const { get, env } = await hubWith(t, { token: 'secret' });
  await refused(
    get('timm/plain'),
    'environment',
    /is not there, or not for everyone .*401/,
    /No token was found.*HF_TOKEN/,
  );
  await refused(get('timm/plain', { HF_TOKEN: 'other' }), 'environment', /not for everyone/, /not one that may read/);
  mkdirSync(env.HF_HOME, { recursive: true });
  writeFileSync(path.join(env.HF_HOME, 'token'), 'secret\n');
  assert.equal(hubPlaces(env).token, 'secret');
  await get('timm/plain'); // the large host answers 400 to a token
});

test('what the hub has not, and what is offline, is said with what to do', async (t) => {
  const { get } = await hubWith(t);
  await refused(get('timm/nothing'), 'environment', /timm\/nothing is not there/, /Check the name/);
  await refused(get('timm/plain@v9'), 'environment', /has no revision v9/, /branch, tag or commit/);
  await refused(get('old/pickle'), 'environment', /has no model\.safetensors/, /save_pretrained/);
  await refused(
    get('timm/plain', { HF_HUB_OFFLINE: '1' }),
    'environment',
    /is not in .*forbids/,
    /hf download timm\/plain/,
  );
  await refused(
    get('timm/plain', { HF_ENDPOINT: 'http://127.0.0.1:9' }),
    'environment',
    /cannot be reached/,
    /HF_ENDPOINT/,
  );
});

test('damaged content is not kept; a server that answers 500 is said', async (t) => {
  const { get, env } = await hubWith(t, { damaged: true });
  await refused(get('timm/plain'), 'data', /the SHA256 is .* expected/, /again/);
  const cache = path.join(env.HF_HOME, 'hub/models--timm--plain');
  assert.ok(!existsSync(path.join(cache, 'snapshots', COMMIT, 'model.safetensors')));
  const down = await hubWith(t, { status: 500 });
  await refused(down.get('timm/plain'), 'environment', /cannot be asked for now .*500/, /HF_ENDPOINT/);
});
