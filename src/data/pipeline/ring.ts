/**
 * Batches that lie in shared memory, and how threads tell each other that one is made: a ring of slots, each with a
 * word of state that is waited on with Atomics. Bytes are written by the thread that makes them and read where they
 * lie.
 */
import { totalmem } from 'node:os';

/** State of a slot. */
export const PENDING = 0;
export const MADE = 1;
/** Made, with images left out or damaged; a message tells which. */
export const MADE_WITH_FLAWS = 2;
/** Not made; a message tells why. */
export const FAILED = 3;

export interface Ring {
  slots: number;
  slotBytes: number;
  /** The slots one after the other, each beginning at a multiple of 64 bytes. */
  bytes: SharedArrayBuffer;
  /** [slots] states, then 1 when nobody wants the batches any more. */
  states: Int32Array<SharedArrayBuffer>;
}

/**
 * What one ring may take, in bytes: as much as 8 threads need for batches of 256 at 224 × 224; several may be there at
 * once.
 */
const MOST_BYTES = 2 ** 30;
/** Of the machine's memory, if that is less. */
const PART_OF_MEMORY = 1 / 8;

/**
 * Slots of a ring for which `wanted` would be best: fewer where they would take too much memory, but 2, so that one
 * batch is made while another is used.
 */
export function slotsFor(wanted: number, slotBytes: number, memory: number = machineMemory()): number {
  const most = Math.min(MOST_BYTES, memory * PART_OF_MEMORY);
  return Math.max(2, Math.min(wanted, Math.floor(most / stride(slotBytes))));
}

/** In bytes; of a container, what it may take. */
function machineMemory(): number {
  const allowed = process.constrainedMemory?.() ?? 0;
  return allowed > 0 ? Math.min(allowed, totalmem()) : totalmem();
}

const stride = (slotBytes: number): number => Math.ceil(slotBytes / 64) * 64;

export function createRing(slots: number, slotBytes: number): Ring {
  return {
    slots,
    slotBytes,
    bytes: new SharedArrayBuffer(slots * stride(slotBytes)),
    states: new Int32Array(new SharedArrayBuffer((slots + 1) * Int32Array.BYTES_PER_ELEMENT)),
  };
}

export function slotPixels({ bytes, slotBytes }: Ring, slot: number): Uint8Array {
  return new Uint8Array(bytes, slot * stride(slotBytes), slotBytes);
}

export const stateOf = ({ states }: Ring, slot: number): number => Atomics.load(states, slot);

/** Sets a slot's state and wakes who waits for it. */
export function setState({ states }: Ring, slot: number, state: number): void {
  Atomics.store(states, slot, state);
  Atomics.notify(states, slot);
}

/** Makes threads drop what they are at. */
export const abandon = ({ states, slots }: Ring): void => void Atomics.store(states, slots, 1);
export const reuse = ({ states, slots }: Ring): void => void Atomics.store(states, slots, 0);
export const isAbandoned = ({ states, slots }: Ring): boolean => Atomics.load(states, slots) === 1;

/** Waits, without holding up the event loop, until the slot is no longer pending or the time is over. */
export async function whilePending({ states }: Ring, slot: number, milliseconds: number): Promise<void> {
  await Atomics.waitAsync(states, slot, PENDING, milliseconds).value;
}
