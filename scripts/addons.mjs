/**
 * The native addons, each compiled with one call of the C++ compiler and kept in the per-user cache: tfjs-node-gpu's,
 * from the package's own sources and one of ours that measures steps, ours for images, and ours of operations that
 * TensorFlow's graphs can hold.
 */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const FLAGS = ['-std=c++17', '-fPIC', '-shared', '-DNAPI_VERSION=8'];
const COMPILERS = ['c++', 'g++', 'clang++'];

/**
 * By file name, which they also have where they are placed: beside each other, where tfjs-node-gpu looks for its own.
 */
const ADDONS = {
  'tfjs_binding.node': {
    flags: ['-O2', '-DTF_SessionRun=GqaSessionRun'],
    sources: (root) => [...files(path.join(root, TFJS, 'binding')), path.join(root, 'src/native/step-stats.cc')],
  },
  'gqa_images.node': {
    // No fused multiply-add: Pillow's arithmetic, as in JavaScript. Never unloaded when a worker thread that has loaded
    // it ends: libtensorflow does not stand that.
    flags: ['-O3', '-ffp-contract=off', '-Xlinker', '-z', '-Xlinker', 'nodelete'],
    sources: (root) => [path.join(root, 'src/native/images.cc')],
  },
  'gqa_fused.node': {
    // Neither errno nor traps of the processor are asked for, so that loops become vectors; numbers that are not finite
    // stay what they are. Its threads and operations stay to the end of the process.
    flags: [
      ...['-O3', '-ffp-contract=fast', '-fno-math-errno', '-fno-trapping-math', '-Wno-psabi', '-pthread'],
      ...['-Xlinker', '-z', '-Xlinker', 'nodelete'],
    ],
    sources: (root) => files(path.join(root, 'src/native/fused')),
    include: (root) => path.join(root, 'src/native/fused/absent'),
  },
};
/** Without the first there is no native runtime; without the others, images and steps take longer. */
export const [COMPUTING, IMAGES, FUSED] = Object.keys(ADDONS);
const TFJS = 'node_modules/@tensorflow/tfjs-node-gpu';

const files = (folder) =>
  readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => path.join(folder, name))
    .sort();

const addonPlace = (root, name) => path.join(root, TFJS, 'lib/napi-v8', name);

/**
 * A name that changes with everything the addons are built from: sources, Node's headers, flags, and the library
 * folder, which is written into them.
 *
 * @param {string} root
 * @param {string} library folder of libtensorflow
 */
export function addonKey(root, library) {
  const hash = createHash('sha256');
  for (const [name, { flags, sources }] of Object.entries(ADDONS)) {
    for (const file of sources(root)) hash.update(path.basename(file)).update(readFileSync(file));
    hash.update(JSON.stringify([name, FLAGS, flags, library]));
  }
  hash.update(readFileSync(path.join(root, 'node_modules/node-api-headers/package.json')));
  const version = JSON.parse(readFileSync(path.join(root, TFJS, 'package.json'), 'utf8')).version;
  return `addon-${version}-${hash.digest('hex').slice(0, 16)}`;
}

/**
 * Compiles an addon against the library folder into `target`, through a temporary name.
 *
 * @param {string} name COMPUTING, IMAGES or FUSED
 * @returns {string | null} the reason why it failed, or null
 */
export function compileAddon(root, library, name, target, env) {
  const named = env.CXX?.trim();
  const candidates = named ? [named] : COMPILERS;
  const compiler = candidates.find(
    (program) => spawnSync(program, ['--version'], { env, stdio: 'ignore' }).status === 0,
  );
  if (compiler === undefined) {
    return named
      ? `the C++ compiler of CXX (${named}) does not run`
      : `there is no C++ compiler on the PATH (${COMPILERS.join(', ')}; Debian and Ubuntu: apt install g++)`;
  }
  const { flags, sources, include } = ADDONS[name];
  const temporary = `${target}.${process.pid}`;
  try {
    mkdirSync(path.dirname(target), { recursive: true });
    const result = spawnSync(
      compiler,
      [
        ...FLAGS,
        ...flags,
        ...sources(root).filter((file) => file.endsWith('.cc')),
        `-I${path.join(root, TFJS)}`,
        `-I${path.join(root, 'node_modules/node-api-headers/include')}`,
        `-I${path.join(library, 'include')}`,
        ...(include === undefined ? [] : [`-I${include(root)}`]),
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

/** Puts a compiled addon where it is loaded from; a process that has the former one loaded keeps it. */
export function placeAddon(root, name, compiled) {
  const place = addonPlace(root, name);
  mkdirSync(path.dirname(place), { recursive: true });
  const temporary = `${place}.${process.pid}`;
  copyFileSync(compiled, temporary);
  renameSync(temporary, place);
}

export function removeAddon(root, name) {
  rmSync(addonPlace(root, name), { force: true });
}

export function addonIsPlaced(root, name, compiled) {
  const place = addonPlace(root, name);
  return existsSync(compiled) && existsSync(place) && statSync(compiled).size === statSync(place).size;
}

/**
 * Loads the placed addon in a child process and multiplies two matrices: a library that crashes takes the child with
 * it, not the set-up.
 *
 * @returns {{ problem: string } | { problem: null, version: string, gpu: boolean }} libtensorflow's version, and
 *   whether it sees a GPU
 */
export function verifyComputing(root, env) {
  const { problem, line } = runInChild('./verify-addon.cjs', [root], { TF_FORCE_GPU_ALLOW_GROWTH: 'true', ...env });
  return problem === null ? { problem, ...JSON.parse(line) } : { problem };
}

/** @returns {string | null} the reason why the placed addon for images is of no use, or null */
export function verifyImages(root, env) {
  return runInChild('./verify-images.cjs', [root, addonPlace(root, IMAGES)], env).problem;
}

/** @returns {string | null} the reason why the placed addon of fused operations is of no use, or null */
export function verifyFused(root, env) {
  return runInChild('./verify-fused.cjs', [root, addonPlace(root, FUSED)], env).problem;
}

/** Runs a script that ends with 0 and one line of JSON when all is well. */
function runInChild(script, args, env) {
  const result = spawnSync(process.execPath, [fileURLToPath(new URL(script, import.meta.url)), ...args], {
    env: { TF_CPP_MIN_LOG_LEVEL: '3', ...env },
    encoding: 'utf8',
    timeout: 300_000,
  });
  const line = (result.stdout ?? '').split('\n').find((text) => text.startsWith('{'));
  if (result.status === 0 && line !== undefined) return { problem: null, line };
  const said = (result.stderr ?? '').split('\n').find((text) => /Error|error|cannot open|undefined symbol/.test(text));
  return {
    problem: `the addon does not run: ${said?.trim() ?? result.error?.message ?? `exit code ${result.status ?? result.signal}`}`,
  };
}
