import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { columnsIn } from '../../src/run/fit.js';
import { type Counted, clock as clockText, progress } from '../../src/run/progress.js';
import { printLine } from '../../src/run/status-line.js';
import { screen } from './screen.js';

/** What shall run every second, and a way to let it. */
function seconds() {
  const ticks = new Set<() => void>();
  const everySecond = (tick: () => void) => {
    ticks.add(tick);
    return () => void ticks.delete(tick);
  };
  return { everySecond, second: () => [...ticks].map((tick) => tick()) };
}

/** A stream that remembers, and a clock that stands still until it is moved. */
function file({ tty = false, env = {} as NodeJS.ProcessEnv } = {}) {
  const stream = Object.assign(new PassThrough(), { isTTY: tty, columns: 200 });
  let text = '';
  stream.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const clock = { ms: 0 };
  return { stream, env, lineEveryMs: () => 5000, now: () => clock.ms, clock, text: () => text, ...seconds() };
}

function terminal(columns: number) {
  const shown = screen(columns);
  const clock = { ms: 0 };
  return { ...shown, env: {}, lineEveryMs: () => 5000, now: () => clock.ms, clock, ...seconds() };
}

/** Half of an epoch, a step a second, as the terminal shows it then. */
function halfway(columns: number, label = 'epoch 12/100', counted: Counted = { after: () => 4000 }): string {
  const to = terminal(columns);
  const bar = progress(label, 45_000, counted, to);
  for (let second = 1; second <= 10; second++) {
    to.clock.ms = second * 1000;
    bar.update(second * 2250, { imagesPerSecond: 2250, loss: 0.81234, top1: 0.712 });
  }
  const text = to.text();
  assert.equal(to.wrapped(), 0, `${columns} columns: ${text}`);
  bar.stop();
  assert.equal(to.text(), '', 'nothing of a bar stays');
  return text;
}

test('away from a terminal there is one plain line every few seconds, with rate, loss, top-1 and the time left; none stays at the end', async () => {
  const to = file();
  const bar = progress('epoch 1/5', 1800, { after: (each) => each * 1000 }, to);
  for (let second = 1; second <= 11; second++) {
    to.clock.ms = second * 1000;
    bar.update(second * 30, { imagesPerSecond: 30, loss: 0.81234, top1: 0.712 });
  }
  bar.stop();
  bar.stop();
  await new Promise(setImmediate);
  assert.deepEqual(to.text().split('\n'), [
    'epoch 1/5 150/1800 · 30.0 images/s · loss 0.8123 · top-1 71.2 % · 0:55 left · run 1:28 left',
    'epoch 1/5 300/1800 · 30.0 images/s · loss 0.8123 · top-1 71.2 % · 0:50 left · run 1:23 left',
    '',
  ]);
});

test('a job that nothing else tells of leaves its last state as a line', async () => {
  const to = file();
  const bar = progress('fetching x', 10, { stays: true }, to);
  bar.update(10, {});
  bar.stop();
  await new Promise(setImmediate);
  assert.equal(to.text(), 'fetching x 10/10 · 0:00\n');
  const on = terminal(60);
  const drawn = progress('fetching x', 10, { stays: true }, on);
  drawn.update(10);
  drawn.stop();
  assert.equal(on.text(), 'fetching x 10/10 · 0:00');
});

for (const [name, env] of [
  ['CI', { CI: 'true' }],
  ['a dumb terminal', { TERM: 'dumb' }],
] as const) {
  test(`${name} gets lines even on a terminal`, async () => {
    const to = file({ tty: true, env });
    const bar = progress('x', 2, {}, to);
    to.clock.ms = 5000;
    bar.update(1);
    bar.stop();
    await new Promise(setImmediate);
    assert.equal(to.text(), 'x 1/2 · 0:05\n');
  });
}

test('on a terminal there is a bar, without a colour code, and it vanishes', async () => {
  const to = file({ tty: true, env: { NO_COLOR: '1' } });
  const bar = progress('epoch 1/5', 4, {}, to);
  to.clock.ms = 200;
  bar.update(2, { loss: 1.5 });
  to.clock.ms = 400;
  bar.update(4, { loss: 1.25 });
  bar.stop();
  await new Promise(setImmediate);
  assert.match(to.text(), /epoch 1\/5 █+░+ 2\/4 · loss 1\.5000/);
  assert.match(to.text(), /epoch 1\/5 █+ 4\/4 · loss 1\.2500/);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape codes are what is looked for
  assert.doesNotMatch(to.text(), /\u001b\[[0-9;]*m/);
});

test('no bar is wider than the terminal, whatever its width; epoch, top-1 and the time left are there from 40 columns on', () => {
  for (let columns = 20; columns <= 200; columns++) {
    for (const label of [
      'epoch 3/10',
      'epoch 12/100',
      'epoch 100/1000 validation',
      'test, best epoch (12)',
      '検証 エポック 3/10',
    ]) {
      const line = halfway(columns, label);
      assert.ok(columnsIn(line) < columns, `${columns} columns: ${line}`);
      if (columns >= 40)
        assert.match(
          line,
          /^(epoch \d+\/\d+|test|検証).* · (top-1 )?71\.2 % · 0:10( left)?( |$)/,
          `${columns} columns`,
        );
    }
  }
});

test('what a narrow terminal leaves out, in this order: images/s, loss, the bar, the counts, the time of the run, words', () => {
  assert.deepEqual(
    [120, 105, 90, 75, 65, 50, 39, 36].map((columns) => halfway(columns)),
    [
      `epoch 12/100 ${'█'.repeat(9)}${'░'.repeat(9)} 22500/45000 · 2250 images/s · loss 0.8123 · top-1 71.2 % · 0:10 left · run 1:06:50 left`,
      `epoch 12/100 ${'█'.repeat(10)}${'░'.repeat(9)} 22500/45000 · loss 0.8123 · top-1 71.2 % · 0:10 left · run 1:06:50 left`,
      `epoch 12/100 ${'█'.repeat(9)}${'░'.repeat(9)} 22500/45000 · top-1 71.2 % · 0:10 left · run 1:06:50 left`,
      'epoch 12/100 22500/45000 · top-1 71.2 % · 0:10 left · run 1:06:50 left',
      'epoch 12/100 · top-1 71.2 % · 0:10 left · run 1:06:50 left',
      'epoch 12/100 · top-1 71.2 % · 0:10 left',
      'epoch 12/100 · 71.2 % · 0:10 left',
      'epoch 12/100 · 71.2 % · 0:10 left',
    ],
  );
});

test('a window that becomes narrower or wider meanwhile: the next drawing has its width, and nothing of the former one stays', () => {
  const to = terminal(120);
  const bar = progress('epoch 1/5', 1800, {}, to);
  for (const [second, columns] of [120, 120, 45, 80, 200].entries()) {
    to.clock.ms = 1000 * second;
    bar.update(10 * second + 10, { top1: 0.5, loss: 1 });
    to.stream.columns = columns;
    to.stream.emit('resize');
    assert.equal(to.rows().length, 1, to.text());
    assert.ok(to.text().length < columns && to.text().length >= Math.min(columns, 60) / 2, to.text());
  }
  bar.stop();
  assert.equal(to.stream.listenerCount('resize'), 0);
});

test('the clock shows before the first report, and goes on between reports', () => {
  const to = terminal(60);
  const bar = progress('epoch 1/5', 100, {}, to);
  const wait = (seconds: number): void => {
    for (let second = 0; second < seconds; second++) {
      to.clock.ms += 1000;
      to.second();
    }
  };
  assert.match(to.text(), / 0\/100 · 0:00$/);
  wait(7);
  assert.match(to.text(), / 0\/100 · 0:07$/);
  wait(3);
  to.clock.ms += 200;
  bar.tick(10); // what came before the first report (tracing, threads) is no part of the pace
  assert.match(to.text(), / 10\/100 · 0:10$/);
  wait(1);
  to.clock.ms += 1000;
  bar.tick(20);
  assert.equal(bar.secondsEach(), 0.2);
  assert.match(to.text(), / 20\/100 · 0:16 left$/);
  wait(1);
  assert.match(to.text(), / 20\/100 · 0:15 left$/);
  wait(5); // the next report is late: nobody knows
  assert.match(to.text(), / 20\/100 · 0:14 left$/);
  bar.stop();
  wait(2);
  assert.equal(to.text(), '');
});

test('away from a terminal a job that reports nothing still shows its clock', async () => {
  const to = file();
  const bar = progress('epoch 1/5', 100, {}, to);
  for (to.clock.ms = 1000; to.clock.ms <= 6000; to.clock.ms += 1000) to.second();
  bar.stop();
  await new Promise(setImmediate);
  assert.equal(to.text(), 'epoch 1/5 0/100 · 0:05\n');
});

test('figures stay until there are others: steps without figures change the count alone', () => {
  const to = terminal(100);
  const bar = progress('epoch 1/5', 100, {}, to);
  to.clock.ms = 1000;
  bar.update(10, { loss: 1.5, top1: 0.25 });
  to.clock.ms = 2000;
  bar.tick(20);
  assert.match(to.text(), / 20\/100 · loss 1\.5000 · top-1 25\.0 % · 0:08 left$/);
  bar.stop();
});

test('a line that is said while a bar is drawn stands above it', () => {
  const to = terminal(60);
  const bar = progress('epoch 1/5', 100, {}, to);
  printLine(to.stream, 'SIGINT: stopping');
  to.clock.ms = 1000;
  bar.update(50);
  assert.match(to.text(), /^SIGINT: stopping\nepoch 1\/5 █+░+ 50\/100 · 0:01$/);
  bar.stop();
  assert.equal(to.text(), 'SIGINT: stopping');
});

test('a total of nothing is a full bar', () => {
  const to = terminal(60);
  const bar = progress('x', 0, {}, to);
  assert.match(to.text(), /^x █+ 0\/0 · 0:00$/);
  bar.stop();
});

test('bytes are shown in MB with their rate; what was there before counts for neither rate nor time left', async () => {
  const to = file();
  const bar = progress('fetching x', 100e6, { unit: 'bytes', from: 50e6 }, to);
  bar.update(50e6);
  to.clock.ms = 5000;
  bar.update(60e6);
  bar.stop();
  await new Promise(setImmediate);
  assert.equal(to.text(), 'fetching x 60.0/100.0 MB · 2.00 MB/s · 0:20 left\n');
});

test('times', () => {
  assert.deepEqual([0.4, 59.4, 59.6, 750, 3600, 3775].map(clockText), [
    '0:00',
    '0:59',
    '1:00',
    '12:30',
    '1:00:00',
    '1:02:55',
  ]);
});
