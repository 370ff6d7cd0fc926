/**
 * `npm test`: set-up (whose build is the type check), lint, then the tests.
 *
 *   node scripts/test.mjs [FILTER]    with a FILTER only the test files whose path contains it, without lint
 */

import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { lint } from './lint.mjs';
import { runNode } from './run-cli.mjs';
import { ROOT, setUp } from './setup.mjs';

const filter = process.argv[2];
await setUp();
const linted = filter === undefined ? await lint() : 0;
if (linted !== 0) {
  console.error('lint failed: `npx biome check --write` corrects most of it. The tests were not run.');
  process.exit(linted);
}

// Node 20's test runner knows no globs.
const folder = path.join(ROOT, 'dist/test');
const files = (existsSync(folder) ? readdirSync(folder, { recursive: true }) : [])
  .filter((file) => file.endsWith('.test.js') && (filter === undefined || file.includes(filter)))
  .sort()
  .map((file) => path.join('dist/test', file));
if (files.length === 0) {
  console.error(
    filter === undefined
      ? 'There is no test in dist/test, which cannot be right.'
      : `No test file's path contains '${filter}'.`,
  );
  process.exit(2);
}
// As many files at once as there are cores: many tests wait for a process that starts. Node before 20.10 knows no such
// flag, and takes one core less.
const atOnce = nodeIsAtLeast(20, 10) ? [`--test-concurrency=${availableParallelism()}`] : [];
process.exitCode = await runNode(['--test', '--test-reporter=spec', ...atOnce, ...files], { cwd: ROOT });

function nodeIsAtLeast(major, minor) {
  const [own = 0, ownMinor = 0] = process.versions.node.split('.').map(Number);
  return own > major || (own === major && ownMinor >= minor);
}
