/**
 * What a thread of the pool is at, in four words of shared memory that the thread writes and the main thread reads at
 * any moment. Whether a thread hangs hangs on one of the words alone: two that are read one after the other may tell of
 * two images.
 */

export type WorkState = Int32Array<SharedArrayBuffer>;

/** Position in the batch of the image in work, or IDLE. */
const POSITION = 0;
/** When that image was begun, as `now` counts, or RESTING. */
const SINCE = 1;
/** The job in work, or the last one. */
const JOB = 2;
/** 1 when the thread shall stop; the one word that the main thread writes. */
const STOP = 3;

export const IDLE = -1;
const RESTING = 0;

/** Milliseconds on a clock that all threads have in common; the low 32 bits. */
export const now = (): number => Number(process.hrtime.bigint() / 1_000_000n) | 0;

export function newWorkState(): WorkState {
  const state = new Int32Array(new SharedArrayBuffer(4 * Int32Array.BYTES_PER_ELEMENT));
  state[POSITION] = IDLE;
  return state;
}

export const beginJob = (state: WorkState, id: number): void => void Atomics.store(state, JOB, id);

/** @param at as `now` counts */
export function beginImage(state: WorkState, position: number, at = now()): void {
  Atomics.store(state, POSITION, position);
  Atomics.store(state, SINCE, at === RESTING ? 1 : at);
}

export function rest(state: WorkState): void {
  Atomics.store(state, SINCE, RESTING);
  Atomics.store(state, POSITION, IDLE);
}

export const jobOf = (state: WorkState): number => Atomics.load(state, JOB);
export const positionOf = (state: WorkState): number => Atomics.load(state, POSITION);

/** Milliseconds for which the image in work has been so; 0 when there is none. */
export function workingFor(state: WorkState, at = now()): number {
  const since = Atomics.load(state, SINCE);
  return since === RESTING ? 0 : (at - since) | 0;
}

export const askToStop = (state: WorkState): void => void Atomics.store(state, STOP, 1);
export const isAskedToStop = (state: WorkState): boolean => Atomics.load(state, STOP) === 1;
