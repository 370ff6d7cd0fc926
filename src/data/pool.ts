/**
 * Threads that make batches. A job goes to the thread with the fewest waiting at once, so that threads go on while the main one sits in a native call;
 * each answers in the order it was asked.
 */
import { Worker } from 'node:worker_threads';
import { type ExitCodeName, GqaError } from '../errors.js';
import { type BatchJob, preprocessBatch } from './preprocess.js';

export interface Pool {
  /** Jobs worth having under way at once. */
  readonly ahead: number;
  /** [batchSize, height, width, 3] bytes. */
  run(job: BatchJob): Promise<Uint8Array>;
  /** Ends the threads; what is under way is abandoned. */
  close(): Promise<void>;
}

/** What a worker thread is given at its start. */
export interface WorkerData {
  /** [position in the batch of the picture in work, 1 when the thread shall stop]. */
  state: Int32Array<SharedArrayBuffer>;
}

/** What it answers: errors as fields, since a thrown GqaError would arrive as a plain Error. */
export type WorkerAnswer =
  | { id: number; pixels: Uint8Array<ArrayBuffer> }
  | { id: number; failure: { code: ExitCodeName; message: string; hint: string | undefined } | { stack: string } };

export const POSITION = 0;
export const STOP = 1;

/** The pool of no threads: jobs run when asked for, on the main thread. */
export function mainThreadPool(): Pool {
  return { ahead: 1, run: (job) => preprocessBatch(job), close: async () => {} };
}

interface Waiting {
  job: BatchJob;
  resolve(pixels: Uint8Array): void;
  reject(reason: Error): void;
}

interface Thread {
  worker: Worker;
  state: Int32Array<SharedArrayBuffer>;
  /** By id, the oldest (in work) first. */
  waiting: Map<number, Waiting>;
  /** Why it died; it is never sent another job. */
  death: GqaError | undefined;
  exited: Promise<void>;
}

/**
 * @param count  threads, 1 or more; each starts with the first job it gets
 * @param script the thread's module (another one in tests)
 */
export function threadPool(count: number, script: URL = new URL('./worker.js', import.meta.url)): Pool {
  const threads: Thread[] = [];
  let lastId = 0;
  let closed = false;

  function run(job: BatchJob): Promise<Uint8Array> {
    if (closed) return Promise.reject(new Error('the data pipeline was closed'));
    const idle = threads.find((thread) => thread.waiting.size === 0);
    if (idle === undefined && threads.length < count) threads.push(startThread(script));
    const thread = idle ?? threads.reduce((least, other) => (other.waiting.size < least.waiting.size ? other : least));
    if (thread.death !== undefined) return Promise.reject(thread.death);
    const id = ++lastId;
    return new Promise((resolve, reject) => {
      thread.waiting.set(id, { job, resolve, reject });
      thread.worker.postMessage({ id, job });
    });
  }

  async function close(): Promise<void> {
    closed = true;
    for (const { worker, state } of threads) {
      // Asked to end by itself rather than terminated: a picture may be inside sharp's own threads.
      Atomics.store(state, STOP, 1);
      worker.postMessage('close');
    }
    await Promise.all(threads.map((thread) => thread.exited));
  }

  return { ahead: 2 * count, run, close };
}

function startThread(script: URL): Thread {
  const state = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(script, { workerData: { state } satisfies WorkerData });
  const waiting: Thread['waiting'] = new Map();
  const thread: Thread = {
    worker,
    state,
    waiting,
    death: undefined,
    exited: new Promise((resolve) => worker.once('exit', () => resolve())),
  };
  let uncaught: Error | undefined;
  worker.on('message', (answer: WorkerAnswer) => {
    const asked = waiting.get(answer.id);
    waiting.delete(answer.id);
    if ('pixels' in answer) asked?.resolve(answer.pixels);
    else asked?.reject(thrown(answer.failure));
  });
  worker.on('error', (error: Error) => {
    uncaught = error;
  });
  worker.on('exit', (exitCode) => {
    const stopped = Atomics.load(state, STOP) === 1;
    thread.death = stopped
      ? new GqaError('data', 'the data pipeline was closed while a batch was made')
      : death(thread, exitCode, uncaught);
    for (const { reject } of waiting.values()) reject(thread.death);
    waiting.clear();
  });
  return thread;
}

function thrown(failure: Extract<WorkerAnswer, { failure: unknown }>['failure']): Error {
  if ('code' in failure) return new GqaError(failure.code, failure.message, failure.hint === undefined ? {} : { hint: failure.hint });
  const error = new Error('unexpected error in a data worker');
  error.stack = failure.stack;
  return error;
}

/** A thread that ended by itself: named with the picture it was working on. */
function death({ state, waiting }: Thread, exitCode: number, cause: Error | undefined): GqaError {
  const [first] = waiting.values();
  const position = Atomics.load(state, POSITION);
  const reason = cause === undefined ? `exit code ${exitCode}` : cause.message;
  return new GqaError(
    'data',
    `A data worker died (${reason}) ${first === undefined ? 'between batches' : `while working on ${pictureName(first.job, position)}`}`,
    {
      hint: 'Try data.workers: 0; if the same picture fails again, replace it.',
      cause,
    },
  );
}

function pictureName({ source, indices }: BatchJob, position: number): string {
  const names = source.kind === 'files' ? source.paths : source.kind === 'encoded' ? source.names : [];
  return names[position] ?? `picture ${indices[position] ?? 0} of its split`;
}
