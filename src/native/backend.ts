/**
 * Starts the TensorFlow.js backend that everything else computes on: libtensorflow (GPU or CPU) through tfjs-node-gpu,
 * or wasm. Afterwards `@tensorflow/tfjs-core` has it set. The addon opens its sessions without options, so threads, GPU
 * memory and XLA are only reached by environment variables that are set before it loads.
 */

import { createRequire } from 'node:module';
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
}

const require = createRequire(import.meta.url);

let started: { device: Config['device']; backend: Promise<Backend> } | undefined;

/**
 * @param device auto: native, on the GPU when there is one, else wasm with a notice · gpu, native: that or an error ·
 *   cpu: native on the CPU, else wasm with a notice · wasm
 * @throws GqaError('environment') with every reason when `gpu` or `native` cannot be had, or when another device was
 *   started in this process before
 */
export function startBackend(device: Config['device']): Promise<Backend> {
  if (started !== undefined && started.device !== device) {
    throw new GqaError(
      'environment',
      `the backend was started for device ${started.device} and cannot become ${device} in the same process`,
    );
  }
  started ??= { device, backend: start(device) };
  return started.backend;
}

async function start(device: Config['device']): Promise<Backend> {
  if (device === 'wasm') return startWasm(null);
  const runtime = locateNative();
  const native = runtime.present ? startNative(device) : describeCandidates(runtime);
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

/** @returns the backend, or the reason why the addon in place does not load */
function startNative(device: Config['device']): Backend | string {
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
    fused: backend.isUsingGpuDevice ? { problem: 'they are for the CPU, and a GPU computes' } : loadFused(),
  };
}

/** Loading it registers the operations; TensorFlow has to be there before. */
function loadFused(): Backend['fused'] {
  const problem = locateNative().fused;
  if (problem !== null) return { problem };
  const file = addonFile('gqa_fused');
  try {
    const { instructions, threads } = require(file) as { [K in keyof FusedOperations]: FusedOperations[K] | null };
    return instructions === null || threads === null
      ? { problem: 'this processor has no AVX2' }
      : { instructions, threads };
  } catch (error) {
    return {
      problem: `${file} does not load: ${String((error as Error).message).split('\n')[0]} (${npmRun('setup')})`,
    };
  }
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
