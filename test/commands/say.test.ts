import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listen, say, sayShorter } from '../../src/commands/say.js';

test('whoever listens gets the whole of every line, however narrow the terminal is; stderr gets what fits', () => {
  const written: string[] = [];
  const { write } = process.stderr;
  process.stderr.write = ((text: string) => written.push(text) > 0) as typeof write;
  const heard: string[] = [];
  try {
    say('before anybody listens');
    const release = listen((line) => heard.push(line));
    say('a notice');
    sayShorter('epoch 1/5 · train loss 0.7 · validation loss 0.8', 'epoch 1/5 · 77.0 %');
    release();
    say('afterwards');
  } finally {
    process.stderr.write = write;
  }
  assert.deepEqual(heard, ['a notice', 'epoch 1/5 · train loss 0.7 · validation loss 0.8']);
  assert.deepEqual(written, ['before anybody listens\n', 'a notice\n', 'epoch 1/5 · 77.0 %\n', 'afterwards\n']);
});
