/**
 * What a native call spent its time on, as libtensorflow itself records it. Needs the addon of this project's set-up
 * (src/native/step-stats.cc).
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fieldsOf } from '../protobuf.js';
import { inTemporaryFolder } from './temporary.js';

export interface Operation {
  /** Of the node, after TensorFlow's own optimisation of the graph. */
  name: string;
  /** The kernel's operation, such as `_MklMatMul`. */
  op: string;
  /** Microseconds from the start of the call, and of the kernel alone. */
  start: number;
  duration: number;
}

/**
 * Runs `call`, of whose native calls the last one is recorded. Recording makes a call slower: times are for comparing
 * with each other.
 * @returns null when the addon in place does not record
 */
export function recordedOperations(call: () => void): Operation[] | null {
  return inTemporaryFolder('step-stats-', (folder) => {
    const file = path.join(folder, 'run-metadata.pb');
    try {
      process.env.GQA_STEP_STATS = file;
      call();
      return existsSync(file) ? operationsOf(readFileSync(file)) : null;
    } finally {
      delete process.env.GQA_STEP_STATS;
    }
  });
}

/**
 * @param bytes a RunMetadata message. Field numbers: tensorflow/core/protobuf/config.proto and
 *   tensorflow/core/framework/step_stats.proto
 */
export function operationsOf(bytes: Buffer): Operation[] {
  const nodes = messages(bytes, 1) // step_stats
    .flatMap((stats) => messages(stats, 1)) // dev_stats
    .flatMap((device) => messages(device, 2)); // node_stats
  const times = nodes.map((node) => {
    const fields = new Map(fieldsOf(node));
    const text = (field: number): string => (fields.get(field) as Buffer | undefined)?.toString() ?? '';
    const number = (field: number): number => (fields.get(field) as number | undefined) ?? 0;
    const label = text(8); // timeline_label: name = Op(inputs)
    const name = text(1);
    const nanoseconds = number(15) - number(14); // op_end_rel_nanos − op_start_rel_nanos
    return {
      name,
      // of kernels on a GPU there is no label: their name ends in `:Op`
      op: (/ = (\w+)\(/.exec(label) ?? /:(\w+)$/.exec(name))?.[1] ?? name,
      start: number(2), // all_start_micros
      duration: nanoseconds > 0 ? nanoseconds / 1000 : number(4) - number(3), // op_end_rel_micros − op_start_rel_micros
    };
  });
  const first = times.reduce((least, { start }) => Math.min(least, start), Number.POSITIVE_INFINITY);
  return times.map((each) => ({ ...each, start: each.start - first }));
}

const messages = (bytes: Buffer, field: number): Buffer[] =>
  fieldsOf(bytes).flatMap(([number, value]) => (number === field && typeof value !== 'number' ? [value] : []));
