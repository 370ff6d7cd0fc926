/**
 * Two processes that find the lock of a dead one at the same moment: only one gets it. Of set-up's lock and of that of
 * `gqa data fetch`.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { place, testFolder } from '../data/files.js';

const DEAD = '4194305'; // above any process id of Linux

interface Lock {
  name: string;
  /** Where it lies, for a folder; code that is true when a file's path is the lock's. */
  isLock: string;
  /** Code that runs `body` with the lock of `folder`, and prints `refused` when it is not to be had. */
  locked(folder: string, body: string): string;
  /** Leaves the lock of a dead process. */
  die(folder: string): void;
}

const setUp = JSON.stringify(pathToFileURL(path.resolve('scripts/lock.mjs')).href);
const fetching = JSON.stringify(pathToFileURL(path.resolve('dist/src/files/lock.js')).href);

const LOCKS: Lock[] = [
  {
    name: 'set-up',
    isLock: `/gqa-setup-[0-9a-f]{16}\\.lock$/.test(file)`,
    locked: (folder, body) =>
      `const { withLock } = await import(${setUp}); await withLock(${JSON.stringify(folder)}, async () => { ${body} }, () => {});`,
    die(folder) {
      const dies = `${this.locked(folder, "process.kill(process.pid, 'SIGKILL'); await new Promise(() => {});")}`;
      assert.equal(spawnSync(process.execPath, ['--input-type=module', '-e', dies]).signal, 'SIGKILL');
    },
  },
  {
    name: 'fetch',
    isLock: `/work.lock$/.test(file)`,
    locked: (folder, body) =>
      `const { claim } = await import(${fetching}); let release = null; try { release = claim(${JSON.stringify(path.join(folder, 'work.lock'))}, 'work'); } catch (error) { console.log('refused'); }
       if (release !== null) { ${body}; release(); }`,
    die: (folder) => void place(folder, 'work.lock', DEAD),
  },
];

for (const lock of LOCKS) {
  test(`${lock.name}: what was read of a dead holder is looked at again before its lock is taken over`, (t) => {
    const folder = testFolder(t);
    const file = (name: string): string => JSON.stringify(path.join(folder, name));
    lock.die(folder);
    // The other takes the lock over, and keeps it for a while.
    const other = place(
      folder,
      'other.mjs',
      `import fs from 'node:fs'; ${lock.locked(folder, `fs.writeFileSync(${file('in')}, ''); await new Promise((resolve) => setTimeout(resolve, 700)); fs.writeFileSync(${file('out')}, '')`)}`,
    );
    // It does so just after this one has read that the holder is dead.
    const slow = `import fs from 'node:fs'; import { spawn } from 'node:child_process'; import { syncBuiltinESMExports } from 'node:module';
      const read = fs.readFileSync; let first = true;
      fs.readFileSync = (file, ...more) => {
        const found = read(file, ...more);
        if (first && ${lock.isLock}) { first = false; spawn(process.execPath, [${JSON.stringify(other)}], { stdio: 'inherit' }); while (!fs.existsSync(${file('in')})); }
        return found;
      };
      syncBuiltinESMExports();
      ${lock.locked(folder, `console.log(fs.existsSync(${file('out')}) ? 'after it' : 'at the same time')`)}`;
    const ran = spawnSync(process.execPath, ['--input-type=module', '-e', slow], { encoding: 'utf8', timeout: 60_000 });
    assert.equal(ran.status, 0, ran.stderr);
    assert.match(ran.stdout, lock.name === 'fetch' ? /^refused\n$/ : /^after it\n$/, ran.stdout);
    assert.ok(existsSync(path.join(folder, 'out')));
  });
}

test('of many set-ups that race for dead locks, some of which die holding theirs, no two are in at once, and all come to an end', async (t) => {
  const folder = testFolder(t);
  const [set] = LOCKS as [Lock];
  set.die(folder);
  const inside = JSON.stringify(path.join(folder, 'inside'));
  const log = JSON.stringify(path.join(folder, 'log'));
  const racer = (dies: boolean): string =>
    `import fs from 'node:fs'; ${set.locked(
      folder,
      `fs.writeFileSync(${inside}, '', { flag: 'wx' }); await new Promise((resolve) => setTimeout(resolve, 15)); fs.rmSync(${inside}); fs.appendFileSync(${log}, 'x');
       ${dies ? "process.kill(process.pid, 'SIGKILL'); await new Promise(() => {});" : ''}`,
    )}`;
  const raced = (dies: boolean): Promise<string> => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', racer(dies)], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.on('data', (text) => {
      said += text;
    });
    return new Promise((resolve) => child.on('close', (code, signal) => resolve(`${code ?? signal} ${said}`.trim())));
  };
  assert.deepEqual(
    await Promise.all(Array.from({ length: 9 }, (_, i) => raced(i % 3 === 0))),
    Array.from({ length: 9 }, (_, i) => (i % 3 === 0 ? 'SIGKILL' : '0')),
  );
  assert.equal(await raced(false), '0'); // takes over where the last one in was one that died
  assert.equal(readFileSync(path.join(folder, 'log'), 'utf8'), 'x'.repeat(10));
  const name = createHash('sha256').update(`${os.userInfo().uid} ${folder}`).digest('hex').slice(0, 16);
  assert.deepEqual(
    readdirSync(os.tmpdir()).filter((file) => file.includes(name)),
    [],
  );
});
