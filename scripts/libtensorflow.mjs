/**
 * Where libtensorflow comes from. It lies inside PyPI's `tensorflow` wheels; pip is only the courier, Python's
 * tensorflow is never imported. A library folder holds libtensorflow_cc.so.2, libtensorflow_framework.so.2 and
 * include/; for CUDA ../nvidia/*\/lib lies beside it, where the library looks by itself.
 */

import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** Both flavours come from the same release, with which all figures of the README were made. */
export const TENSORFLOW_VERSION = '2.18.1';

/** @typedef {'cpu' | 'cuda'} Flavour */

const WHEELS = {
  cpu: { file: fileURLToPath(new URL('./wheels/cpu.txt', import.meta.url)), size: '240 MB' },
  cuda: { file: fileURLToPath(new URL('./wheels/cuda.txt', import.meta.url)), size: '2.4 GB' },
};

/**
 * pip's options that choose the wheels of the lock files: the host's own Python, of whatever version, does not matter.
 */
export const WHEEL_TAGS = [
  ...['--python-version', '3.11', '--implementation', 'cp', '--abi', 'cp311', '--abi', 'abi3', '--abi', 'none'],
  ...['manylinux_2_27_x86_64', 'manylinux_2_17_x86_64', 'manylinux2014_x86_64'].flatMap((tag) => ['--platform', tag]),
];

const NEEDED = [
  'libtensorflow_cc.so.2',
  'libtensorflow_framework.so.2',
  'include/tensorflow/c/c_api.h',
  'include/tensorflow/c/eager/c_api.h',
];

/**
 * The per-user cache of the native runtime (nothing in it belongs to one checkout).
 *
 * @param {NodeJS.ProcessEnv} env
 */
export function cacheFolder(env) {
  return path.join(env.XDG_CACHE_HOME || path.join(env.HOME || os.homedir(), '.cache'), 'gqa', 'native');
}

/** Why there is no libtensorflow for this machine at all, or null. */
export function platformProblem() {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return `this is ${process.platform} ${process.arch}, the library is for Linux x64`;
  if (!hasGlibc()) return 'this Linux has no glibc (musl), which the library needs';
  return null;
}

/** Whether this Node runs on glibc (any other libc of Linux is musl in practice). */
export function hasGlibc() {
  process.report.excludeNetwork = true; // otherwise Node 22 and newer look up names of open connections for it
  return process.report.getReport().header.glibcVersionRuntime !== undefined;
}

/** What the folder lacks to be a library folder, or null. */
export function folderProblem(folder) {
  if (!existsSync(folder)) return `${folder} does not exist`;
  const missing = NEEDED.filter((name) => !existsSync(path.join(folder, name)));
  return missing.length === 0 ? null : `${folder} lacks ${missing.join(', ')}`;
}

/** The folder in the cache where the wheels of the flavour's lock file lie when they were fetched. */
export function cachedFolder(flavour, env) {
  const lock = createHash('sha256').update(readFileSync(WHEELS[flavour].file)).digest('hex').slice(0, 12);
  return path.join(cacheFolder(env), `libtensorflow-${TENSORFLOW_VERSION}-${flavour}-${lock}`, 'tensorflow');
}

/**
 * Downloads the flavour's wheels with pip, checked against the lock file's hashes, and lays out what is needed of them
 * in the cache.
 *
 * @param {Flavour} flavour
 * @param {NodeJS.ProcessEnv} env
 * @param {(line: string) => void} notice
 * @returns {Promise<string | null>} the reason why it failed, or null
 */
export async function fetchWheels(flavour, env, notice) {
  const python = findPip(env);
  if (python.problem !== null) return python.problem;
  const cache = cacheFolder(env);
  let temporary;
  try {
    mkdirSync(cache, { recursive: true });
    temporary = mkdtempSync(path.join(cache, 'fetch-'));
  } catch (error) {
    return `the cache cannot be written: ${error.message}`;
  }
  const dropTemporary = () => rmSync(temporary, { recursive: true, force: true });
  process.once('exit', dropTemporary); // also after Ctrl-C: process.exit is called by the handler in setup.mjs
  try {
    notice(
      `downloading libtensorflow ${TENSORFLOW_VERSION} for ${flavour === 'cpu' ? 'the CPU' : 'CUDA 12'} (about ${WHEELS[flavour].size}, once per user)`,
    );
    const wheels = path.join(temporary, 'wheels');
    const failure = await runPip(python, flavour, wheels, temporary, env, notice);
    if (failure !== null) return failure;
    const layout = path.join(temporary, 'layout');
    const unpacked = spawnSync(python.unzip, ['-c', UNPACK, wheels, layout], { encoding: 'utf8', env });
    if (unpacked.status !== 0)
      return `the wheels could not be unpacked: ${lastLine(unpacked.stderr) || unpacked.error?.message}`;
    const problem = folderProblem(path.join(layout, 'tensorflow'));
    if (problem !== null) return `the wheel is not as expected: ${problem}`;
    return publish(layout, path.dirname(cachedFolder(flavour, env)));
  } finally {
    process.off('exit', dropTemporary);
    dropTemporary();
  }
}

/**
 * Moves a finished folder to its place. Somebody else's finished folder there is as good as ours; an unusable rest is
 * replaced.
 *
 * @returns {string | null} the reason why it failed, or null
 */
function publish(layout, target) {
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      renameSync(layout, target);
      return null;
    } catch (error) {
      if (folderProblem(path.join(target, 'tensorflow')) === null) return null;
      if (attempt === 1) return `the cache cannot be written: ${error.message}`;
      rmSync(target, { recursive: true, force: true });
    }
  }
  return null;
}

/**
 * The wheels hold far more than is needed: of tensorflow the two libraries and the C headers, of OpenBLAS the library, of
 * nvidia-* their lib folders, and every licence.
 */
const UNPACK = `
import glob, os, re, sys, zipfile
wheels, layout = sys.argv[1:]
wanted = re.compile(r'tensorflow/(libtensorflow_(cc|framework)\\.so\\.2|include/(tensorflow/c|tensorflow/core/platform|tsl/platform|xla/tsl/c)/.*)'
                    r'|scipy_openblas32/lib/libscipy_openblas\\.so|nvidia/([^/]+/lib/.*|__init__\\.py)|nvidia/cuda_nvcc/(bin|nvvm)/.*|[^/]+\\.dist-info/.*(LICENSE|License|NOTICE|METADATA).*')
for wheel in sorted(glob.glob(os.path.join(wheels, '*.whl'))):
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if wanted.fullmatch(entry.filename) and not entry.is_dir():
                place = archive.extract(entry, layout)
                os.chmod(place, 0o755 if (entry.external_attr >> 16) & 0o111 else 0o644)
    os.remove(wheel)  # at once: the CUDA wheels and their content would not both fit everywhere
`;

/** @returns {{ problem: string } | { problem: null, command: string[], unzip: string }} */
function findPip(env) {
  const python = ['python3', 'python'].find(
    (name) =>
      spawnSync(name, ['-c', 'import sys; sys.exit(sys.version_info < (3, 7))'], { env, stdio: 'ignore' }).status === 0,
  );
  if (python === undefined) return { problem: 'there is no python3 on the PATH (its pip fetches the library)' };
  if (spawnSync(python, ['-m', 'pip', '--version'], { env, stdio: 'ignore' }).status === 0) {
    return { problem: null, command: [python, '-m', 'pip'], unzip: python };
  }
  const pip = ['pip3', 'pip'].find((name) => spawnSync(name, ['--version'], { env, stdio: 'ignore' }).status === 0);
  if (pip === undefined) return { problem: `${python} has no pip (Debian and Ubuntu: apt install python3-pip)` };
  return { problem: null, command: [pip], unzip: python };
}

/** @returns {Promise<string | null>} the reason why it failed, or null */
function runPip(python, flavour, wheels, temporary, env, notice) {
  const [command, ...before] = python.command;
  const quiet = [
    '--quiet',
    '--no-input',
    '--disable-pip-version-check',
    '--no-cache-dir',
    '--retries',
    '2',
    '--timeout',
    '30',
  ];
  const call = [
    'download',
    '--no-deps',
    '--only-binary=:all:',
    ...WHEEL_TAGS,
    '--require-hashes',
    '-r',
    WHEELS[flavour].file,
    '-d',
    wheels,
  ];
  return new Promise((resolve) => {
    // TMPDIR: pip writes the file there first, and /tmp is often too small for it.
    const child = spawn(command, [...before, ...call, ...quiet], {
      env: { ...env, TMPDIR: temporary },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (text) => {
      said = (said + text).slice(-8000);
    });
    const stopPip = () => child.kill();
    process.once('exit', stopPip);
    const beat = setInterval(
      () => notice(`  ${Math.round(downloadedBytes(temporary, wheels) / 1e6)} MB so far`),
      15_000,
    );
    const ended = () => {
      clearInterval(beat);
      process.off('exit', stopPip);
    };
    child.on('error', (error) => {
      ended();
      resolve(`pip could not be started: ${error.message}`);
    });
    child.on('close', (status) => {
      ended();
      resolve(status === 0 ? null : `pip could not download the wheel: ${pipReason(said)}`);
    });
  });
}

/**
 * pip's last ERROR line, without its prefix; a hash that differs is told in several lines, of which the first says it.
 */
function pipReason(said) {
  if (/DO NOT MATCH THE HASHES/i.test(said)) return 'its SHA-256 differs from the one in the lock file';
  if (/No space left/i.test(said)) return 'no space left on the disk of the cache';
  if (
    /NewConnectionError|Temporary failure in name resolution|Connection (refused|reset)|timed out|ProxyError|NameResolutionError/i.test(
      said,
    )
  ) {
    return 'the package registry cannot be reached';
  }
  const lines = said.split('\n').map((line) => line.trim());
  const error = lines.filter((line) => line.startsWith('ERROR:')).pop();
  return error?.slice('ERROR:'.length).trim() || lastLine(said) || 'it gave no reason';
}

function lastLine(text) {
  return (text ?? '').trim().split('\n').pop() ?? '';
}

/**
 * pip downloads everything into a folder of its own and copies it to `wheels` at the end: what lies there twice counts
 * once.
 */
function downloadedBytes(temporary, wheels) {
  const arrived = folderBytes(wheels);
  return Math.max(arrived, folderBytes(temporary) - arrived);
}

function folderBytes(folder) {
  if (!existsSync(folder)) return 0;
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const place = path.join(folder, entry.name);
    try {
      bytes += entry.isDirectory() ? folderBytes(place) : statSync(place).size;
    } catch {
      // pip removed it while we looked
    }
  }
  return bytes;
}
