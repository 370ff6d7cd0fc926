import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { decayAfter, rateAfter, shareOfStart } from '../../src/train/average.js';

interface Case {
  decay: number;
  warmup: boolean;
  /** After steps 1 to 12, and 1,000, 100,000 and 10,000,000. */
  decays: number[];
  averages: number[][];
}

/** From timm's ModelEmaV3: averages.py beside it. */
const { walk, cases } = JSON.parse(fs.readFileSync('test/data/timm/averages.json', 'utf8')) as {
  walk: number[][];
  cases: Case[];
};

for (const { decay, warmup, decays, averages } of cases) {
  test(`averages are timm's ModelEmaV3: decay ${decay}, ${warmup ? 'warmed up' : 'from the first step'}`, () => {
    const steps = [...averages.keys(), 999, 99_999, 9_999_999].map((before) => before + 1);
    steps.forEach((step, i) => {
      assert.ok(
        Math.abs(decayAfter(step, { decay, warmup }) - (decays[i] as number)) < 1e-15,
        `decay after step ${step}`,
      );
    });
    let average = walk[0] as number[];
    averages.forEach((expected, i) => {
      const rate = rateAfter(i + 1, { decay, warmup });
      average = average.map((value, place) => Math.fround(value - rate * (value - (walk[i + 1]?.[place] as number))));
      average.forEach((value, place) => {
        assert.ok(
          Math.abs(value - (expected[place] as number)) < 1e-6,
          `after step ${i + 1}: ${value}, not ${expected[place]}`,
        );
      });
    });
  });
}

test('what is left of the parameters that training began with: decay^steps, nothing once the average is warmed up', () => {
  assert.equal(shareOfStart(120, { decay: 0.9998, warmup: false }).toFixed(3), '0.976');
  assert.equal(shareOfStart(120, { decay: 0.9998, warmup: true }), 0);
  assert.equal(shareOfStart(0, { decay: 0.9998, warmup: true }), 1);
});
