/** How the first signal asks and the second ends: alone, without a command around it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { GqaError } from '../../src/errors.js';
import { interruption, SIGNALS, stopBy, wasInterrupted } from '../../src/run/interrupt.js';

const interrupted = (error: unknown): boolean =>
  error instanceof GqaError && error.code === 'sigterm' && error.message === 'stopped by SIGTERM';

async function* numbers(): AsyncGenerator<number> {
  for (let i = 0; ; i++) yield i;
}

test('nothing is stopped until it is asked to, and then before the next item and at the next look', async () => {
  const controller = new AbortController();
  const stop = stopBy(controller.signal);
  await stop.check();
  const seen: number[] = [];
  await assert.rejects(async () => {
    for await (const i of stop.each(numbers())) {
      seen.push(i);
      if (i === 2) controller.abort('SIGTERM');
    }
  }, interrupted);
  assert.deepEqual(seen, [0, 1, 2]);
  await assert.rejects(stop.check(), interrupted);
});

test('what is waited for is left at once, whether it is one thing or an item that never comes', async () => {
  for (const wait of [
    (stop: ReturnType<typeof stopBy>) => stop.during(new Promise(() => {})),
    async (stop: ReturnType<typeof stopBy>) => {
      const never = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<IteratorResult<number>>(() => {}) }) };
      for await (const _ of stop.each(never)) assert.fail();
    },
  ]) {
    const controller = new AbortController();
    const waiting = wait(stopBy(controller.signal));
    setImmediate(() => controller.abort('SIGTERM'));
    await assert.rejects(waiting, interrupted);
  }
});

test('a loop that is left early ends what it took its items from; what fails is reported as it is', async () => {
  let ended = false;
  async function* items(): AsyncGenerator<number> {
    try {
      yield* numbers();
    } finally {
      ended = true;
    }
  }
  const stop = stopBy(new AbortController().signal);
  for await (const i of stop.each(items())) if (i === 1) break;
  assert.equal(ended, true);
  await assert.rejects(stop.during(Promise.reject(new Error('its own'))), /its own/);
});

test('every signal has its exit code and its words', () => {
  for (const [signal, name] of Object.entries(SIGNALS)) {
    const controller = new AbortController();
    controller.abort(signal);
    const { code, message, hint } = interruption(controller.signal, ' after step 3', 'Go on.');
    assert.deepEqual(
      { code, message, hint },
      { code: name, message: `stopped by ${signal} after step 3`, hint: 'Go on.' },
    );
  }
  assert.deepEqual(
    [129, 130, 143, 0, 6].map((code) => wasInterrupted(code)),
    [true, true, true, false, false],
  );
  assert.deepEqual([wasInterrupted(null, 'SIGTERM'), wasInterrupted(null, 'SIGKILL')], [true, false]);
});

/** A process that listens and never looks; `lines` come from it. */
function deaf(): {
  kill(signal: NodeJS.Signals): void;
  onText(listener: (text: string) => void): void;
  ended: Promise<[number | null, string | null]>;
} {
  const module = new URL('../../src/run/interrupt.js', import.meta.url).href;
  const script = `import { listenForSignals } from ${JSON.stringify(module)};
    const stop = listenForSignals((line) => console.log(line));
    stop.signal.addEventListener('abort', () => console.log('asked'));
    setInterval(() => {}, 1000); console.log('ready');`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  return {
    kill: (signal) => void child.kill(signal),
    onText(listener) {
      child.stdout.setEncoding('utf8').on('data', (part: string) => {
        text += part;
        listener(text);
      });
    },
    ended: new Promise((resolve) => child.on('close', (code, signal) => resolve([code, signal]))),
  };
}

test('the first signal only asks, also when it comes twice at once (timeout and npm send it so); when it takes a while that is said, and the next one ends the process', {
  skip: process.platform === 'win32' && 'Windows has no such signals',
}, async () => {
  const { kill, onText, ended } = deaf();
  let all = '';
  let [first, second] = [true, true];
  onText((text) => {
    all = text;
    if (first && text.includes('ready')) {
      first = false;
      kill('SIGTERM');
      kill('SIGHUP');
    }
    if (second && text.includes('again')) {
      second = false;
      kill('SIGINT');
    }
  });
  assert.deepEqual(await ended, [130, null]);
  // which of two pending signals comes first is the kernel's choice
  assert.match(all, /^ready\nasked\nSIG(TERM|HUP): stopping; again to stop at once\n$/);
});
