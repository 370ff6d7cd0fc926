import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { progress } from '../../src/run/progress.js';

/** A stream that remembers, and a clock that stands still until it is moved. */
function target({ tty = false, env = {} as NodeJS.ProcessEnv } = {}) {
  const stream = Object.assign(new PassThrough(), { isTTY: tty, columns: 200, cursorTo() {}, clearLine() {}, moveCursor() {} });
  let text = '';
  stream.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const clock = { ms: 0 };
  return { stream, env, lineEveryMs: 5000, now: () => clock.ms, clock, text: () => text };
}

test('away from a terminal there is one plain line every few seconds, with rate, loss, top-1 and the time left', async () => {
  const to = target();
  const bar = progress('epoch 1/5', 1800, to);
  for (let second = 1; second <= 11; second++) {
    to.clock.ms = second * 1000;
    bar.update(second * 30, { imagesPerSecond: 30, loss: 0.81234, top1: 0.712 });
  }
  bar.stop();
  bar.stop();
  await new Promise(setImmediate);
  assert.deepEqual(to.text().split('\n'), [
    'epoch 1/5 150/1800 · 30.0 images/s · loss 0.8123 · top-1 71.2 % · 0:55 left',
    'epoch 1/5 300/1800 · 30.0 images/s · loss 0.8123 · top-1 71.2 % · 0:50 left',
    'epoch 1/5 330/1800 · 30.0 images/s · loss 0.8123 · top-1 71.2 % · 0:49 left',
    '',
  ]);
});

test('a short job still leaves its last state as a line', async () => {
  const to = target();
  const bar = progress('evaluating', 10, to);
  bar.update(10, {});
  bar.stop();
  await new Promise(setImmediate);
  assert.equal(to.text(), 'evaluating 10/10 · 0:00\n');
});

for (const [name, env] of [
  ['CI', { CI: 'true' }],
  ['a dumb terminal', { TERM: 'dumb' }],
] as const) {
  test(`${name} gets lines even on a terminal`, async () => {
    const to = target({ tty: true, env });
    const bar = progress('x', 2, to);
    bar.update(2);
    bar.stop();
    await new Promise(setImmediate);
    assert.equal(to.text(), 'x 2/2 · 0:00\n');
  });
}

test('on a terminal there is a bar, without a colour code', async () => {
  const to = target({ tty: true, env: { NO_COLOR: '1' } });
  const bar = progress('epoch 1/5', 4, to);
  bar.update(2, { loss: 1.5 });
  bar.update(4, { loss: 1.25 });
  bar.stop();
  await new Promise(setImmediate);
  assert.match(to.text(), /epoch 1\/5 █+ 4\/4 · loss 1\.2500/);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape codes are what is looked for
  assert.doesNotMatch(to.text(), /\u001b\[[0-9;]*m/);
});

test('bytes are shown in MB with their rate; what was there before counts for neither rate nor time left', async () => {
  const to = target();
  const bar = progress('fetching x', 100e6, to, { unit: 'bytes', from: 50e6 });
  to.clock.ms = 5000;
  bar.update(60e6);
  bar.stop();
  await new Promise(setImmediate);
  assert.equal(to.text(), 'fetching x 60.0/100.0 MB · 2.00 MB/s · 0:20 left\n');
});
