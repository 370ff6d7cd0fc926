/**
 * Threads that make batches in shared memory. A job goes to the thread with the fewest waiting at once, so that threads
 * go on while the main one sits in a native call; that a batch is made is seen in its slot's state, without any
 * message. A thread that dies or hangs is replaced, and its batch begun anew, once; then it is an error.
 */
import { setImmediate, setTimeout } from 'node:timers/promises';
import { askToStop, IDLE, jobOf, positionOf, workingFor } from './at-work.js';
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
import {
  closedError,
  death,
  pending,
  pendingOf,
  startThread,
  type Thread,
  type ToWorker,
  thrown,
  type Waiting,
} from './thread.js';

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

/** Batches for each thread that are made ahead. */
const AHEAD = 3;
/** How often a batch that is waited for is looked after, in milliseconds. */
const LOOK_AFTER = 500;
/** Milliseconds that threads have to end by themselves. */
const PATIENCE = 10_000;
/** Rings kept for the next pass: training and evaluation take turns. */
const KEPT_RINGS = 2;

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
        terminate(thread, why);
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
    if (!thread.given.has(of)) {
      thread.given.add(of);
      thread.worker.postMessage({ open: of, pass, ring } satisfies ToWorker);
    }
    waiting.thread = thread;
    thread.waiting.set(id, waiting);
    thread.worker.postMessage({ id, of, slot, job } satisfies ToWorker);
  }

  /** Takes a thread out that has ended or hangs. Its jobs go to others; the one in work is begun anew once. */
  function terminate(thread: Thread, why: string): void {
    if (thread.dead) return;
    thread.dead = true;
    threads.splice(threads.indexOf(thread), 1);
    const position = positionOf(thread.state);
    const failing = position === IDLE ? [...thread.waiting.keys()][0] : jobOf(thread.state);
    for (const waiting of pending(thread)) {
      thread.waiting.delete(waiting.id);
      const again = waiting.id !== failing || ++waiting.deaths < 2;
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
  function terminateHanging(timeoutS: number): void {
    for (const thread of [...threads]) {
      if (workingFor(thread.state) < timeoutS * 1000) continue;
      void thread.worker.terminate();
      terminate(thread, `it took more than ${timeoutS} s`);
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
      if (stateOf(ring, slot) === PENDING) terminateHanging(pass.reading.timeoutS);
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
        for (const { worker, given } of threads)
          if (given.delete(of)) worker.postMessage({ end: of } satisfies ToWorker);
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
      // Asked to end by itself rather than terminated: an image may be inside sharp's own threads.
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
