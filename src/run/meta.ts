/** A run's meta.json: what its figures depend on beside the config. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { gqaVersion, packageRoot } from '../version.js';

/** What a run's record holds of the model, and of what the user was shown of it. */
export interface RunAbout {
  parameters: number;
  kvParameters: number;
  /** More than those where a variant merges heads in every step. */
  trainedKvParameters: number;
  /** For each layer the group of every head. */
  grouping: readonly (readonly number[])[];
  /** The same of values, where they are grouped apart. */
  valueGrouping: readonly (readonly number[])[] | null;
  /** For each layer and place of a head the place that it had in the checkpoint; null from scratch. */
  headOrder: readonly (readonly number[])[] | null;
  notices: readonly string[];
}

export function describeModel(about: RunAbout | undefined): Record<string, unknown> {
  if (about === undefined) return {};
  const { parameters, kvParameters, trainedKvParameters, grouping, valueGrouping, headOrder, notices } = about;
  const apart = valueGrouping === null ? {} : { value_grouping: valueGrouping };
  const trained = trainedKvParameters === kvParameters ? {} : { trained_kv_parameters: trainedKvParameters };
  return { parameters, kv_parameters: kvParameters, ...trained, grouping, ...apart, head_order: headOrder, notices };
}

/**
 * Variables that change how things are computed. No wider: an environment holds secrets too, and Terraform's also begin
 * with TF_.
 */
const settings =
  /^(TF_(CPP|CUDA|CUDNN|DETERMINISTIC|DISABLE|ENABLE|FORCE|GPU|NUM|ONEDNN|USE|XLA)_|GQA_|CUDA_|XLA_|OMP_|NVIDIA_|NODE_OPTIONS$|UV_THREADPOOL_SIZE$)/;

/** What a run's meta.json holds; null where there is none, or none that can be read. */
export function readMeta(folder: string): Record<string, unknown> | null {
  try {
    return JSON.parse(readFileSync(path.join(folder, 'meta.json'), 'utf8')) as Record<string, unknown> | null;
  } catch {
    return null; // the folder is no run's: a config lies beside anything
  }
}

/** 2: the run keeps checkpoints that it can go on from. */
export const SCHEMA_VERSION = 2;

/** meta.json: what the figures depend on beside the config. */
export function describeRun(device: {
  name: string;
  device: string;
  version: string;
  /** The fused operations and who multiplies for them, or why there are none. */
  fused?: object;
}): Record<string, unknown> {
  return {
    schema_version: SCHEMA_VERSION,
    started: new Date().toISOString(),
    versions: {
      gqa: gqaVersion(),
      node: process.version,
      tfjs: installedVersion('@tensorflow/tfjs'),
      [device.name]: device.version,
    },
    device: device.device,
    backend: device.name,
    fused: device.fused ?? null,
    git: gitState(packageRoot),
    argv: process.argv.slice(2),
    cwd: process.cwd(),
    host: os.hostname(),
    platform: `${process.platform}-${process.arch}`,
    cpu: os.cpus()[0]?.model ?? null,
    cores: os.availableParallelism(),
    memory_mb: Math.round(os.totalmem() / 1e6),
    env: Object.fromEntries(Object.entries(process.env).filter(([key]) => settings.test(key))),
  };
}

function installedVersion(name: string): string | null {
  try {
    return (createRequire(import.meta.url)(`${name}/package.json`) as { version: string }).version;
  } catch {
    return null; // reported as unknown; the run does not depend on knowing it
  }
}

/**
 * The commit of this code; null where it is no git checkout (of its own: not one that merely lies around it) or git is
 * not installed.
 */
function gitState(root: string): { commit: string; dirty: boolean } | null {
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', root, ...args], {
      encoding: 'utf8',
      timeout: 5000,
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  try {
    if (path.resolve(git('rev-parse', '--show-toplevel')) !== path.resolve(root)) return null;
    return { commit: git('rev-parse', 'HEAD'), dirty: git('status', '--porcelain') !== '' };
  } catch {
    return null;
  }
}
