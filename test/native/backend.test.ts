import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { whyNoGpu } from '../../src/native/backend.js';
import { locateNative } from '../../src/native/locate.js';

const runtime = locateNative();
const noNative = runtime.present
  ? false
  : `no native runtime here: ${runtime.candidates.map(({ reason }) => reason).join('; ')}`;

/**
 * Starts the backend in a process of its own, since one process has one backend, and multiplies two matrices through
 * our import of tfjs-core.
 */
function start(device: string, env: NodeJS.ProcessEnv = {}) {
  const backend = pathToFileURL(builtFile('src/native/backend.js')).href;
  const code = `
    import * as tf from '@tensorflow/tfjs-core';
    import { startBackend } from '${backend}';
    try {
      const found = await startBackend('${device}');
      const again = await startBackend('${device}');
      const product = tf.matMul([[1, 2]], [[3], [4]]).dataSync()[0];
      const gradient = tf.grad((x) => tf.sum(tf.square(x)))(tf.tensor1d([3])).dataSync()[0];
      console.log(JSON.stringify({ found, same: found === again, product, gradient, growth: process.env.TF_FORCE_GPU_ALLOW_GROWTH, visible: process.env.CUDA_VISIBLE_DEVICES }));
    } catch (error) {
      console.log(JSON.stringify({ code: error.code, message: error.message, hint: error.hint }));
    }`;
  const result = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  assert.equal(result.status, 0, result.stderr);
  const lines = result.stdout.trim().split('\n');
  assert.equal(lines.length, 1, `something else was written to stdout: ${result.stdout}`);
  return { ...JSON.parse(lines[0]!), stderr: result.stderr };
}

/** dist/test/native/backend.test.js → dist/`file` */
function builtFile(file: string): string {
  return path.join(fileURLToPath(new URL('../..', import.meta.url)), file);
}

test('wasm starts, computes, has gradients, and says nothing by itself', () => {
  const result = start('wasm');
  assert.deepEqual(result.found, {
    ...{ name: 'wasm', device: 'cpu', version: '4.22.0', notice: null },
    fused: { problem: 'they are libtensorflow’s' },
  });
  assert.deepEqual([result.product, result.gradient, result.same], [11, 6, true]);
  assert.equal(result.stderr, '');
});

test('native starts on libtensorflow, computes through the same tfjs-core, and takes GPU memory as needed', {
  skip: noNative,
}, () => {
  const result = start('native');
  assert.equal(result.found.name, 'tensorflow');
  assert.equal(result.found.version, runtime.version);
  assert.deepEqual([result.product, result.gradient, result.growth], [11, 6, 'true']);
  assert.doesNotMatch(result.stderr, /Deprecat|Hi, looks like/);
});

test('device cpu hides every GPU before the library loads', { skip: noNative }, () => {
  const result = start('cpu');
  assert.deepEqual([result.found.name, result.found.device, result.visible], ['tensorflow', 'cpu', '-1']);
});

test('device gpu with every GPU hidden is an environment error that says so', () => {
  const result = start('gpu', { CUDA_VISIBLE_DEVICES: '-1' });
  assert.equal(result.code, 'environment');
  assert.match(result.message, runtime.present ? /CUDA_VISIBLE_DEVICES is '-1', which hides every GPU/ : /./);
});

test('auto takes the native runtime where there is one, and otherwise wasm with the reasons in its notice', () => {
  const { found } = start('auto');
  if (runtime.present) assert.equal(found.name, 'tensorflow');
  else assert.match(found.notice, /wasm.*: /);
});

test('a process that started one device refuses to become another', () => {
  const code = `import { startBackend } from '${pathToFileURL(builtFile('src/native/backend.js')).href}';
    await startBackend('wasm');
    try { await startBackend('cpu'); } catch (error) { console.log(error.code, error.message); }`;
  const result = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' });
  assert.match(result.stdout, /^environment .*wasm.*cpu/);
});

test('each cause for having no GPU is named', () => {
  const cuda = { ...runtime, flavour: 'cuda' as const, library: '/nonexistent/tensorflow' };
  const reasons = whyNoGpu(cuda, { CUDA_VISIBLE_DEVICES: '' }).join('\n');
  assert.match(reasons, /CUDA_VISIBLE_DEVICES is ''/);
  assert.match(whyNoGpu({ ...cuda, flavour: 'cpu' }, {}).join('\n'), /CPU build.*npm run setup -- --cuda/);
});
