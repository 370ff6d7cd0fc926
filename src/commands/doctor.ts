/** `gqa doctor`: what this machine offers, what was chosen and why everything before it was not. */

import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { snakeKeys } from '../config/resolve.js';
import { counted } from '../counted.js';
import { GqaError } from '../errors.js';
import { type Backend, startBackend, whyNoGpu } from '../native/backend.js';
import { loadImages } from '../native/images.js';
import { type CudaLibrary, locateCuda, locateNative, type NativeRuntime } from '../native/locate.js';
import { type Cpu, type Memory, readCpu, readGpus, readMemory, readSettings, type Setting } from '../native/machine.js';

interface Report {
  node: { version: string; path: string; platform: string; glibc: string | null };
  /** null when the asked device is not there. */
  runtime: Backend | null;
  native: NativeRuntime;
  /** Why images are not decoded and augmented natively; null: they are. */
  noNativeImagesBecause: string | null;
  gpus: string[];
  /** Empty when libtensorflow computes on a GPU. */
  noGpuBecause: string[];
  cuda: CudaLibrary[];
  settings: Setting[];
  cpu: Cpu;
  memory: Memory;
  /** Folders of data sets that are present. */
  datasets: string[];
}

/**
 * @throws GqaError('environment') with every reason when `device` is given and not there; the report is printed all the
 *   same
 */
export async function doctor(options: { device?: 'gpu' | 'native'; json?: boolean }): Promise<void> {
  const settings = readSettings({ ...process.env }); // before startBackend sets its own
  const { runtime, failure } = await tryBackend(options.device ?? 'auto');
  const native = locateNative();
  const report: Report = {
    node: {
      version: process.versions.node,
      path: process.execPath,
      platform: `${process.platform} ${process.arch}`,
      glibc:
        (process.report.getReport() as { header: { glibcVersionRuntime?: string } }).header.glibcVersionRuntime ?? null,
    },
    runtime,
    native,
    noNativeImagesBecause: loadImages().addon === null ? (native.images ?? loadImages().problem) : null,
    gpus: readGpus(),
    noGpuBecause: runtime?.device === 'gpu' ? [] : whyNoGpu(native),
    cuda: locateCuda(native.library),
    settings,
    cpu: readCpu(),
    memory: readMemory(),
    datasets: findDatasets(),
  };
  process.stdout.write(options.json ? `${JSON.stringify(snakeKeys(report), null, 2)}\n` : formatReport(report));
  if (failure !== null) throw failure;
}

function formatStep({ name, fused }: Backend): string {
  if (name !== 'tensorflow') return 'operation by operation';
  if ('problem' in fused) return `one graph of TensorFlow’s own operations: ${fused.problem}`;
  const products = { openblas: 'OpenBLAS', tensorflow: 'TensorFlow' }[fused.products];
  return `one graph with fused operations (${fused.instructions}, ${counted(fused.threads, 'thread')}), float32 products by ${products}`;
}

async function tryBackend(
  device: 'auto' | 'gpu' | 'native',
): Promise<{ runtime: Backend | null; failure: GqaError | null }> {
  try {
    return { runtime: await startBackend(device), failure: null };
  } catch (error) {
    if (error instanceof GqaError) return { runtime: null, failure: error };
    throw error;
  }
}

/** Data sets lie in folders of datasets/; Debian's package puts Fashion-MNIST in /usr/share. */
function findDatasets(): string[] {
  const local = existsSync('datasets')
    ? readdirSync('datasets', { withFileTypes: true })
        .filter((entry) => !entry.isFile())
        .map((entry) => path.join('datasets', entry.name))
    : [];
  return [...local, '/usr/share/datasets/fashion-mnist'].filter((folder) => existsSync(folder));
}

function formatReport(report: Report): string {
  const { node, runtime, native, noNativeImagesBecause: noNative, cpu, memory } = report;
  const missing = report.cuda.filter(({ found }) => found === null);
  const sections: [string, string[]][] = [
    [
      'node',
      [
        `${node.version} at ${node.path}, ${node.platform}, ${node.glibc === null ? 'no glibc' : `glibc ${node.glibc}`}`,
      ],
    ],
    [
      'runtime',
      runtime === null
        ? ['the asked device is not there']
        : [formatRuntime(runtime), ...(runtime.notice === null ? [] : [runtime.notice])],
    ],
    ['step', runtime === null ? [] : [formatStep(runtime)]],
    ['images', [noNative === null ? 'JPEGs and RandAugment natively' : `by sharp and in JavaScript: ${noNative}`]],
    [
      'candidates',
      native.candidates.map(({ name, taken, reason }) => `${taken ? 'taken' : 'not taken'}  ${name}: ${reason}`),
    ],
    ['GPUs', report.gpus.length > 0 ? report.gpus : ['none listed by nvidia-smi']],
    ['no GPU because', report.noGpuBecause],
    ['CUDA found', report.cuda.flatMap(({ file, found }) => (found === null ? [] : [`${file}  ${found}`]))],
    ['CUDA missing', missing.map(({ file, wanted }) => `${file}  wanted: ${wanted}`)],
    [
      'settings',
      report.settings.map(({ name, value, otherwise }) =>
        value === null ? `${name} not set (${otherwise})` : `${name}=${value}`,
      ),
    ],
    [
      'CPU',
      [`${cpu.model}, ${counted(cpu.cores, 'core')}, ${cpu.extensions.join(' ') || 'no vector extensions known'}`],
    ],
    [
      'memory',
      [
        `${gigabytes(memory.free)} free of ${gigabytes(memory.total)}${memory.limit === null ? '' : `, container limit ${gigabytes(memory.limit)}`}`,
      ],
    ],
    ['data sets', report.datasets.length > 0 ? report.datasets : ['none under datasets/']],
  ];
  return sections
    .map(([title, lines]) => lines.map((line, i) => `${(i === 0 ? title : '').padEnd(16)}${line}\n`).join(''))
    .join('');
}

function formatRuntime({ name, device, version }: Backend): string {
  return name === 'wasm' ? `wasm ${version} on the CPU` : `libtensorflow ${version} on the ${device.toUpperCase()}`;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
