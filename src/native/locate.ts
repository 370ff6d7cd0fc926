/**
 * What set-up found and left behind: which native runtime was taken, why each candidate before it was not, and which
 * CUDA libraries libtensorflow would find. Set-up itself (scripts/native-runtime.mjs) runs before anything is built and
 * writes node_modules/.gqa-native.json; this is its reader.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { npmRun } from '../invocation.js';
import { packageRoot } from '../version.js';
import { addonFile } from './addons.js';

const RECORD = z.object({
  schema: z.literal(1),
  runtime: z.enum(['native', 'wasm']),
  flavour: z.enum(['cpu', 'cuda']),
  version: z.string().nullable(),
  library: z.string().nullable(),
  addon: z.string().nullable(),
  images: z
    .string()
    .nullable()
    .default(() => `set-up has not run since they have an addon of their own: ${npmRun('setup')}`),
  fused: z
    .string()
    .nullable()
    .default(() => `set-up has not run since fused operations have an addon of their own: ${npmRun('setup')}`),
  gpu: z.boolean(),
  node: z.string(),
  candidates: z.array(z.object({ name: z.string(), taken: z.boolean(), reason: z.string() })),
});

/** `reason` is the folder for the candidate that was taken. */
export interface Candidate {
  name: string;
  taken: boolean;
  reason: string;
}

export interface NativeRuntime {
  /** Whether the addon and its library are in place. */
  present: boolean;
  flavour: 'cpu' | 'cuda';
  version: string | null;
  /** Folder of libtensorflow_cc.so.2. */
  library: string | null;
  /** Why set-up left the addon for images out; null: it did not. */
  images: string | null;
  /** The same of the addon of fused operations. */
  fused: string | null;
  /** In the order in which set-up tried them. */
  candidates: Candidate[];
}

/**
 * @param project folder with node_modules
 * @returns what set-up chose; when it never ran, or something was removed since, a candidate that says so and what to
 *   do
 */
export function locateNative(project: string = packageRoot): NativeRuntime {
  const record = readRecord(path.join(project, 'node_modules/.gqa-native.json'));
  if (record === null) {
    return {
      present: false,
      flavour: 'cpu',
      version: null,
      library: null,
      images: 'set-up has not run here',
      fused: 'set-up has not run here',
      candidates: [missing(`set-up has not run here: ${npmRun('setup')}`)],
    };
  }
  const { flavour, version, library, images, fused, candidates } = record;
  const found = { flavour, version, library, images, fused, candidates };
  if (record.runtime === 'wasm') return { ...found, present: false };
  const gone = [addonFile('tfjs_binding', project), path.join(library ?? '', 'libtensorflow_cc.so.2')].find(
    (file) => !existsSync(file),
  );
  if (gone === undefined) return { ...found, present: true };
  const before = candidates.map((candidate) => ({ ...candidate, taken: false }));
  return {
    ...found,
    present: false,
    candidates: [...before, missing(`${gone} was removed since set-up: ${npmRun('setup')}`)],
  };
}

function missing(reason: string): Candidate {
  return { name: 'set-up', taken: false, reason };
}

function readRecord(file: string): z.output<typeof RECORD> | null {
  try {
    return RECORD.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    return null; // absent, torn or of another version: set-up has to run again in each case
  }
}

/** One CUDA library that libtensorflow 2.18 opens by name when it looks for a GPU, and where it was found. */
export interface CudaLibrary {
  file: string;
  /** Release of the package or SDK that carries it, as in scripts/wheels/cuda.txt. */
  wanted: string;
  found: string | null;
}

/**
 * File names as libtensorflow 2.18.1 (built for CUDA 12.5, cuDNN 9.3) opens them; releases as its extra `and-cuda` pins
 * them.
 */
const CUDA_LIBRARIES = [
  ['libcuda.so.1', 'the NVIDIA driver, 525.60.13 or newer'],
  ['libcudart.so.12', 'CUDA runtime 12.5'],
  ['libcublas.so.12', 'cuBLAS 12.5'],
  ['libcublasLt.so.12', 'cuBLAS 12.5'],
  ['libcufft.so.11', 'cuFFT 11.2'],
  ['libcurand.so.10', 'cuRAND 10.3'],
  ['libcusolver.so.11', 'cuSOLVER 11.6'],
  ['libcusparse.so.12', 'cuSPARSE 12.5'],
  ['libcudnn.so.9', 'cuDNN 9.3'],
  ['libnccl.so.2', 'NCCL 2.21'],
  ['libnvJitLink.so.12', 'nvJitLink 12.5'],
  ['libnvrtc.so.12', 'NVRTC 12.5'],
  ['libcupti.so.12', 'CUPTI 12.5'],
] as const;

/** Where the dynamic loader looks on common systems, after LD_LIBRARY_PATH. */
const SYSTEM_FOLDERS = [
  '/usr/local/cuda/lib64',
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib64',
  '/lib64',
  '/usr/lib/wsl/lib',
  '/usr/local/nvidia/lib64',
];

/**
 * @param library folder of libtensorflow, beside which the CUDA wheels lie in nvidia/<package>/lib; null looks on the
 *   system only
 */
export function locateCuda(library: string | null, env: NodeJS.ProcessEnv = process.env): CudaLibrary[] {
  const folders = [
    ...wheelFolders(library),
    ...(env.LD_LIBRARY_PATH ?? '').split(':').filter((folder) => folder !== ''),
    ...SYSTEM_FOLDERS,
  ];
  return CUDA_LIBRARIES.map(([file, wanted]) => ({
    file,
    wanted,
    found: folders.map((folder) => path.join(folder, file)).find((place) => existsSync(place)) ?? null,
  }));
}

function wheelFolders(library: string | null): string[] {
  if (library === null) return [];
  const nvidia = path.join(library, '../nvidia');
  if (!existsSync(nvidia)) return [];
  return readdirSync(nvidia).map((name) => path.join(nvidia, name, 'lib'));
}
