import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { locateNative } from '../../src/native/locate.js';

const CLI = new URL('../../src/commands/doctor.js', import.meta.url).href;

/**
 * Runs the command in a process of its own with every GPU hidden, so that the tests mean the same on a machine with
 * one.
 */
function doctor(options: { device?: 'gpu' | 'native'; json?: boolean }) {
  const code = `import { doctor } from '${CLI}';
    try { await doctor(${JSON.stringify(options)}); } catch (error) { console.error(error.message); process.exitCode = error.code === 'environment' ? 4 : 1; }`;
  return spawnSync(process.execPath, ['--input-type=module', '-e', code], {
    encoding: 'utf8',
    env: { ...process.env, CUDA_VISIBLE_DEVICES: '-1', TF_NUM_INTRAOP_THREADS: '1' },
  });
}

test('doctor --json is one document with runtime, candidates, CUDA, settings, CPU, memory and data sets', () => {
  const result = doctor({ json: true });
  assert.equal(result.status, 0, result.stderr);
  const report = JSON.parse(result.stdout);
  assert.equal(report.node.version, process.versions.node);
  assert.equal(report.runtime.name, locateNative().present ? 'tensorflow' : 'wasm');
  assert.deepEqual(report.native, JSON.parse(JSON.stringify(locateNative())));
  assert.ok(report.cuda.some(({ file }: { file: string }) => file === 'libcudart.so.12'));
  assert.ok(
    report.settings.some(
      ({ name, value }: { name: string; value: string }) => name === 'TF_NUM_INTRAOP_THREADS' && value === '1',
    ),
  );
  assert.ok(report.memory.total > 0 && report.cpu.cores > 0);
  assert.ok(report.datasets.includes('datasets/fashion-mnist-subset'));
});

test('doctor says as text why each candidate was taken or not', () => {
  const result = doctor({});
  assert.equal(result.status, 0, result.stderr);
  for (const { name, reason } of locateNative().candidates)
    assert.ok(result.stdout.includes(`${name}: ${reason}`), name);
});

test('doctor --device gpu without a GPU prints the report and ends with 4 and every reason', () => {
  const result = doctor({ device: 'gpu' });
  assert.equal(result.status, 4);
  assert.match(result.stdout, /no GPU because/);
  assert.match(
    result.stderr,
    locateNative().present ? /CUDA_VISIBLE_DEVICES is '-1'/ : /device gpu needs a GPU, but: /,
  );
});

test('doctor --device native ends with 4 only where there is no native runtime', () => {
  assert.equal(doctor({ device: 'native' }).status, locateNative().present ? 0 : 4);
});
