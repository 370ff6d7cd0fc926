/** Under XLA (train.compiler: xla) a step gives the numbers of the plain graph. In a process of its own: the whole library is switched. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startBackend } from '../../src/native/backend.js';
import { recordedOperations } from '../../src/trace/profile.js';
import { createTrainer } from '../../src/train/trainer.js';
import { batchOf, loadInto, modelOf, optionsOf, STEPS } from './models.js';

const native = (await startBackend('auto', 'xla')).name === 'tensorflow';
const skip = native ? false : 'XLA is a part of the native runtime: npm run setup';

/** Every kind of step; compiling one takes seconds. */
const CASES = STEPS.filter((name) => name !== 'mqa' && !/^wgqa-/.test(name));

for (const variant of CASES) {
  test(`three steps under XLA are those of operations one by one: ${variant}`, { skip }, () => {
    const options = optionsOf(variant, { adamw: { ...optionsOf(variant).adamw, eps: 1e-4 }, clipGrad: 1 });
    const [xla, plain] = (['compiled', 'eager'] as const).map((mode) => {
      const trainer = createTrainer(options, mode);
      loadInto(trainer, options);
      const losses = [0, 1, 2].map((step) => {
        const plan = { step, lr: 1e-3, refresh: step === 0 };
        if (mode === 'compiled' && step === 2) {
          const kinds = (recordedOperations(() => trainer.train(batchOf(step), plan)) ?? []).map(({ op }) => op);
          assert.ok(kinds.includes('_XlaRun'), `the step is compiled by XLA, not ${kinds.slice(0, 5)}`);
        } else trainer.train(batchOf(step), plan);
        return trainer.readSums().loss;
      });
      const { values } = modelOf(trainer, options);
      trainer.dispose();
      return { losses, values };
    }) as [Found, Found];
    xla.losses.forEach((loss, step) => {
      const expected = plain.losses[step] as number;
      assert.ok(Math.abs(loss - expected) <= 1e-5 * expected, `loss of step ${step}: ${loss}, not ${expected}`);
    });
    for (const [name, value] of Object.entries(plain.values)) {
      const largest = Math.max(...value.map(Math.abs));
      value.forEach((expected, i) => {
        const off = Math.abs((xla.values[name]?.[i] as number) - expected);
        assert.ok(off <= 1e-4 * largest, `${name}[${i}]`);
      });
    }
  });
}

interface Found {
  losses: number[];
  values: Record<string, Float32Array>;
}
