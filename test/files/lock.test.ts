/** A lock is held as long as its process lives, whatever the clock says. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { GqaError } from '../../src/errors.js';
import { claim, holderOf } from '../../src/files/lock.js';

const busy = (): GqaError => new GqaError('io', 'busy');

test('on one host a clock that jumps, or a heartbeat of long ago (a machine that slept), takes no lock away', (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'gqa-lock-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'lock');
  const lock = claim(file, busy);
  for (const seconds of [0, Date.now() / 1000 + 1e6]) {
    utimesSync(file, seconds, seconds);
    assert.equal(holderOf(file)?.pid, process.pid);
    assert.throws(() => claim(file, busy), /busy/);
    assert.equal(lock.lost(), false);
  }
  lock.release();
  assert.equal(holderOf(file), null);
});

test('of another host, a heartbeat in the future holds, and one of long ago does not', (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'gqa-lock-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'lock');
  writeFileSync(file, `${process.pid} 0 not-${hostname()} -`);
  utimesSync(file, Date.now() / 1000 + 1e6, Date.now() / 1000 + 1e6);
  assert.throws(() => claim(file, busy), /busy/);
  utimesSync(file, 0, 0);
  const lock = claim(file, busy);
  assert.deepEqual(lock.takenFrom, { pid: process.pid, host: `not-${hostname()}` });
  lock.release();
});
