import assert from 'node:assert/strict';
import { test } from 'node:test';
import { drawLine, eraseLine, printLine } from '../../src/run/status-line.js';
import { screen } from './screen.js';

test('a line that is said while one is drawn stays above it, neither writes over the other', () => {
  const { stream, text } = screen(40);
  drawLine(stream, 'epoch 1/5 with a long tail');
  printLine(stream, 'SIGINT: stopping');
  assert.equal(text(), 'SIGINT: stopping\nepoch 1/5 with a long tail');
  drawLine(stream, 'epoch 2/5');
  printLine(stream, 'two\nlines');
  assert.equal(text(), 'SIGINT: stopping\ntwo\nlines\nepoch 2/5');
  eraseLine(stream);
  eraseLine(stream);
  assert.equal(text(), 'SIGINT: stopping\ntwo\nlines');
  printLine(stream, 'without a bar');
  assert.equal(text(), 'SIGINT: stopping\ntwo\nlines\nwithout a bar');
});

test('what else writes to the terminal begins at the beginning of the line', () => {
  const { stream, text } = screen(80);
  drawLine(stream, 'epoch 1/5');
  stream.write('I0000 00:00:1 a native library speaks\n');
  drawLine(stream, 'epoch 1/5 1/2');
  assert.equal(text(), 'I0000 00:00:1 a native library speaks\nepoch 1/5 1/2');
  eraseLine(stream);
});

test('a terminal that becomes narrower keeps nothing of the line that it broke in two', () => {
  const { stream, text } = screen(60);
  drawLine(stream, 'x'.repeat(59));
  stream.columns = 40;
  drawLine(stream, 'y'.repeat(39));
  assert.equal(text(), 'y'.repeat(39));
  eraseLine(stream);
  assert.equal(text(), '');
});

test('a process that ends while a line is drawn lets it stand, and the next prompt stands below it', () => {
  const { stream, text } = screen(60);
  const before = process.listenerCount('exit');
  drawLine(stream, 'epoch 1/5');
  drawLine(stream, 'epoch 2/5');
  const [leave, ...more] = process.listeners('exit').slice(before);
  assert.equal(more.length, 0);
  leave?.call(process, 130);
  stream.write('$ ');
  assert.equal(text(), 'epoch 2/5\n$');
  eraseLine(stream);
  assert.equal(process.listenerCount('exit'), before);
});
