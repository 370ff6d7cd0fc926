/** Checkpoints of a run on the disk: whole or not there, whatever happens while they are written. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import { GqaError } from '../../src/errors.js';
import { checkpointsIn, goodState, type KeptState, writeState } from '../../src/run/checkpoints.js';
import { temporaryFolder } from '../cli-run.js';

const BYTES = 100_000;

function kept(folder: string, step: number, keep = 1): KeptState {
  const best = path.join(folder, 'model.safetensors');
  fs.mkdirSync(folder, { recursive: true });
  fs.rmSync(best, { force: true }); // a second name of the one before, which stays as it is
  fs.writeFileSync(best, `best of step ${step}`);
  const state = (write: (bytes: Uint8Array) => void): void => {
    for (let i = 0; i < 4; i++) write(new Uint8Array(BYTES / 4).fill(step));
  };
  const manifest = { step, elapsed: 1, lengths: { 'results.csv': 10, 'skipped.jsonl': null }, run: { step } };
  return { folder: path.join(folder, 'state'), keep, state, bytes: BYTES, best, manifest };
}

const stepOf = (folder: string): number | undefined => goodState(path.join(folder, 'state'))?.manifest.step;

test('the newest is the good one, older ones stay as many as asked for', () => {
  const folder = temporaryFolder();
  assert.equal(goodState(path.join(folder, 'state')), null);
  for (const step of [1, 2, 3, 4]) writeState(kept(folder, step, 2));
  assert.deepEqual(checkpointsIn(path.join(folder, 'state')), ['000004-step-4', '000003-step-3', '000002-step-2']);
  assert.equal(stepOf(folder), 4);
  writeState(kept(folder, 5, 0));
  assert.deepEqual(checkpointsIn(path.join(folder, 'state')), ['000005-step-5']);
});

for (const [what, damage] of Object.entries({
  'a bit of the state': (place: string) => flip(path.join(place, 'state.safetensors')),
  'a bit of the best model': (place: string) => flip(path.join(place, 'best.safetensors')),
  'a bit of the manifest': (place: string) => flip(path.join(place, 'manifest.json')),
  'the end of the state': (place: string) => fs.truncateSync(path.join(place, 'state.safetensors'), BYTES - 1),
  'the manifest': (place: string) => fs.writeFileSync(path.join(place, 'manifest.json'), ''),
  'the best model': (place: string) => fs.rmSync(path.join(place, 'best.safetensors')),
}))
  test(`damaged: ${what}: the one before is taken, and that is told`, () => {
    const folder = temporaryFolder();
    for (const step of [1, 2]) writeState(kept(folder, step));
    damage(path.join(folder, 'state', '000002-step-2'));
    const good = goodState(path.join(folder, 'state'));
    assert.equal(good?.manifest.step, 1);
    assert.equal(good.passedOver.length, 1);
    damage(path.join(folder, 'state', '000001-step-1'));
    assert.throws(() => goodState(path.join(folder, 'state')), /no checkpoint of .* is whole/);
  });

function flip(file: string): void {
  const bytes = fs.readFileSync(file);
  const at = Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] as number) ^ 1;
  fs.rmSync(file);
  fs.writeFileSync(file, bytes);
}

/** Every call that changes the disk fails once, in its turn, after a part of its bytes where it has some. */
for (const code of ['ENOSPC', 'EIO', 'EACCES'])
  test(`${code} at every change: exit 5 or done, and a checkpoint loads`, () => {
    const CALLS = [
      'writeSync',
      'fsyncSync',
      'renameSync',
      'linkSync',
      'copyFileSync',
      'mkdirSync',
      'openSync',
    ] as const;
    const calls = Object.fromEntries(CALLS.map((name) => [name, fs[name]])) as unknown as Record<
      string,
      (...args: unknown[]) => unknown
    >;
    let failed = 0;
    for (let turn = 1; ; turn++) {
      const folder = temporaryFolder();
      writeState(kept(folder, 1));
      const next = kept(folder, 2);
      let count = 0;
      let met = false;
      for (const name of CALLS)
        (fs as unknown as Record<string, unknown>)[name] = (...args: unknown[]) => {
          if (name !== 'openSync' || args[1] !== 'r') count++;
          if (count !== turn || met) return calls[name]?.(...args);
          met = true;
          const [handle, bytes, offset, length] = args as [number, Uint8Array, number, number];
          if (name === 'writeSync' && typeof length === 'number') calls[name]?.(handle, bytes, offset, length >> 1);
          throw Object.assign(new Error(code), { code });
        };
      syncBuiltinESMExports();
      try {
        writeState(next);
      } catch (error) {
        assert.ok(error instanceof GqaError && error.code === 'io', String(error));
        failed++;
      } finally {
        Object.assign(fs, calls);
        syncBuiltinESMExports();
      }
      assert.ok([1, 2].includes(stepOf(folder) as number), `turn ${turn}`);
      writeState(kept(folder, 3));
      assert.equal(stepOf(folder), 3);
      assert.deepEqual(
        fs.readdirSync(path.join(folder, 'state')).filter((name) => name.startsWith('.')),
        [],
      );
      if (!met) break;
    }
    assert.ok(failed > 5);
  });

test('a disk that is too small: the bytes that are needed, and the old checkpoint whole', {
  skip: process.getuid?.() === 0 && process.platform === 'linux' ? false : 'needs to mount a small file system',
}, (t) => {
  const folder = temporaryFolder();
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=300k', 'none', folder]).status !== 0) {
    t.skip('no file system can be mounted here');
    return;
  }
  try {
    writeState(kept(folder, 1));
    writeState(kept(folder, 2));
    assert.throws(() => writeState(kept(folder, 3)), /needs 100000 bytes in .*, and \d+ are free|the disk is full/);
    assert.throws(() => writeState({ ...kept(folder, 3), bytes: 0 }), /the disk is full \(ENOSPC\)/);
    assert.equal(stepOf(folder), 2);
  } finally {
    spawnSync('umount', [folder]);
  }
});
