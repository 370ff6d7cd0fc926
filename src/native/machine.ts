/**
 * What there is to compute with: CPU, memory, NVIDIA devices, and the environment variables that govern libtensorflow.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';

export interface Cpu {
  model: string;
  /** Logical cores this process may use. */
  cores: number;
  /** Of the vector extensions that libtensorflow has code for, those present. */
  extensions: string[];
}

const EXTENSIONS = ['avx', 'avx2', 'fma', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_bf16'];

export function readCpu(): Cpu {
  const flags = existsSync('/proc/cpuinfo')
    ? (/^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '').trim().split(/\s+/)
    : [];
  return {
    model: os.cpus()[0]?.model ?? 'unknown',
    cores: os.availableParallelism(),
    extensions: EXTENSIONS.filter((name) => flags.includes(name)),
  };
}

/** Memory in bytes; `limit` is the container's where one is set (cgroup v2), else null. */
export interface Memory {
  total: number;
  free: number;
  limit: number | null;
}

export function readMemory(): Memory {
  const limit = Number(
    existsSync('/sys/fs/cgroup/memory.max') ? readFileSync('/sys/fs/cgroup/memory.max', 'utf8') : Number.NaN,
  );
  return { total: os.totalmem(), free: os.freemem(), limit: Number.isFinite(limit) ? limit : null };
}

/** Lines as `nvidia-smi` gives them (name, driver, memory), one a device; empty without the tool or without devices. */
export function readGpus(): string[] {
  const result = spawnSync('nvidia-smi', ['--query-gpu=name,driver_version,memory.total', '--format=csv,noheader'], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  return result.status === 0 ? result.stdout.split('\n').filter((line) => line.trim() !== '') : [];
}

/** A variable that is read when libtensorflow loads, and what holds while it is not set. */
const SETTINGS = [
  ['TF_NUM_INTRAOP_THREADS', 'one per core'],
  ['TF_NUM_INTEROP_THREADS', 'one per core'],
  ['OMP_NUM_THREADS', 'one per core'],
  ['TF_ENABLE_ONEDNN_OPTS', 'on'],
  ['XLA_FLAGS', 'none'],
  ['TF_XLA_FLAGS', 'none'],
  ['CUDA_VISIBLE_DEVICES', 'all'],
  ['TF_FORCE_GPU_ALLOW_GROWTH', 'true, set by gqa: GPU memory is taken as needed'],
  ['TF_CPP_MIN_LOG_LEVEL', '2, set by gqa: errors only'],
  ['LD_LIBRARY_PATH', 'none'],
  ['GQA_LIBTENSORFLOW', 'none'],
] as const;

export interface Setting {
  name: string;
  value: string | null;
  /** In force while `value` is null. */
  otherwise: string;
}

/** @param env as it was before startBackend filled in its own */
export function readSettings(env: NodeJS.ProcessEnv): Setting[] {
  return SETTINGS.map(([name, otherwise]) => ({ name, value: env[name] ?? null, otherwise }));
}
