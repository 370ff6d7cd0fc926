/** A run that is stopped in the middle of an epoch goes on from its state, which is plain JSON, to the same figures. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../src/config/load.js';
import type { Config } from '../../src/config/schema.js';
import { openDataset } from '../../src/data/open.js';
import { openPipeline } from '../../src/data/pipeline/pipeline.js';
import { startBackend } from '../../src/native/backend.js';
import { isInterruption, stopBy } from '../../src/run/interrupt.js';
import type { EpochResult } from '../../src/run/results.js';
import { proceed, type Running, type Watch } from '../../src/train/experiment.js';
import { buildModel } from '../../src/train/model.js';
import { splitParts } from '../../src/train/parts.js';
import { planOf } from '../../src/train/plan.js';
import { readyTrainer } from '../../src/train/ready.js';
import { runClock } from '../../src/train/run-clock.js';
import { freshState, type RunState } from '../../src/train/run-state.js';
import { temporaryFolder } from '../cli-run.js';

await startBackend('wasm');

const SETS = [
  'train.epochs=3',
  'train.steps=null',
  'data.limit=60',
  'model.variant=kdgqa',
  'model.calibration_images=16',
];

const quiet = () => ({ tick() {}, update() {}, stop() {}, secondsEach: () => null });

/** A run of the smoke config, ready to proceed; `rows` are what it wrote of each epoch, without times. */
async function ready(config: Config, folder: string, signal: AbortSignal, afterStep: (step: number) => void) {
  const dataset = await openDataset(config.data, undefined, config.data);
  const parts = splitParts(
    { ...config, data: { ...config.data, limit: { train: 60, val: null, test: 20 } } },
    dataset as never,
  );
  const pipeline = openPipeline(1, config.data);
  const built = await buildModel(null, config, dataset.classes, {
    statistics: () => assert.fail('nothing asks for statistics'),
    outputs: () => assert.fail('nothing is fitted again'),
    distances: () => assert.fail('no budget is shared out'),
  });
  const rows: Partial<EpochResult>[] = [];
  const watch: Watch = {
    stop: stopBy(signal),
    progress: quiet,
    notice() {},
    logged() {},
    epochDone({ epoch, step, lr, train, selection }) {
      rows.push({ epoch, step, lr, train, selection });
    },
    checkpoint(which, content) {
      const file = path.join(folder, `${which}.safetensors`);
      const parts: Buffer[] = [];
      content((bytes) => void parts.push(Buffer.from(bytes)));
      fs.writeFileSync(file, Buffer.concat(parts));
      return file;
    },
    async keep({ content }) {
      content(() => {});
    },
    kept: async () => null,
    reached: ({ step }) => afterStep(step),
  };
  const trainer = await readyTrainer(config, built, pipeline, parts.train, parts.train, 'eager', watch);
  const { stepsPerEpoch, totalSteps } = planOf(config.train, parts.train.indices.length);
  const epochs = Math.ceil(totalSteps / stepsPerEpoch);
  const clock = runClock(quiet, { train: 0, evaluate: 0 });
  const run: Running = {
    ...{ config, classes: [...dataset.classes], parts, pipeline, built, teacher: null, mode: 'eager', watch },
    ...{ trainer, clock, stepsPerEpoch, epochs, kept: { step: 0, at: performance.now() } },
  };
  const close = async (): Promise<void> => {
    trainer.dispose();
    await pipeline.close();
  };
  return { run, rows, state: freshState(totalSteps, false), close };
}

test('stopped twice in the middle of an epoch, the state goes through JSON and the run ends with the same figures', async () => {
  const config = loadConfig('configs/smoke.yaml', SETS);
  const whole = await ready(config, temporaryFolder(), new AbortController().signal, () => {});
  const expected = await proceed(whole.run, whole.state);
  await whole.close();

  let controller = new AbortController();
  const stopsAt = new Set([3, 9]);
  const cut = await ready(config, temporaryFolder(), controller.signal, (step) => {
    if (stopsAt.delete(step)) controller.abort('SIGTERM');
  });
  let { state } = cut;
  let { run } = cut;
  let found: typeof expected | null = null;
  let stops = 0;
  while (found === null) {
    try {
      found = await proceed(run, state);
    } catch (error) {
      if (!isInterruption(error)) throw error;
      stops++;
      assert.equal(state.phase, 'training');
      assert.ok(state.batch > 0);
      state = JSON.parse(JSON.stringify(state)) as RunState;
      controller = new AbortController();
      run = { ...run, watch: { ...run.watch, stop: stopBy(controller.signal) } };
    }
  }
  await cut.close();
  assert.equal(stops, 2);
  const plain = ({ trainImagesPerSecond: _, ...outcome }: typeof expected) => outcome;
  assert.deepEqual(plain(found), plain(expected));
  for (const [i, row] of cut.rows.entries()) {
    const { train, ...others } = whole.rows[i] as EpochResult;
    assert.deepEqual({ ...row, train: null }, { ...others, train: null });
    assert.ok(Math.abs((row.train?.loss ?? 0) - (train?.loss ?? 0)) < 1e-6); // sums were read at other steps
    assert.equal(row.train?.top1, train?.top1);
  }
  assert.equal(cut.rows.length, whole.rows.length);
});
