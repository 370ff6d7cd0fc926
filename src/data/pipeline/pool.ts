/**
 * Threads that make batches in shared memory. A job goes to the thread with the fewest waiting at once, so that threads
 * go on while the main one sits in a native call; that a batch is made is seen in its slot's state, without any
 * message. A thread that dies or hangs is replaced, and its batch begun anew, once; then it is an error.
 */
import { setImmediate, setTimeout } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { type ExitCodeName, GqaError } from '../../errors.js';
import { askToStop, IDLE, jobOf, newWorkState, positionOf, type WorkState, workingFor } from './at-work.js';
import { type BatchJob, type Flaw, makeBatch, type Pass } from './preprocess.js';
import {
  abandon,
  createRing,
  FAILED,
  MADE,
  PENDING,
  type Ring,
  reuse,
  setState,
  slotPixels,
  slotsFor,
  stateOf,
  whilePending,
} from './ring.js';

/** A batch under way. */
export interface Making {
  /**
   * Its bytes, [batchSize, height, width, 3], and the images left out or damaged. The bytes stay until `release`.
   * Errors: exit 3, naming file or image.
   */
  made(): Promise<{ pixels: Uint8Array; flaws: Flaw[] }>;
  /** The slot may be used for another batch. */
  release(): void;
}

/** The batches of one pass over a split. */
export interface Batches {
  /** Jobs worth having under way at once. */
  readonly ahead: number;
  /** At most `ahead` + 1 that are not released. */
  start(job: BatchJob): Making;
  /** What is still under way is dropped. */
  end(): void;
}

export interface Pool {
  open(pass: Pass): Batches;
  /** Ends the threads; what is under way is abandoned. */
  close(): Promise<void>;
}

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

/** Batches for each thread that are made ahead. */
const AHEAD = 3;
/**
 * Of a thread's own heap (images lie outside it), in 2²⁰ bytes: a thread that exceeds it ends alone, not the process.
 */
const HEAP_MB = 512;
/** How often a batch that is waited for is looked after, in milliseconds. */
const LOOK_AFTER = 500;
/** Milliseconds that threads have to end by themselves. */
const PATIENCE = 10_000;
/** Rings kept for the next pass: training and evaluation take turns. */
const KEPT_RINGS = 2;

const closedError = (): Error => new GqaError('data', 'the data pipeline was closed while a batch was made');

/** The pool of no threads: a batch is made when it is asked for, on the main thread. */
export function mainThreadPool(): Pool {
  return {
    open(pass) {
      const pixels = new Uint8Array(new SharedArrayBuffer(batchBytes(pass)));
      return {
        ahead: 1,
        start: (job) => ({ made: async () => ({ flaws: await makeBatch(pass, job, pixels), pixels }), release() {} }),
        end() {},
      };
    },
    close: async () => {},
  };
}

const batchBytes = ({ batchSize, height, width }: Pass): number => batchSize * height * width * 3;

/** A job until its slot's state has changed. */
interface Waiting {
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

interface Thread {
  worker: Worker;
  state: WorkState;
  /** By id, the oldest first. */
  waiting: Map<number, Waiting>;
  /** Passes it has been told of. */
  told: Set<number>;
  dead: boolean;
  exited: Promise<void>;
}

/**
 * @param count  threads, 1 or more; each starts with the first job it gets
 * @param script the thread's module (another one in tests)
 */
export function threadPool(count: number, script: URL = new URL('./worker.js', import.meta.url)): Pool {
  const threads: Thread[] = [];
  const rings: Ring[] = [];
  let lastId = 0;
  let closed = false;

  function leastBusy(): Thread {
    const idle = threads.find((thread) => pendingOf(thread) === 0);
    if (idle !== undefined) return idle;
    if (threads.length < count) {
      const thread = startThread(script, (why) => {
        bury(thread, why);
        sendUnanswered(thread);
      });
      threads.push(thread);
      return thread;
    }
    return threads.reduce((least, other) => (pendingOf(other) < pendingOf(least) ? other : least));
  }

  function send(waiting: Waiting): void {
    const thread = leastBusy();
    const { id, of, pass, ring, slot, job } = waiting;
    if (!thread.told.has(of)) {
      thread.told.add(of);
      thread.worker.postMessage({ open: of, pass, ring } satisfies ToWorker);
    }
    waiting.thread = thread;
    thread.waiting.set(id, waiting);
    thread.worker.postMessage({ id, of, slot, job } satisfies ToWorker);
  }

  /** Takes a thread out that has ended or hangs. Its jobs go to others; the one in work is begun anew once. */
  function bury(thread: Thread, why: string): void {
    if (thread.dead) return;
    thread.dead = true;
    threads.splice(threads.indexOf(thread), 1);
    const position = positionOf(thread.state);
    const guilty = position === IDLE ? [...thread.waiting.keys()][0] : jobOf(thread.state);
    for (const waiting of pending(thread)) {
      thread.waiting.delete(waiting.id);
      const again = waiting.id !== guilty || ++waiting.deaths < 2;
      if (again && !closed) {
        send(waiting);
        continue;
      }
      waiting.lost = closed ? closedError() : death(waiting, position, why);
      setState(waiting.ring, waiting.slot, FAILED);
    }
  }

  /** Batches of a thread that has ended before it could say what is wrong with them are made again. */
  function sendUnanswered(thread: Thread): void {
    for (const waiting of thread.waiting.values()) {
      if (waiting.answer !== null || stateOf(waiting.ring, waiting.slot) === MADE) continue;
      thread.waiting.delete(waiting.id);
      setState(waiting.ring, waiting.slot, PENDING);
      send(waiting);
    }
  }

  /** A thread may hang over any batch, not only over the one that is waited for: all are behind it. */
  function buryHanging(timeoutS: number): void {
    for (const thread of [...threads]) {
      if (workingFor(thread.state) < timeoutS * 1000) continue;
      void thread.worker.terminate();
      bury(thread, `it took more than ${timeoutS} s`);
    }
  }

  /** Until the slot is no longer pending, and what its state cannot say is known. */
  async function finished(waiting: Waiting): Promise<void> {
    const { ring, slot, pass } = waiting;
    const unfinished = (): boolean =>
      stateOf(ring, slot) === PENDING ||
      (stateOf(ring, slot) !== MADE && waiting.answer === null && waiting.lost === null);
    while (unfinished()) {
      await whilePending(ring, slot, LOOK_AFTER);
      if (stateOf(ring, slot) === PENDING) buryHanging(pass.reading.timeoutS);
      else if (unfinished()) await setImmediate(); // the message is on its way
    }
    waiting.thread?.waiting.delete(waiting.id);
  }

  async function made(waiting: Waiting): Promise<{ pixels: Uint8Array; flaws: Flaw[] }> {
    await finished(waiting);
    const { ring, slot, lost, answer } = waiting;
    if (lost !== null) throw lost;
    if (answer !== null && 'failure' in answer) throw thrown(answer.failure);
    return { pixels: slotPixels(ring, slot), flaws: answer?.flaws ?? [] };
  }

  function open(pass: Pass): Batches {
    const of = ++lastId;
    const slotBytes = batchBytes(pass);
    const slots = slotsFor(AHEAD * count + 1, slotBytes);
    const kept = rings.findIndex((ring) => ring.slots === slots && ring.slotBytes === slotBytes);
    const ring = kept >= 0 ? (rings.splice(kept, 1)[0] as Ring) : createRing(slots, slotBytes);
    const free = Array.from({ length: slots }, (_, slot) => slot);
    const underWay = new Set<Waiting>();
    let ended = false;
    return {
      ahead: slots - 1,
      start(job) {
        const slot = free.pop();
        if (closed || ended || slot === undefined)
          throw closed ? closedError() : new Error('a batch too many was asked for');
        setState(ring, slot, PENDING);
        const id = ++lastId;
        const waiting: Waiting = { id, of, pass, ring, slot, job, thread: null, deaths: 0, answer: null, lost: null };
        underWay.add(waiting);
        send(waiting);
        return {
          made: () => made(waiting),
          release() {
            if (underWay.delete(waiting)) free.push(slot);
          },
        };
      },
      end() {
        if (ended) return;
        ended = true;
        abandon(ring);
        for (const { worker, told } of threads) if (told.delete(of)) worker.postMessage({ end: of } satisfies ToWorker);
        // The memory may be given to another pass when no thread writes in it any more.
        void Promise.all([...underWay].map(finished)).then(() => {
          reuse(ring);
          rings.push(ring);
          if (rings.length > KEPT_RINGS) rings.shift();
        });
      },
    };
  }

  async function close(): Promise<void> {
    closed = true;
    for (const { worker, state } of threads) {
      // Asked to end by itself rather than terminated: a image may be inside sharp's own threads.
      askToStop(state);
      worker.postMessage('close' satisfies ToWorker);
    }
    const ended = threads.map(({ exited }) => exited);
    const patience = new AbortController();
    const late = setTimeout(PATIENCE, null, { signal: patience.signal }).catch(() => null);
    if ((await Promise.race([Promise.all(ended), late])) === null)
      for (const { worker } of threads) void worker.terminate();
    patience.abort();
  }

  return { open, close };
}

const pending = ({ waiting }: Thread): Waiting[] =>
  [...waiting.values()].filter(({ ring, slot }) => stateOf(ring, slot) === PENDING);

const pendingOf = (thread: Thread): number => pending(thread).length;

function startThread(script: URL, ended: (why: string) => void): Thread {
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
  return { worker, state, waiting, told: new Set(), dead: false, exited };
}

function thrown(failure: Extract<WorkerAnswer, { failure: unknown }>['failure']): Error {
  if ('code' in failure)
    return new GqaError(failure.code, failure.message, failure.hint === undefined ? {} : { hint: failure.hint });
  const error = new Error('unexpected error in a data worker');
  error.stack = failure.stack;
  return error;
}

/** Two threads have ended by themselves over one batch: named with the image that the second was working on. */
function death({ job, deaths }: Waiting, position: number, why: string): GqaError {
  return new GqaError(
    'data',
    `${deaths} data workers, one after the other, ended (${why}) while working on ${imageName(job, position)}`,
    {
      hint: 'Replace the image or take it out of the data set; data.timeout_s and data.max_pixels bound what a image may take.',
    },
  );
}

function imageName({ indices, encoded }: BatchJob, position: number): string {
  if (position === IDLE) return 'no image yet';
  const names = encoded === null ? [] : encoded.kind === 'files' ? encoded.paths : encoded.names;
  return names[position] ?? `image ${indices[position] ?? 0} of its split`;
}
