/** A thread of the pool: makes the batches it is asked for, one after the other, where they lie in shared memory. */
import { parentPort, workerData } from 'node:worker_threads';
import { GqaError } from '../../errors.js';
import { beginImage, beginJob, isAskedToStop, rest } from './at-work.js';
import { makeBatch, type Pass } from './preprocess.js';
import { FAILED, isAbandoned, MADE, MADE_WITH_FLAWS, type Ring, setState, slotPixels } from './ring.js';
import type { ToWorker, WorkerAnswer, WorkerData } from './thread.js';

const port = parentPort;
if (port === null) throw new Error('worker.ts runs in a worker thread only');
const { state } = workerData as WorkerData;
const passes = new Map<number, { pass: Pass; ring: Ring }>();

let last = Promise.resolve();
port.on('message', (message: ToWorker) => {
  if (message === 'close') last = last.then(() => port.close());
  else if ('open' in message) passes.set(message.open, message);
  else if ('end' in message) last = last.then(() => void passes.delete(message.end));
  else last = last.then(() => work(message));
});

async function work({ id, of, slot, job }: Extract<ToWorker, { job: unknown }>): Promise<void> {
  const { pass, ring } = passes.get(of) as { pass: Pass; ring: Ring };
  const goOn = (position: number): boolean => {
    beginImage(state, position);
    return !isAskedToStop(state) && !isAbandoned(ring);
  };
  beginJob(state, id);
  try {
    const flaws = await makeBatch(pass, job, slotPixels(ring, slot), goOn);
    if (isAskedToStop(state)) return;
    if (flaws.length > 0) port?.postMessage({ id, flaws } satisfies WorkerAnswer);
    setState(ring, slot, flaws.length > 0 ? MADE_WITH_FLAWS : MADE);
  } catch (error) {
    port?.postMessage({ id, failure: asFields(error) } satisfies WorkerAnswer);
    setState(ring, slot, FAILED);
  } finally {
    rest(state);
  }
}

function asFields(error: unknown): Extract<WorkerAnswer, { failure: unknown }>['failure'] {
  if (error instanceof GqaError) return { code: error.code, message: error.message, hint: error.hint };
  return { stack: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}
