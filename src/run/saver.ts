/**
 * Where checkpoints are written: by a thread beside training when memory has room for a copy, else at once. One at a
 * time; what went wrong with one is thrown by the next call.
 */
import { freemem } from 'node:os';
import { Worker } from 'node:worker_threads';
import { GqaError } from '../errors.js';
import { type KeptState, writeState } from './checkpoints.js';

export interface Saver {
  /**
   * @param state  what writes the state; it is called before this returns
   * @param beside whether training may go on before it is on the disk
   * @throws GqaError `io` also for the one before
   */
  save(
    kept: Omit<KeptState, 'state'>,
    state: (write: (bytes: Uint8Array) => void) => void,
    beside: boolean,
  ): Promise<void>;
  /** Waits for what is being written. @throws GqaError `io` */
  settle(): Promise<void>;
  /** Ends the thread. */
  close(): void;
}

/** A copy may take so much of the memory that is free. */
const SHARE_OF_MEMORY = 0.5;

interface Answer {
  failure?: string;
  hint?: string | null;
}

export function openSaver(): Saver {
  let thread: Worker | null = null;
  let pending: Promise<void> | null = null;
  const settle = async (): Promise<void> => {
    const waited = pending;
    try {
      await waited;
    } finally {
      if (pending === waited) pending = null;
    }
  };
  function written(kept: KeptState): Promise<void> {
    thread ??= new Worker(new URL('./checkpoint-thread.js', import.meta.url));
    const worker = thread;
    worker.ref();
    return new Promise<void>((resolve, reject) => {
      const done = (error: Error | null): void => {
        worker.off('message', answered);
        worker.off('error', failed);
        worker.unref();
        if (error === null) resolve();
        else reject(error);
      };
      const answered = ({ failure, hint }: Answer): void =>
        done(failure === undefined ? null : new GqaError('io', failure, hint == null ? {} : { hint }));
      const failed = (error: Error): void => {
        thread = null;
        done(error);
      };
      worker.once('message', answered);
      worker.once('error', failed);
      worker.postMessage(kept, [...new Set((kept.state as Uint8Array[]).map(({ buffer }) => buffer as ArrayBuffer))]);
    });
  }
  return {
    async save(kept, state, beside) {
      await settle();
      if (!beside || kept.bytes > SHARE_OF_MEMORY * freemem()) {
        writeState({ ...kept, state });
        return;
      }
      const pieces: Uint8Array[] = [];
      state((bytes) => void pieces.push(bytes.slice()));
      pending = written({ ...kept, state: pieces });
      pending.catch(() => {}); // told by the next call
    },
    settle,
    close() {
      void thread?.terminate();
      thread = null;
    },
  };
}
