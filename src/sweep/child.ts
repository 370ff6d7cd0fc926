/**
 * One point of a sweep as a process of its own: whatever ends it (a bad loss, a crash in native code, the kernel's
 * memory killer) leaves the sweep standing.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { wasInterrupted } from '../run/interrupt.js';

/** What `gqa train --json` prints, as far as a sweep reads it. */
const reportSchema = z.object({
  run: z.string(),
  kv_parameters: z.number(),
  kv_activations: z.number().nullable().default(null), // of an older gqa
  gflops_per_image: z.number().nullable().default(null),
  converted: z.object({ top1: z.number() }).nullable(),
  fresh_head: z.boolean().default(false),
  best: z.object({ epoch: z.number(), top1: z.number(), loss: z.number() }),
  test: z.object({ top1: z.number(), top5: z.number().nullable(), loss: z.number() }).nullable(),
  train_images_per_s: z.number().nullable(),
  warnings: z.array(z.string()).default([]),
});
export type PointReport = z.output<typeof reportSchema>;

/**
 * `exitCode`: as a shell has it, 128 and its number for a signal; null: the process could not be started, or was not.
 */
export type PointOutcome = { exitCode: number | null } & (
  | { state: 'done'; report: PointReport }
  /** `how`: `exit 6`, `SIGKILL`, or what was wrong with its report. */
  | { state: 'failed' | 'crashed' | 'interrupted'; how: string }
);

export interface Child {
  outcome: Promise<PointOutcome>;
  /** Passes a signal on. */
  kill(signal: NodeJS.Signals): void;
}

/**
 * Starts the process; its stderr (progress, errors) is shown as it comes, or line by line given to `onLine`; its stdout
 * is read as one JSON document.
 * It leads a process group of its own, so that Ctrl-C reaches it once, through `kill`, and not a second time from the
 * terminal. It ends, and is kept, when this process is gone: by kill -9, say, which lets nobody tell it.
 * @param program what to run, with its first arguments; a sweep's is `node cli.js`
 */
export function startChild(
  program: readonly string[],
  args: readonly string[],
  { env = {}, onLine = null }: { env?: NodeJS.ProcessEnv; onLine?: ((line: string) => void) | null } = {},
): Child {
  const [command = process.execPath, ...first] = program;
  const child = spawn(command, [...first, ...args], {
    stdio: ['ignore', 'pipe', onLine === null ? 'inherit' : 'pipe'],
    detached: process.platform !== 'win32',
    env: { ...process.env, GQA_PARENT: String(process.pid), ...env },
  });
  if (onLine !== null && child.stderr !== null) createInterface({ input: child.stderr }).on('line', onLine);
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const outcome = new Promise<PointOutcome>((resolve) => {
    child.on('error', (error) => resolve({ state: 'failed', how: error.message, exitCode: null }));
    child.on('close', (code, signal) => resolve(outcomeOf(code, signal, text)));
  });
  return { outcome, kill: (signal) => void child.kill(signal) };
}

/** What a run that came to its end left in its folder; null: it did not, or that cannot be read. */
export function outcomeIn(run: string): PointOutcome | null {
  try {
    const text = readFileSync(path.join(run, 'report.json'), 'utf8');
    return { state: 'done', report: reportSchema.parse(JSON.parse(text)), exitCode: 0 };
  } catch {
    return null;
  }
}

function outcomeOf(code: number | null, signal: NodeJS.Signals | null, text: string): PointOutcome {
  const exitCode = code ?? (signal === null ? null : 128 + os.constants.signals[signal]);
  if (code !== 0 && wasInterrupted(code, signal))
    return { state: 'interrupted', how: signal ?? `exit ${code}`, exitCode };
  if (signal !== null) return { state: 'crashed', how: signal, exitCode };
  if (code !== 0) return { state: 'failed', how: `exit ${code}`, exitCode };
  try {
    return { state: 'done', report: reportSchema.parse(JSON.parse(text)), exitCode };
  } catch (error) {
    return {
      state: 'failed',
      how: `exit 0, but its report cannot be read: ${(error as Error).message.split('\n')[0]}`,
      exitCode,
    };
  }
}
