/** Writes a run's checkpoint while training goes on: a message in, one out. */
import { parentPort } from 'node:worker_threads';
import { GqaError } from '../errors.js';
import { type KeptState, writeState } from './checkpoints.js';

parentPort?.on('message', (kept: KeptState) => {
  try {
    writeState(kept);
    parentPort?.postMessage({});
  } catch (error) {
    const { message } = error as Error;
    parentPort?.postMessage({ failure: message, hint: error instanceof GqaError ? (error.hint ?? null) : null });
  }
});
