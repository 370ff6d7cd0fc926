/**
 * Gives tfjs-node-gpu a libtensorflow and the addons, trying in order: the folder GQA_LIBTENSORFLOW names → the
 * per-user cache → PyPI's wheel. What was tried, and why it was not taken, is kept in node_modules/.gqa-native.json,
 * which `gqa doctor` and the start of every run show.
 */

import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  addonIsPlaced,
  addonKey,
  COMPUTING,
  compileAddon,
  FUSED,
  IMAGES,
  placeAddon,
  removeAddon,
  verifyComputing,
  verifyFused,
  verifyImages,
} from './addons.mjs';
import {
  cachedFolder,
  cacheFolder,
  fetchWheels,
  folderProblem,
  platformProblem,
  TENSORFLOW_VERSION,
} from './libtensorflow.mjs';

/**
 * @typedef {object} NativeRecord
 * @property {1} schema
 * @property {'native' | 'wasm'} runtime
 * @property {'cpu' | 'cuda'} flavour what was wanted
 * @property {string | null} version of libtensorflow
 * @property {string | null} library folder of libtensorflow
 * @property {string | null} addon the addons' key in the cache
 * @property {string | null} images why the addon for images is not used; null: it is
 * @property {string | null} fused why the addon of fused operations is not used; null: it is
 * @property {boolean} gpu whether libtensorflow saw a GPU when it was tried
 * @property {string} node version with which it was tried
 * @property {{ name: string, taken: boolean, reason: string }[]} candidates in order
 */

/** Addons that can be done without, by the record's word for each: how they are tried, and what happens without them. */
const OPTIONAL = {
  images: {
    name: IMAGES,
    verify: verifyImages,
    without: 'images are decoded by sharp and disturbed in JavaScript, to the same bytes but slower',
  },
  fused: {
    name: FUSED,
    verify: verifyFused,
    without: 'steps are made of TensorFlow’s own operations alone, to the same numbers but slower',
  },
};

export function recordPlace(root) {
  return path.join(root, 'node_modules/.gqa-native.json');
}

/** @returns {NativeRecord | null} */
export function readRecord(root) {
  try {
    const record = JSON.parse(readFileSync(recordPlace(root), 'utf8'));
    return record.schema === 1 ? record : null;
  } catch {
    return null; // set-up never came this far
  }
}

/**
 * @param {string} root
 * @param {'cpu' | 'cuda' | undefined} asked undefined: as before, else CUDA when a GPU is here and the cache has it,
 *   else CPU
 * @param {NodeJS.ProcessEnv} env
 * @param {(line: string) => void} notice
 * @param {boolean} [repair] compile what failed before anew, as for `npm run setup`; otherwise only a changed source,
 *   library or Node is a reason to try again
 * @returns {Promise<NativeRecord>}
 */
export async function setUpNative(root, asked, env, notice, repair = false) {
  const former = readRecord(root);
  const flavour = asked ?? defaultFlavour(former, env);
  if (former !== null && isStillGood(root, former, flavour, env)) {
    const broken = Object.keys(OPTIONAL).filter((kind) => former[kind] !== null);
    if (!repair || broken.length === 0) return former;
    const mended = { ...former, ...makeOptional(root, former.library, env, notice, true, broken) };
    writeRecord(root, mended);
    return mended;
  }
  const anew = repair && former?.runtime === 'wasm';

  const candidates = [];
  const platform = platformProblem();
  const taken = platform === null ? await firstThatRuns(root, flavour, env, notice, candidates, anew) : null;
  if (platform !== null) candidates.push({ name: 'libtensorflow', taken: false, reason: platform });
  if (taken === null) for (const name of [COMPUTING, IMAGES, FUSED]) removeAddon(root, name);

  /** @type {NativeRecord} */
  const record = {
    schema: 1,
    runtime: taken === null ? 'wasm' : 'native',
    flavour,
    version: taken?.version ?? null,
    library: taken?.library ?? null,
    addon: taken?.addon ?? null,
    images: taken === null ? 'there is no native runtime' : taken.images,
    fused: taken === null ? 'there is no native runtime' : taken.fused,
    gpu: taken?.gpu ?? false,
    node: process.versions.node,
    candidates,
  };
  writeRecord(root, record);
  return record;
}

/** One line: what was chosen, or why not. */
export function describe(record) {
  if (record.runtime === 'native') {
    const kind =
      record.flavour === 'cuda'
        ? record.gpu
          ? 'CUDA, a GPU is visible'
          : 'CUDA build, no GPU visible: it computes on the CPU'
        : 'CPU';
    const source = record.candidates.find((candidate) => candidate.taken)?.name;
    return `native runtime: libtensorflow ${record.version} (${kind}), from ${source}`;
  }
  const last = record.candidates.length - 1;
  const telling = record.candidates.filter(
    ({ name, reason }, i) => i === last || (name === 'GQA_LIBTENSORFLOW' && reason !== 'not set'),
  );
  return `no native runtime, the slower wasm backend will be used: ${telling.map(({ name, reason }) => `${name}: ${reason}`).join('; ')}`;
}

export function gpuDriverPresent() {
  return existsSync('/proc/driver/nvidia/version') || existsSync('/dev/nvidiactl') || existsSync('/dev/dxg');
}

function defaultFlavour(former, env) {
  if (former?.runtime === 'native') return former.flavour;
  return gpuDriverPresent() && folderProblem(cachedFolder('cuda', env)) === null ? 'cuda' : 'cpu';
}

/** Nothing that the record was made from has changed, so that a second set-up neither compiles nor loads anything. */
function isStillGood(root, record, flavour, env) {
  if (record.runtime !== 'native' || record.flavour !== flavour || record.node !== process.versions.node) return false;
  if (folderProblem(record.library) !== null || record.addon !== addonKey(root, record.library)) return false;
  const expected = env.GQA_LIBTENSORFLOW ? path.resolve(env.GQA_LIBTENSORFLOW) : cachedFolder(flavour, env);
  const compiled = path.join(cacheFolder(env), record.addon);
  const optional = Object.entries(OPTIONAL).filter(([kind]) => record[kind] === null);
  const needed = [COMPUTING, ...optional.map(([, { name }]) => name)];
  return record.library === expected && needed.every((name) => addonIsPlaced(root, name, path.join(compiled, name)));
}

/**
 * Each candidate first gives a library folder or a reason; the folder then has to yield addons that compute. Fills
 * `candidates`. `anew`: addons that lie compiled in the cache are not trusted.
 */
async function firstThatRuns(root, flavour, env, notice, candidates, anew) {
  const explicit = env.GQA_LIBTENSORFLOW ? path.resolve(env.GQA_LIBTENSORFLOW) : null;
  const cached = cachedFolder(flavour, env);
  const sources = [
    {
      name: 'GQA_LIBTENSORFLOW',
      library: explicit,
      prepare: async () => (explicit === null ? 'not set' : folderProblem(explicit)),
    },
    {
      name: 'cache',
      library: cached,
      prepare: async () => folderProblem(cached),
    },
    {
      name: flavour === 'cuda' ? 'CUDA wheels' : 'wheel',
      library: cached,
      // A library that lies in the cache and does not run would not run the better for being fetched again.
      prepare: async () =>
        folderProblem(cached) === null ? 'already in the cache' : fetchWheels(flavour, env, notice),
    },
  ];
  for (const source of sources) {
    const outcome = (await source.prepare()) ?? makeAddons(root, source.library, env, notice, anew);
    if (typeof outcome === 'string') {
      candidates.push({ name: source.name, taken: false, reason: outcome });
      if (source.name === 'GQA_LIBTENSORFLOW' && explicit !== null) notice(`GQA_LIBTENSORFLOW is not used: ${outcome}`);
      continue;
    }
    candidates.push({ name: source.name, taken: true, reason: source.library });
    return { library: source.library, ...outcome };
  }
  return null;
}

/**
 * @returns {string | { addon: string, version: string, gpu: boolean, images: string | null, fused: string | null }} the
 *   reason why it failed, or what runs
 */
function makeAddons(root, library, env, notice, anew) {
  notice = once(notice, 'compiling the native addons');
  const problem = makeAddon(root, library, COMPUTING, env, notice, anew);
  if (problem !== null) return problem;
  const verified = verifyComputing(root, env);
  if (verified.problem !== null) return verified.problem;
  const optional = makeOptional(root, library, env, notice, anew, Object.keys(OPTIONAL));
  return { addon: addonKey(root, library), version: verified.version, gpu: verified.gpu, ...optional };
}

/** @returns {Record<string, string | null>} for each kind the reason why there is no such addon */
function makeOptional(root, library, env, notice, anew, kinds) {
  return Object.fromEntries(
    kinds.map((kind) => {
      const { name, verify, without } = OPTIONAL[kind];
      const problem = makeAddon(root, library, name, env, notice, anew) ?? verify(root, env);
      if (problem !== null) {
        removeAddon(root, name);
        notice(`${without}: ${problem}`);
      }
      return [kind, problem];
    }),
  );
}

/**
 * Compiles an addon where the cache does not have it, and puts it in its place.
 * @returns {string | null} the reason why it failed
 */
function makeAddon(root, library, name, env, notice, anew) {
  const compiled = path.join(cacheFolder(env), addonKey(root, library), name);
  if (anew) rmSync(compiled, { force: true });
  if (!existsSync(compiled)) {
    notice('compiling the native addons');
    const problem = compileAddon(root, library, name, compiled, env);
    if (problem !== null) return problem;
  }
  placeAddon(root, name, compiled);
  return null;
}

/** A notice that says a line no second time. */
function once(notice, line) {
  let told = false;
  return (text) => {
    if (text !== line || !told) notice(text);
    told ||= text === line;
  };
}

function writeRecord(root, record) {
  const place = recordPlace(root);
  mkdirSync(path.dirname(place), { recursive: true });
  writeFileSync(`${place}.${process.pid}`, `${JSON.stringify(record, null, 2)}\n`);
  renameSync(`${place}.${process.pid}`, place);
}

export { TENSORFLOW_VERSION };
