/** The native addon of tfjs-node-gpu: compiled from the package's own sources, and one of ours that measures steps, with one call of the C++ compiler; kept in the per-user cache. */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const FLAGS = ['-std=c++17', '-O2', '-fPIC', '-shared', '-DNAPI_VERSION=8', '-DTF_SessionRun=GqaSessionRun'];
const COMPILERS = ['c++', 'g++', 'clang++'];

/** Where tfjs-node-gpu looks for its addon. */
export function addonPlace(root) {
  return path.join(root, 'node_modules/@tensorflow/tfjs-node-gpu/lib/napi-v8/tfjs_binding.node');
}

/**
 * A name that changes with everything the addon is built from: the package's sources, Node's headers, flags, and the library folder, which is written into it.
 *
 * @param {string} root
 * @param {string} library folder of libtensorflow
 */
export function addonKey(root, library) {
  const hash = createHash('sha256');
  for (const file of addonSources(root)) hash.update(path.basename(file)).update(readFileSync(file));
  hash.update(readFileSync(path.join(root, 'node_modules/node-api-headers/package.json')));
  hash.update(JSON.stringify([FLAGS, library]));
  const version = JSON.parse(readFileSync(path.join(root, 'node_modules/@tensorflow/tfjs-node-gpu/package.json'), 'utf8')).version;
  return `addon-${version}-${hash.digest('hex').slice(0, 16)}`;
}

function addonSources(root) {
  const folder = path.join(root, 'node_modules/@tensorflow/tfjs-node-gpu/binding');
  const names = readdirSync(folder).sort();
  return [...names.map((name) => path.join(folder, name)), path.join(root, 'src/native/step-stats.cc')];
}

/**
 * Compiles the addon against the library folder into `target`, through a temporary name.
 *
 * @returns {string | null} the reason why it failed, or null
 */
export function compileAddon(root, library, target, env) {
  const named = env.CXX?.trim();
  const candidates = named ? [named] : COMPILERS;
  const compiler = candidates.find((name) => spawnSync(name, ['--version'], { env, stdio: 'ignore' }).status === 0);
  if (compiler === undefined) {
    return named
      ? `the C++ compiler of CXX (${named}) does not run`
      : `there is no C++ compiler on the PATH (${COMPILERS.join(', ')}; Debian and Ubuntu: apt install g++)`;
  }
  const temporary = `${target}.${process.pid}`;
  try {
    mkdirSync(path.dirname(target), { recursive: true });
    const result = spawnSync(
      compiler,
      [
        ...FLAGS,
        ...addonSources(root).filter((file) => file.endsWith('.cc')),
        `-I${path.join(root, 'node_modules/@tensorflow/tfjs-node-gpu')}`,
        `-I${path.join(root, 'node_modules/node-api-headers/include')}`,
        `-I${path.join(library, 'include')}`,
        `-L${library}`,
        '-l:libtensorflow_cc.so.2',
        '-l:libtensorflow_framework.so.2',
        ...['-Xlinker', '-rpath', '-Xlinker', library], // not -Wl,…, which a comma in the path would cut
        '-o',
        temporary,
      ],
      { env, encoding: 'utf8' },
    );
    if (result.status !== 0) return `${compiler} failed: ${compilerReason(result)}`;
    renameSync(temporary, target);
    return null;
  } catch (error) {
    return `the cache cannot be written: ${error.message}`;
  } finally {
    rmSync(temporary, { force: true });
  }
}

function compilerReason(result) {
  const lines = (result.stderr ?? '').split('\n').filter((line) => /error|cannot find/.test(line));
  return lines[0] ?? result.error?.message ?? `exit code ${result.status ?? result.signal}`;
}

/** Puts the addon where tfjs-node-gpu loads it from; a process that has the former one loaded keeps it. */
export function placeAddon(root, addon) {
  const place = addonPlace(root);
  mkdirSync(path.dirname(place), { recursive: true });
  const temporary = `${place}.${process.pid}`;
  copyFileSync(addon, temporary);
  renameSync(temporary, place);
}

export function removeAddon(root) {
  rmSync(addonPlace(root), { force: true });
}

export function addonIsPlaced(root) {
  return existsSync(addonPlace(root));
}

/**
 * Loads the placed addon in a child process and multiplies two matrices: a library that crashes takes the child with it, not the set-up.
 *
 * @returns {{ problem: string } | { problem: null, version: string, gpu: boolean }} libtensorflow's version, and whether it sees a GPU
 */
export function verifyAddon(root, env) {
  const script = fileURLToPath(new URL('./verify-addon.cjs', import.meta.url));
  const result = spawnSync(process.execPath, [script, root], {
    env: { TF_CPP_MIN_LOG_LEVEL: '3', TF_FORCE_GPU_ALLOW_GROWTH: 'true', ...env },
    encoding: 'utf8',
    timeout: 300_000,
  });
  const line = (result.stdout ?? '').split('\n').find((text) => text.startsWith('{'));
  if (result.status === 0 && line !== undefined) return { problem: null, ...JSON.parse(line) };
  const said = (result.stderr ?? '').split('\n').find((text) => /Error|error|cannot open|undefined symbol/.test(text));
  return { problem: `the addon does not run: ${said?.trim() ?? result.error?.message ?? `exit code ${result.status ?? result.signal}`}` };
}
