/**
 * Kills training as `kill -9` does, at random moments and at every change on the disk, goes on each time, and compares
 * everything with a run that nobody stopped, byte for byte. `--each N`: at every N-th change (1: at all of them).
 *
 *   node bench/kills.mjs [--random 100] [--each N] [--seed 1] [--set key=value …]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { assertSame, changesOf, finished, killedAfter, killedAt } from '../dist/test/kills.js';

const { values } = parseArgs({
  options: {
    random: { type: 'string', default: '0' },
    each: { type: 'string' },
    seed: { type: 'string', default: '1' },
    set: { type: 'string', multiple: true, default: [] },
  },
});
const folder = mkdtempSync(path.join(os.tmpdir(), 'gqa-kills-'));
const argsOf = (name) => [
  ...['train', '--config', 'configs/smoke.yaml', '--runs-dir', folder, '--run-name', name],
  ...['train.epochs=4', 'train.steps=null', 'data.limit=80', 'train.log_every=3', 'train.checkpoint_every={steps: 2}', ...values.set]
    .flatMap((set) => ['--set', set]),
];
const runOf = (name) => path.join(folder, 'smoke', name);
const { main, thread } = changesOf(argsOf('reference'), folder);
console.log(`a run that nobody stops: ${main} changes on the disk, ${thread} by the thread that writes checkpoints`);
const begun = performance.now();
finished(argsOf('timed'));
const whole = performance.now() - begun;
assertSame(runOf('timed'), runOf('reference'), 'not stopped');

let state = Number(values.seed) >>> 0;
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
};
let kills = 0;
for (let run = 0; kills < Number(values.random); run++) {
  const name = `random-${run}`;
  let here = 0;
  while (here < 10 && kills < Number(values.random) && (await killedAfter(argsOf(name), whole * (0.2 + 0.8 * random())))) {
    here++;
    kills++;
  }
  finished(argsOf(name));
  assertSame(runOf(name), runOf('reference'), `${name}, killed ${here} times`);
  rmSync(runOf(name), { recursive: true });
}
console.log(`${kills} kills at random moments: no run lost, all equal`);
if (values.each !== undefined) {
  const step = Number(values.each);
  const points = [...range('main', main), ...range('thread', thread)].filter((_, i) => i % step === 0);
  let killed = 0;
  for (const point of points) {
    const name = point.replace(' ', '-');
    if (killedAt(argsOf(name), point)) killed++;
    finished(argsOf(name));
    assertSame(runOf(name), runOf('reference'), `killed at ${point}`);
    rmSync(runOf(name), { recursive: true });
  }
  console.log(`${killed} of ${points.length} changes on the disk met by a kill: no run lost, all equal`);
}
rmSync(folder, { recursive: true });

function range(where, count) {
  return Array.from({ length: count }, (_, i) => `${where} ${i + 1}`);
}
