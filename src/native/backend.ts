/**
 * Starts the TensorFlow.js backend that everything else computes on: libtensorflow (GPU or CPU) through tfjs-node-gpu,
 * or wasm. Afterwards `@tensorflow/tfjs-core` has it set. The addon opens its sessions without options, so threads, GPU
 * memory and XLA are only reached by environment variables that are set before it loads.
 */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import util from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import type { Config } from '../config/schema.js';
import { GqaError } from '../errors.js';
import { command, npmRun } from '../invocation.js';
import { addonFile } from './addons.js';
import { registerGradients, registerWasmKernels } from './kernels.js';
import { locateCuda, locateNative, type NativeRuntime } from './locate.js';

export interface Backend {
  name: 'tensorflow' | 'wasm';
  device: 'gpu' | 'cpu';
  /** libtensorflow's or the wasm package's. */
  version: string;
  /** One line for stderr when less was taken than could be hoped for. */
  notice: string | null;
  /** The addon of fused operations, which are the CPU's; or why graphs are made without them. */
  fused: FusedOperations | { problem: string };
}

export interface FusedOperations {
  instructions: 'AVX2' | 'AVX-512' | 'AVX-512 and AMX';
  threads: number;
  /** Who multiplies float32 matrices: OpenBLAS, where it is there and faster, or TensorFlow, by oneDNN. */
  products: Products;
}

type Products = 'openblas' | 'tensorflow';

/** Where OpenBLAS is the faster one, by measurement (docs/compiled-step.md); elsewhere nobody has measured it yet. */
const PRODUCTS: Record<FusedOperations['instructions'], Products> = {
  AVX2: 'openblas',
  'AVX-512': 'tensorflow',
  'AVX-512 and AMX': 'tensorflow',
};

const require = createRequire(import.meta.url);

type Compiler = Config['train']['compiler'];

let started: { device: Config['device']; compiler: Compiler; backend: Promise<Backend> } | undefined;

/**
 * @param device auto: native, on the GPU when there is one, else wasm with a notice · gpu, native: that or an error ·
 *   cpu: native on the CPU, else wasm with a notice · wasm
 * @param compiler `xla`: every graph of this process is compiled by XLA, which has to be known before the library loads
 * @throws GqaError('environment') with every reason when `gpu` or `native` cannot be had, or when another device was
 *   started in this process before
 */
export function startBackend(device: Config['device'], compiler: Compiler = 'auto'): Promise<Backend> {
  if (started !== undefined && (started.compiler === 'xla') !== (compiler === 'xla'))
    throw new GqaError(
      'environment',
      'XLA is switched on or off before libtensorflow loads, and it has loaded already',
    );
  if (started !== undefined && started.device !== device) {
    throw new GqaError(
      'environment',
      `the backend was started for device ${started.device} and cannot become ${device} in the same process`,
    );
  }
  if (compiler === 'xla') switchOnXla();
  started ??= { device, compiler, backend: start(device) };
  return started.backend;
}

/**
 * By environment variables, as the addon opens its sessions without options. What the user has set goes before.
 */
function switchOnXla(): void {
  process.env.TF_XLA_FLAGS ??= '--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit';
  const { library } = locateNative();
  const nvcc = library === null ? null : path.join(library, '../nvidia/cuda_nvcc');
  if (nvcc !== null && existsSync(nvcc)) process.env.XLA_FLAGS ??= `--xla_gpu_cuda_data_dir=${nvcc}`;
}

async function start(device: Config['device']): Promise<Backend> {
  if (device === 'wasm') return startWasm(null);
  const runtime = locateNative();
  const native = runtime.present ? startNative(device, runtime.fused) : describeCandidates(runtime);
  if (typeof native === 'string') {
    if (device === 'gpu' || device === 'native') throw notThere(device, native);
    const reason = runtime.present ? native : summarise(runtime);
    return startWasm(`computing on wasm, several times slower than the native runtime, which is not there: ${reason}`);
  }
  if (device === 'gpu' && native.device !== 'gpu') throw notThere('gpu', whyNoGpu(runtime).join('; '));
  if (device === 'auto' && native.device === 'cpu' && runtime.flavour === 'cuda') {
    return { ...native, notice: `computing on the CPU, no GPU is visible: ${whyNoGpu(runtime).join('; ')}` };
  }
  return native;
}

/** Each candidate with its reason, as one line. */
export function describeCandidates(runtime: NativeRuntime): string {
  return runtime.candidates.map(({ name, reason }) => `${name}: ${reason}`).join('; ');
}

/** For one line: the last candidate's reason, and that of a folder which was asked for by name. */
function summarise({ candidates }: NativeRuntime): string {
  return candidates
    .filter(
      ({ name, reason }, i) => i === candidates.length - 1 || (name === 'GQA_LIBTENSORFLOW' && reason !== 'not set'),
    )
    .map(({ reason }) => reason)
    .join('; ');
}

/** Every reason known without a GPU why libtensorflow reports none. */
export function whyNoGpu(runtime: NativeRuntime, env: NodeJS.ProcessEnv = process.env): string[] {
  const reasons: string[] = [];
  if (runtime.flavour === 'cpu')
    reasons.push(`the CPU build of libtensorflow is set up (${npmRun('setup', '-- --cuda')} fetches the CUDA build)`);
  const lacking = locateCuda(runtime.library, env).filter(({ found }) => found === null);
  const driver = lacking.find(({ file }) => file === 'libcuda.so.1');
  if (driver !== undefined) reasons.push(`no NVIDIA driver (${driver.file} not found)`);
  const others = lacking.filter((library) => library !== driver);
  if (runtime.flavour === 'cuda' && others.length > 0)
    reasons.push(`missing: ${others.map(({ file, wanted }) => `${file} (${wanted})`).join(', ')}`);
  const visible = env.CUDA_VISIBLE_DEVICES;
  if (visible !== undefined && (visible.trim() === '' || visible.trim().startsWith('-')))
    reasons.push(`CUDA_VISIBLE_DEVICES is '${visible}', which hides every GPU`);
  if (reasons.length === 0)
    reasons.push(
      'libtensorflow reports no GPU although driver and libraries are there (TF_CPP_MIN_LOG_LEVEL=0 shows why)',
    );
  return reasons;
}

function notThere(device: 'gpu' | 'native', reasons: string): GqaError {
  const wanted = device === 'gpu' ? 'a GPU' : 'the native runtime (libtensorflow)';
  return new GqaError('environment', `device ${device} needs ${wanted}, but: ${reasons}`, {
    hint:
      device === 'gpu'
        ? `${command('doctor --device gpu')} lists what was looked for; device: auto takes what is there`
        : `${npmRun('setup')} tries again; device: auto also accepts wasm`,
  });
}

/**
 * @param withoutFused why set-up left fused operations out; null: it did not
 * @returns the backend, or the reason why the addon in place does not load
 */
function startNative(device: Config['device'], withoutFused: string | null): Backend | string {
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  process.env.TF_FORCE_GPU_ALLOW_GROWTH ??= 'true'; // otherwise the first process takes the whole GPU
  if (device === 'cpu') process.env.CUDA_VISIBLE_DEVICES = '-1';
  restoreIsNullOrUndefined();
  try {
    // tfjs-node-gpu is CommonJS and brings @tensorflow/tfjs as CommonJS; Node gives our ESM imports of
    // @tensorflow/tfjs-core the same instance.
    require('@tensorflow/tfjs-node-gpu');
  } catch (error) {
    return `the native addon does not load: ${String(error instanceof Error ? error.message : error).split('\n')[0]} (${npmRun('setup')})`;
  }
  registerGradients();
  const backend = tf.backend() as tf.KernelBackend & { isUsingGpuDevice: boolean; binding: { TF_Version: string } };
  return {
    name: 'tensorflow',
    device: backend.isUsingGpuDevice ? 'gpu' : 'cpu',
    version: backend.binding.TF_Version,
    notice: null,
    fused: backend.isUsingGpuDevice ? { problem: 'they are for the CPU, and a GPU computes' } : loadFused(withoutFused),
  };
}

/** Loading it registers the operations; TensorFlow has to be there before. */
function loadFused(problem: string | null): Backend['fused'] {
  if (problem !== null) return { problem };
  const file = addonFile('gqa_fused');
  try {
    const { instructions, threads, products } = require(file) as AddonAbout;
    if (instructions === null) return { problem: 'this processor has no AVX2' };
    return { instructions, threads, products: products ? wantedProducts(instructions) : 'tensorflow' };
  } catch (error) {
    return {
      problem: `${file} does not load: ${String((error as Error).message).split('\n')[0]} (${npmRun('setup')})`,
    };
  }
}

/** What the addon says of itself; `products`: whether OpenBLAS is there. */
interface AddonAbout {
  instructions: FusedOperations['instructions'] | null;
  threads: number;
  products: boolean;
}

/** As the environment variable GQA_PRODUCTS says (`openblas`, `tensorflow`), else by what the processor has. */
function wantedProducts(instructions: FusedOperations['instructions']): Products {
  const asked = process.env.GQA_PRODUCTS;
  return asked === 'openblas' || asked === 'tensorflow' ? asked : PRODUCTS[instructions];
}

/** tfjs-node 4.22 calls this function, which Node 22 warns about and Node 23 removed. */
function restoreIsNullOrUndefined(): void {
  (util as { isNullOrUndefined: (value: unknown) => boolean }).isNullOrUndefined = (value) =>
    value === null || value === undefined;
}

async function startWasm(notice: string | null): Promise<Backend> {
  require('@tensorflow/tfjs'); // tfjs-core for Node comes without gradients; this registers them
  const wasm = require('@tensorflow/tfjs-backend-wasm') as { version_wasm: string };
  if (!(await tf.setBackend('wasm')))
    throw new GqaError('environment', 'the wasm backend of TensorFlow.js does not start in this Node');
  await tf.ready();
  registerGradients();
  registerWasmKernels();
  return {
    name: 'wasm',
    device: 'cpu',
    version: wasm.version_wasm,
    notice,
    fused: { problem: 'they are libtensorflow’s' },
  };
}
