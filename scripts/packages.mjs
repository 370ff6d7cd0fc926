/** The Node version the project runs on, and npm's packages as package-lock.json lists them. */

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { hasGlibc } from './libtensorflow.mjs';

/**
 * One plain sentence when `version` is too old or too new, else null.
 *
 * @param {string} version as process.versions.node, e.g. '20.20.2'
 * @returns {string | null}
 */
export function nodeProblem(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > 24)
    return `gqa runs on Node 20.9 to 24, but this is Node ${version}: install Node 24, 22 or 20 and start again.`;
  if (major < 20 || (major === 20 && minor < 9)) {
    return `gqa runs on Node 20.9 to 24, but this is Node ${version}: install Node 22 or 24 and start again.`;
  }
  return null;
}

/**
 * Runs `npm ci` in `root` unless node_modules already holds what the lock file lists.
 *
 * @param {string} root
 * @param {(line: string) => void} notice
 */
export function installPackages(root, notice) {
  if (packagesMatch(root)) return;
  notice('installing npm packages (npm ci, install scripts off)');
  // --include=dev: the compiler and the linter are needed even where NODE_ENV says production.
  const npm = npmCommand();
  const result = spawnSync(
    npm[0],
    [...npm.slice(1), 'ci', '--include=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
    {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      shell: process.platform === 'win32',
    },
  );
  if (result.status === 0) return;
  // npm says what is wrong first and how it is used last.
  const said = `${result.stderr ?? ''}${result.error?.message ?? ''}`
    .split('\n')
    .filter((line) => line.replace('npm error', '').trim() !== '');
  throw new Error(
    `npm ci failed; without the packages of package-lock.json nothing can run. It said:\n${said.slice(0, 6).join('\n')}`,
  );
}

/**
 * npm as the one that started us where there is one (its path need not be on the PATH), else the one beside this node,
 * else the PATH's.
 */
function npmCommand() {
  const started = process.env.npm_execpath;
  if (started?.endsWith('npm-cli.js') && existsSync(started)) return [process.execPath, started];
  const beside = path.join(path.dirname(process.execPath), '../lib/node_modules/npm/bin/npm-cli.js');
  return existsSync(beside) ? [process.execPath, beside] : ['npm'];
}

/**
 * Whether npm's own list of what it installed (node_modules/.package-lock.json) agrees with package-lock.json.
 * Optional packages count when they are for this machine.
 *
 * @param {string} root
 * @returns {boolean}
 */
export function packagesMatch(root) {
  const wanted = readPackages(path.join(root, 'package-lock.json'));
  const installed = readPackages(path.join(root, 'node_modules/.package-lock.json'));
  if (wanted === null)
    throw new Error(
      `${path.join(root, 'package-lock.json')} is missing or not JSON; take it from the repository again.`,
    );
  if (installed === null) return false;
  for (const [place, entry] of Object.entries(wanted)) {
    if (place === '') continue;
    const there = installed[place];
    if (there === undefined && entry.optional === true && !isForThisMachine(entry)) continue;
    if (there?.version !== entry.version || there.integrity !== entry.integrity) return false;
    if (!existsSync(path.join(root, place, 'package.json'))) return false;
  }
  return Object.keys(installed).every((place) => wanted[place] !== undefined);
}

function readPackages(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages ?? null;
  } catch {
    return null; // missing or torn: the caller decides what that means
  }
}

/**
 * Packages that name no system at all are optional helpers of other systems' packages; npm leaves them out when nothing
 * needs them.
 */
function isForThisMachine(entry) {
  if (entry.os === undefined && entry.cpu === undefined) return false;
  const libc = hasGlibc() ? 'glibc' : 'musl';
  const fits = (list, value) => list === undefined || list.includes(value);
  return (
    fits(entry.os, process.platform) &&
    fits(entry.cpu, process.arch) &&
    (process.platform !== 'linux' || fits(entry.libc, libc))
  );
}
