/**
 * The one set-up of the project, called by every npm script: Node's version → npm packages → native runtime → build.
 * Each step looks whether it is needed, so that the second call downloads and compiles nothing. Only node: modules,
 * since it runs before anything is installed.
 *
 *   node scripts/setup.mjs [--cuda | --cpu | --build-only]
 */

import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildProject } from './build.mjs';
import { withLock } from './lock.mjs';
import { describe, gpuDriverPresent, setUpNative } from './native-runtime.mjs';
import { installPackages, nodeProblem } from './packages.mjs';

export const ROOT = fileURLToPath(new URL('..', import.meta.url)).replace(/[/\\]$/, '');

/** Exit codes as in src/errors.ts, which is not built yet when this runs. */
const EXIT = { unexpected: 1, usage: 2, environment: 4 };

/**
 * Sets everything up, telling progress on stderr, or ends the process with the exit code that says why not.
 *
 * @param {{ flavour?: 'cpu' | 'cuda', native?: boolean, repair?: boolean }} [options] native: false leaves the native
 *   runtime as it is; repair: what failed before is tried again
 */
export async function setUp({ flavour, native = true, repair = false } = {}) {
  const problem = nodeProblem(process.versions.node);
  if (problem !== null) stop(EXIT.environment, problem);
  // process.exit runs the clean-up of what is half-fetched or half-built.
  process.once('SIGINT', () => process.exit(130)).once('SIGTERM', () => process.exit(143));
  try {
    await withLock(ROOT, () => setUpLocked(flavour, native, repair), notice);
  } catch (error) {
    stop(EXIT.unexpected, error.message);
  }
}

async function setUpLocked(flavour, native, repair) {
  installPackages(ROOT, notice);
  if (native) {
    const record = await setUpNative(ROOT, flavour, process.env, notice, repair);
    notice(describe(record));
    if (record.flavour === 'cpu' && gpuDriverPresent())
      notice('an NVIDIA driver is here: `npm run setup -- --cuda` fetches the CUDA libraries');
    // asked for by name, so not having it is a failure
    if (flavour === 'cuda' && record.runtime !== 'native') process.exitCode = EXIT.environment;
  }
  buildProject(ROOT, notice);
}

function notice(line) {
  console.error(`set-up: ${line}`);
}

function stop(code, message) {
  console.error(message);
  process.exit(code);
}

/** True when the file was started itself, false when another script imports it. */
export function isMain(url) {
  return process.argv[1] !== undefined && path.resolve(process.argv[1]) === fileURLToPath(url);
}

if (isMain(import.meta.url)) {
  const known = { '--cuda': { flavour: 'cuda' }, '--cpu': { flavour: 'cpu' }, '--build-only': { native: false } };
  const [flag, ...more] = process.argv.slice(2);
  if (more.length > 0 || (flag !== undefined && !Object.hasOwn(known, flag))) {
    stop(EXIT.usage, `Usage: npm run setup [-- --cuda | --cpu], but found: ${[flag, ...more].join(' ')}`);
  }
  await setUp({ repair: true, ...(flag === undefined ? {} : known[flag]) });
}
