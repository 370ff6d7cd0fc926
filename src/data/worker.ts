/** A thread of the pool: makes the batches it is asked for, one after the other, and hands their bytes over without a copy. */
import { parentPort, workerData } from 'node:worker_threads';
import { GqaError } from '../errors.js';
import { POSITION, STOP, type WorkerAnswer, type WorkerData } from './pool.js';
import { type BatchJob, preprocessBatch } from './preprocess.js';

const port = parentPort;
if (port === null) throw new Error('worker.ts runs in a worker thread only');
const { state } = workerData as WorkerData;

let last = Promise.resolve();
port.on('message', (message: { id: number; job: BatchJob } | 'close') => {
  if (message === 'close') last = last.then(() => port.close());
  else last = last.then(() => answer(message.id, message.job));
});

async function answer(id: number, job: BatchJob): Promise<void> {
  try {
    const pixels = await preprocessBatch(job, goOn);
    if (Atomics.load(state, STOP) === 1) return;
    port?.postMessage({ id, pixels } satisfies WorkerAnswer, [pixels.buffer]);
  } catch (error) {
    port?.postMessage({ id, failure: asFields(error) } satisfies WorkerAnswer);
  }
}

function goOn(position: number): boolean {
  Atomics.store(state, POSITION, position);
  return Atomics.load(state, STOP) === 0;
}

function asFields(error: unknown): Extract<WorkerAnswer, { failure: unknown }>['failure'] {
  if (error instanceof GqaError) return { code: error.code, message: error.message, hint: error.hint };
  return { stack: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}
