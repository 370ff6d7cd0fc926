/** One worker thread of the pool: what it was given, and how it starts and fails. */
import { Worker } from 'node:worker_threads';
import { type ExitCodeName, GqaError } from '../../errors.js';
import { IDLE, newWorkState, type WorkState } from './at-work.js';
import type { BatchJob, Flaw, Pass } from './preprocess.js';
import { PENDING, type Ring, stateOf } from './ring.js';

/** What a worker thread is given at its start. */
export interface WorkerData {
  state: WorkState;
}

export type ToWorker =
  | { open: number; pass: Pass; ring: Ring }
  | { end: number }
  | { id: number; of: number; slot: number; job: BatchJob }
  | 'close';

/** What a slot's state cannot say: errors as fields, since a thrown GqaError would arrive as a plain Error. */
export type WorkerAnswer =
  | { id: number; flaws: Flaw[] }
  | { id: number; failure: { code: ExitCodeName; message: string; hint: string | undefined } | { stack: string } };

/**
 * Of a thread's own heap (images lie outside it), in 2²⁰ bytes: a thread that exceeds it ends alone, not the process.
 */
const HEAP_MB = 512;
export const closedError = (): Error => new GqaError('data', 'the data pipeline was closed while a batch was made');

/** A job until its slot's state has changed. */
export interface Waiting {
  id: number;
  of: number;
  pass: Pass;
  ring: Ring;
  slot: number;
  job: BatchJob;
  thread: Thread | null;
  /** How often a thread has ended over it. */
  deaths: number;
  /** What the thread has said beside the slot's state. */
  answer: WorkerAnswer | null;
  /** Why no thread will ever make it. */
  lost: Error | null;
}

export interface Thread {
  worker: Worker;
  state: WorkState;
  /** By id, the oldest first. */
  waiting: Map<number, Waiting>;
  /** Passes that it was given. */
  given: Set<number>;
  dead: boolean;
  exited: Promise<void>;
}

export const pending = ({ waiting }: Thread): Waiting[] =>
  [...waiting.values()].filter(({ ring, slot }) => stateOf(ring, slot) === PENDING);

export const pendingOf = (thread: Thread): number => pending(thread).length;

export function startThread(script: URL, ended: (why: string) => void): Thread {
  const state = newWorkState();
  const worker = new Worker(script, {
    workerData: { state } satisfies WorkerData,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
  });
  const waiting: Thread['waiting'] = new Map();
  let uncaught: Error | undefined;
  worker.on('message', (answer: WorkerAnswer) => {
    const asked = waiting.get(answer.id);
    if (asked !== undefined) asked.answer = answer;
  });
  worker.on('error', (error: Error) => {
    uncaught = error;
  });
  const exited = new Promise<void>((resolve) => {
    worker.once('exit', (exitCode) => {
      ended(uncaught === undefined ? `exit code ${exitCode}` : uncaught.message);
      resolve();
    });
  });
  return { worker, state, waiting, given: new Set(), dead: false, exited };
}

export function thrown(failure: Extract<WorkerAnswer, { failure: unknown }>['failure']): Error {
  if ('code' in failure)
    return new GqaError(failure.code, failure.message, failure.hint === undefined ? {} : { hint: failure.hint });
  const error = new Error('unexpected error in a data worker');
  error.stack = failure.stack;
  return error;
}

/** Two threads have ended by themselves over one batch: named with the image that the second was working on. */
export function death({ job, deaths }: Waiting, position: number, why: string): GqaError {
  return new GqaError(
    'data',
    `${deaths} data workers, one after the other, ended (${why}) while working on ${imageName(job, position)}`,
    {
      hint: 'Replace the image or take it out of the data set; data.timeout_s and data.max_pixels bound what an image may take.',
    },
  );
}

function imageName({ indices, encoded }: BatchJob, position: number): string {
  if (position === IDLE) return 'no image yet';
  const names = encoded === null ? [] : encoded.kind === 'files' ? encoded.paths : encoded.names;
  return names[position] ?? `image ${indices[position] ?? 0} of its split`;
}
