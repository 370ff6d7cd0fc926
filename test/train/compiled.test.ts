/** The compiled trainer and the eager one do the same, and the one with fused operations does as the compiled one. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { DEFAULT_PREPROCESSING } from '../../src/config/preprocessing.js';
import type { Batch } from '../../src/data/dataset.js';
import { initialAttention } from '../../src/model/attention-state.js';
import type { Grouping } from '../../src/model/grouping.js';
import { initialModel } from '../../src/model/params.js';
import { startBackend } from '../../src/native/backend.js';
import { type Mix, UNMIXED } from '../../src/train/mix.js';
import type { Model } from '../../src/train/model.js';
import { evaluatedModel, teacherEntries } from '../../src/train/snapshot.js';
import { teacherShape, withScaleFolded } from '../../src/train/teacher.js';
import { createTrainer, type Trainer, type TrainerMode, type TrainerOptions } from '../../src/train/trainer.js';
import { BASE, BATCH, batchOf, loadInto, modelOf, optionsOf, SIDE, STEPS } from './models.js';

const backend = await startBackend('auto');
const native = backend.name === 'tensorflow';
const skip = native ? false : 'compiled functions need the native runtime: npm run setup';

/** What is compared with what. */
const COMPARED: { title: string; modes: [TrainerMode, TrainerMode]; skip: string | false }[] = [
  { title: 'compiled = eager', modes: ['compiled', 'eager'], skip },
  {
    title: 'fused = compiled',
    modes: ['fused', 'compiled'],
    skip: 'problem' in backend.fused ? `no fused operations: ${backend.fused.problem}` : false,
  },
];

/** Those of the papers, from the table: MQA is GQA with one KV head. */
const VARIANTS = STEPS.filter((name) => name !== 'mqa');

const compiledTrainer = (options: TrainerOptions): Trainer => createTrainer(options, 'compiled');
const eagerTrainer = (options: TrainerOptions): Trainer => createTrainer(options, 'eager');

/** How far the shares of the first step, which the state tells, are from an edge of rounding: x.5. */
function marginOf({ attention }: Pick<Model, 'attention'>, { shape, variant }: TrainerOptions): number {
  const shares = attention.flatMap((block) => {
    const norms = (block.norms ?? block.cache) as number[];
    const scores = norms.map((norm) => (variant === 'kdgqa' ? norm - Math.min(...norms) : norm));
    const total = scores.reduce((sum, score) => sum + score, 0);
    if (total === 0) return []; // one KV head: nothing is divided
    return scores.map((score) => (score / total) * shape.heads);
  });
  return Math.min(...shares.map((share) => Math.abs(share - Math.floor(share) - 0.5)));
}

const read = (x: tf.Tensor): number[] => {
  const values = Array.from(x.dataSync());
  x.dispose();
  return values;
};

function assertClose(found: number[], expected: number[], tolerance: number, what: string): void {
  assert.equal(found.length, expected.length);
  const scale = Math.max(...expected.map(Math.abs));
  found.forEach((value, i) => {
    const difference = Math.abs(value - (expected[i] as number));
    assert.ok(difference <= tolerance * scale, `${what}[${i}]: ${value}, not ${expected[i]}`);
  });
}

/**
 * Ten optimizer steps of both trainers, side by side; the last batch is short.
 * @param mixes with `mix`: which batch i is mixed how, in turn
 */
function assertAlike(modes: [TrainerMode, TrainerMode], options: TrainerOptions, mixes: Mix[] = []): void {
  const { variant, gradAccumSteps } = options;
  const both = modes.map((mode) => createTrainer(options, mode)) as [Trainer, Trainer];
  const [compiled, eager] = both;
  const teacher = initialModel(teacherShape(options.shape), 'mha', 8);
  for (const trainer of both) {
    loadInto(trainer, options);
    if (options.distill !== null) trainer.restore(teacherEntries(teacher));
    trainer.beginEvaluation();
  }
  assertClose(read(compiled.evaluate(batchOf(99))), read(eager.evaluate(batchOf(99))), 1e-5, 'logits of step 0');

  const tensors: number[] = [];
  for (let step = 0; step < 10; step++) {
    for (let i = 0; i < gradAccumSteps; i++) {
      const last = i === gradAccumSteps - 1;
      const batch = batchOf(step * gradAccumSteps + i, step === 9 && last ? 2 : BATCH);
      const mix = mixes[(step * gradAccumSteps + i) % mixes.length] ?? UNMIXED;
      const plan = { step, lr: 1e-4, refresh: i === 0 && step % options.windowSize === 0, last, mix };
      for (const trainer of both) trainer.train(batch, plan);
    }
    const [found, expected] = both.map((trainer) => trainer.readSums()) as [
      ReturnType<Trainer['readSums']>,
      ReturnType<Trainer['readSums']>,
    ];
    assertClose([found.loss], [expected.loss], 1e-5, `loss of step ${step}`);
    assert.deepEqual([found.top1, found.images], [expected.top1, expected.images]);
    assert.deepEqual(compiled.readCounts(), eager.readCounts(), `allocation of step ${step}`);
    if (step === 0 && compiled.readCounts() !== null) {
      const model = modelOf(eager, options);
      assert.ok(marginOf(model, options) > 1e-3, 'images are such that rounding decides alike');
    }
    tensors.push(tf.memory().numTensors);
  }
  assert.equal(new Set(tensors.slice(1)).size, 1, `tensors: ${tensors}`);
  if (variant.includes('dgqa'))
    assert.ok(
      compiled.readCounts()?.some((block) => new Set(block).size > 1),
      'allocations are uneven somewhere',
    );

  const [found, expected] = both.map((trainer) => modelOf(trainer, options)) as [StoredModel, StoredModel];
  for (const [name, value] of Object.entries(expected.values))
    assertClose(Array.from(found.values[name] as Float32Array), Array.from(value), 1e-4, name);
  expected.attention.forEach((block, i) => {
    for (const [name, value] of Object.entries(block))
      assertClose(found.attention[i]?.[name] as number[], value, 1e-4, name);
  });
  for (const trainer of both) trainer.beginEvaluation();
  for (let i = 0; i < 2; i++) tf.dispose(both.map((trainer) => trainer.evaluate(batchOf(50 + i, i === 1 ? 3 : BATCH))));
  const [sums, expectedSums] = both.map((trainer) => trainer.readEvaluation());
  assertClose([sums?.loss as number], [expectedSums?.loss as number], 1e-5, 'evaluation loss');
  assert.deepEqual({ ...sums, loss: 0 }, { ...expectedSums, loss: 0 });
  assert.equal(sums?.images, BATCH + 3);
  for (const trainer of both) trainer.dispose();
}

type StoredModel = ReturnType<typeof modelOf>;

const EVERYTHING = {
  // a gradient that is all but 0 moves a parameter by its rounding: the accumulated and clipped ones are as small
  adamw: { ...optionsOf('gqa').adamw, eps: 1e-4 },
  clipGrad: 0.5,
  gradAccumSteps: 2,
  ema: { decay: 0.8, warmup: true },
  freeze: 'kv',
  distill: { weight: 0.3, temperature: 2, from: 'both', features: 'cosine' },
  recompute: true,
} as const;

for (const { title, modes, skip } of COMPARED) {
  for (const variant of VARIANTS) {
    test(`${title} over ten steps at lr 1e-4, the last batch short: ${variant}`, { skip }, () =>
      assertAlike(modes, optionsOf(variant)),
    );

    // options meet the other forms of wgqa as they meet wgqa, and the others of dgqa as dgqa-ema; mha is a gqa
    if (/^wgqa-|^dgqa-diff|^mha/.test(variant)) continue;

    test(`${title} with every training option at once: ${variant}`, { skip }, () =>
      assertAlike(modes, optionsOf(variant, EVERYTHING)),
    );
  }

  for (const [option, value] of Object.entries(EVERYTHING).filter(([option]) => option !== 'adamw')) {
    test(`${title} with one training option: ${option}`, { skip }, () =>
      assertAlike(modes, optionsOf('dgqa-ema', { [option]: value })),
    );
  }
}

/** Layers that differ: one KV head, unequal groups side by side, unequal groups that are scattered. */
const UNEVEN: Grouping = [
  [0, 0, 0, 0, 0, 0],
  [0, 0, 0, 1, 1, 2],
  [0, 1, 1, 0, 1, 1],
];

for (const { title, modes, skip } of COMPARED) {
  for (const variant of ['gqa', 'dgqa-ema']) {
    test(
      `${title} with layers of different and unequal groups, and every training option: ${variant}`,
      {
        skip,
      },
      () => assertAlike(modes, optionsOf(variant, { ...EVERYTHING, shape: { ...BASE, grouping: UNEVEN } })),
    );
  }
}

const MIXES: Record<string, Mix> = {
  'mixup, mostly its own': { lambda: 0.7, box: [0, 0, 0, 0] },
  'mixup, mostly the partner': { lambda: 0.2, box: [0, 0, 0, 0] },
  cutmix: { lambda: 1 - (6 * 7) / 256, box: [3, 9, 9, 16] },
};

for (const { title, modes, skip } of COMPARED) {
  for (const [name, mix] of Object.entries(MIXES)) {
    test(`${title} with mixed batches: ${name}`, { skip }, () =>
      assertAlike(modes, optionsOf('dgqa-ema', { mix: true }), [mix]),
    );
  }
}

const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;

test('compiled = eager with another mean and deviation, images enlarged in the graph or not', { skip }, () => {
  assertAlike(['compiled', 'eager'], optionsOf('gqa', { pixels: IMAGENET }));
  const options = optionsOf('mha', { pixels: IMAGENET });
  const trainers = [compiledTrainer(options), eagerTrainer(options), compiledTrainer(optionsOf('mha'))];
  const [compiled, eager, half] = trainers.map((trainer) => {
    loadInto(trainer, options);
    trainer.beginEvaluation();
    return read(trainer.evaluate(batchOf(5)));
  }) as [number[], number[], number[]];
  assertClose(compiled, eager, 1e-5, 'logits');
  assert.ok(
    compiled.some((value, i) => Math.abs(value - (half[i] as number)) > 1e-3),
    'the scale changes the logits',
  );
  for (const trainer of trainers) trainer.dispose();
});

test('a teacher of another mean and deviation says the same of the student’s images, once it is folded', () => {
  const shape = optionsOf('mha').shape;
  const HALF = DEFAULT_PREPROCESSING;
  const values = Object.fromEntries(
    Object.entries(initialModel(shape, 'mha', 8)).map(([name, drawn]) => [name, drawn.map((value) => 5 * value)]),
  );
  const logits = (of: Record<string, Float32Array>, pixels: TrainerOptions['pixels']): number[] => {
    const options = optionsOf('mha', { pixels });
    const trainer = eagerTrainer(options);
    trainer.begin({ values: of, attention: initialAttention(shape, 'mha') });
    trainer.beginEvaluation();
    const found = read(trainer.evaluate(batchOf(4)));
    trainer.dispose();
    return found;
  };
  for (const [own, students] of [
    [IMAGENET, HALF],
    [HALF, IMAGENET],
    [IMAGENET, { mean: [0, 0.1, 0.2], std: [1, 0.5, 0.3] } as const],
  ] as const) {
    const expected = logits(values, own);
    assertClose(logits(withScaleFolded(values, { own, students }), students), expected, 1e-5, 'logits');
    assert.ok(
      logits(values, students).some((value, i) => Math.abs(value - (expected[i] as number)) > 1e-2),
      'it has to be folded',
    );
  }
  assert.equal(withScaleFolded(values, { own: HALF, students: HALF }), values);
});

test(
  'compiled = eager with mixed batches and every training option at once, each batch mixed in its own way',
  { skip },
  () =>
    assertAlike(['compiled', 'eager'], optionsOf('kdgqa', { ...EVERYTHING, mix: true }), [
      ...Object.values(MIXES),
      UNMIXED,
    ]),
);

test('an unmixed batch of a step that mixes is the step without; a mixed one is that of the images and labels mixed by hand', {
  skip,
}, () => {
  const adamw = { ...optionsOf('gqa').adamw, eps: 1e-3 };
  const mixing = optionsOf('gqa', { mix: true, adamw });
  const batches = [batchOf(0), batchOf(1, 3)];
  const without = trained(optionsOf('gqa', { adamw }), batches, 1e-3);
  assert.ok(largestDifference(trained(mixing, batches, 1e-3), without) < 1e-6);
  assert.ok(largestDifference(trained(mixing, batches, 1e-3, MIXES.cutmix), without) > 1e-5);

  // A box that is the whole image, λ = 0: the mirrored batch with its own labels, a short one mirrored within itself.
  const mirrored = batches.map((batch) => {
    const order = Array.from(batch.labels, (_, i) => (i < batch.images ? batch.images - 1 - i : i));
    const size = SIDE * SIDE * 3;
    return {
      ...batch,
      pixels: Uint8Array.from(order.flatMap((i) => [...batch.pixels.subarray(i * size, (i + 1) * size)])),
      labels: Int32Array.from(order, (i) => batch.labels[i] as number),
    };
  });
  const whole: Mix = { lambda: 0, box: [0, 16, 0, 16] };
  assert.ok(
    largestDifference(trained(mixing, batches, 1e-3, whole), trained(optionsOf('gqa', { adamw }), mirrored, 1e-3)) <
      1e-6,
  );
});

/** Parameters after some steps of a compiled trainer, moving averages where they are kept. */
function trained(options: TrainerOptions, batches: Batch[], lr: number, mix = UNMIXED): Record<string, number[]> {
  const trainer = compiledTrainer(options);
  loadInto(trainer, options);
  const { gradAccumSteps } = options;
  batches.forEach((batch, i) => {
    const inStep = i % gradAccumSteps;
    trainer.train(batch, {
      step: Math.floor(i / gradAccumSteps),
      lr,
      refresh: inStep === 0,
      last: inStep === gradAccumSteps - 1,
      mix,
    });
  });
  const { values } = modelOf(trainer, options);
  trainer.dispose();
  return numbersOf(values);
}

const numbersOf = (values: Record<string, Float32Array>): Record<string, number[]> =>
  Object.fromEntries(Object.entries(values).map(([name, vector]) => [name, Array.from(vector)]));

const largestDifference = (a: Record<string, number[]>, b: Record<string, number[]>): number =>
  Math.max(
    ...Object.entries(a).flatMap(([name, values]) =>
      values.map((value, i) => Math.abs(value - (b[name]?.[i] as number))),
    ),
  );

test('batches that are accumulated make the step of one big batch: variants that allocate nothing', { skip }, () => {
  for (const variant of ['mha', 'gqa', 'pgqa'] as const) {
    const small = optionsOf(variant, { gradAccumSteps: 3 });
    const big = optionsOf(variant, { batchSize: 3 * BATCH });
    const parts = [batchOf(0), batchOf(1), batchOf(2, 4)];
    const whole: Batch = {
      ...batchOf(0),
      pixels: Uint8Array.from(parts.flatMap(({ pixels }) => [...pixels])),
      labels: Int32Array.from(parts.flatMap(({ labels }) => [...labels])),
      weights: Float32Array.from(parts.flatMap(({ weights }) => [...weights])),
      images: 2 * BATCH + 4,
    };
    // Adam's first step has the size of the learning rate whatever the gradient: one that is all but 0 may turn its
    // sign.
    const noise = { adamw: { ...small.adamw, eps: 1e-3 } };
    const difference = largestDifference(
      trained({ ...small, ...noise }, parts, 1e-3),
      trained({ ...big, ...noise }, [whole], 1e-3),
    );
    assert.ok(difference < 1e-6, `${variant}: ${difference}`);
  }
});

test('recomputed blocks change no number beyond rounding', { skip }, () => {
  for (const variant of ['gqa', 'kdgqa', 'pgqa'] as const) {
    const batches = [batchOf(0), batchOf(1), batchOf(2)];
    const adamw = { ...optionsOf(variant).adamw, eps: 1e-3 };
    const difference = largestDifference(
      trained(optionsOf(variant, { recompute: true, adamw }), batches, 1e-3),
      trained(optionsOf(variant, { adamw }), batches, 1e-3),
    );
    assert.ok(difference < 1e-6, `${variant}: ${difference}`);
  }
});

test('what is frozen keeps its value to the bit, and the rest moves', { skip }, () => {
  const frozen = {
    none: () => false,
    all: (name: string) => !name.startsWith('head'),
    kv: (name: string) => /attn\.[kv]\./.test(name),
    head: (name: string) => name.startsWith('head'),
    'all-but-kv': (name: string) => !/attn\.[kv]\.|^head/.test(name),
  } as const;
  const before = trained(optionsOf('gqa'), [], 0.1);
  for (const [freeze, isFrozen] of Object.entries(frozen) as [keyof typeof frozen, (name: string) => boolean][]) {
    const after = trained(optionsOf('gqa', { freeze, labelSmoothing: 0 }), [batchOf(0)], 0.1);
    const kept = Object.keys(after).filter((name) => `${after[name]}` === `${before[name]}`);
    // A bias of the keys has no gradient, and was 0: nothing moves it.
    const still = Object.keys(after).filter((name) => isFrozen(name) || /attn\.k\.bias/.test(name));
    assert.deepEqual(kept.sort(), still.sort(), freeze);
  }
});

test('moving averages follow the parameters by 1 − decay a step, and are what is evaluated', { skip }, () => {
  const decay = 0.75;
  const batches = [batchOf(0), batchOf(1)];
  const steps = [0, 1, 2].map((count) => trained(optionsOf('gqa'), batches.slice(0, count), 1e-2));
  const averaged = trained(optionsOf('gqa', { ema: { decay, warmup: false } }), batches, 1e-2);
  const expected = Object.fromEntries(
    Object.keys(averaged).map((name) => [
      name,
      averaged[name]?.map((_, i) => {
        const [first, second, third] = steps.map((step) => step[name]?.[i] as number) as [number, number, number];
        return decay * (decay * first + (1 - decay) * second) + (1 - decay) * third;
      }) as number[],
    ]),
  );
  assert.ok(largestDifference(averaged, expected) < 1e-6);
});

test('moving averages that are warmed up begin at the first step’s parameters, and follow them as timm’s do', {
  skip,
}, () => {
  const timm = JSON.parse(fs.readFileSync('test/data/timm/averages.json', 'utf8')) as {
    cases: { warmup: boolean; decays: number[] }[];
  };
  const decays = timm.cases.find(({ warmup }) => warmup)?.decays as number[];
  const batches = [0, 1, 2, 3].map((i) => batchOf(i));
  const steps = batches.map((_, i) => trained(optionsOf('gqa'), batches.slice(0, i + 1), 1e-2));
  const averaged = trained(optionsOf('gqa', { ema: { decay: 0.9998, warmup: true } }), batches, 1e-2);
  const expected = Object.fromEntries(
    Object.keys(averaged).map((name) => [
      name,
      steps.reduce<number[]>(
        (average, step, i) =>
          (step[name] as number[]).map((value, at) => value + (decays[i] as number) * ((average[at] ?? 0) - value)),
        [],
      ),
    ]),
  );
  assert.ok(largestDifference(averaged, expected) < 1e-6);
});

test('matrix products in bfloat16 and float16 stay near float32, and parameters and moments are float32', {
  skip,
}, () => {
  const batches = [0, 1, 2, 3].map((i) => batchOf(i));
  const exact = trained(optionsOf('gqa'), batches, 1e-3);
  for (const precision of ['bfloat16', 'float16'] as const) {
    const options = optionsOf('gqa', { precision });
    const found = trained(options, batches, 1e-3);
    const difference = largestDifference(found, exact);
    // at most a step's size a step, each way
    assert.ok(difference > 0 && difference < 8.1e-3, `${precision}: ${difference}`);
    // Values that bfloat16 could not hold.
    assert.ok(found['head.weight']?.some((value) => Math.fround(value) === value && Math.abs(value * 256) % 1 !== 0));
  }
});

for (const gradAccumSteps of [1, 2]) {
  test(`float16: steps whose gradients overflow are left out and halve the scale; the first one taken is Adam's first (${gradAccumSteps} batches a step)`, {
    skip,
  }, () => {
    const lr = 1e-3;
    const base = optionsOf('gqa');
    const options = {
      ...base,
      precision: 'float16' as const,
      gradAccumSteps,
      adamw: { ...base.adamw, weightDecay: 0 },
    };
    const trainer = compiledTrainer(options);
    const blown = initialModel(options.shape, 'gqa', 5);
    const head = (blown['head.weight'] as Float32Array).map((value) => value * 3e4); // gradients do not fit into float16
    trainer.begin({ values: { ...blown, 'head.weight': head }, attention: initialAttention(options.shape, 'gqa') });
    const values = (): number[] =>
      Array.from(modelOf(trainer, options).values['blocks.0.mlp.fc1.weight'] as Float32Array);
    const before = values();
    let leftOut = 0;
    let after = before;
    for (let step = 0; step < 40 && isDeepStrictEqual(after, before); step++) {
      for (let i = 0; i < gradAccumSteps; i++)
        trainer.train(batchOf(step * gradAccumSteps + i), { step, lr, refresh: true, last: i === gradAccumSteps - 1 });
      after = values();
      leftOut = step;
    }
    assert.ok(leftOut >= 3, `${leftOut} steps were left out`);
    assert.deepEqual(trainer.readSums().float16, { leftOut, scale: 65536 / 2 ** leftOut });
    assert.equal(trainer.readSums().float16?.leftOut, 0);
    // From moments of zero, Adam moves every value by the learning rate, wherever the gradient is not tiny, and none
    // further.
    const moved = after.map((value, i) => Math.abs(value - (before[i] as number))).sort((a, b) => a - b);
    for (const part of [0.5, 1]) {
      const at = moved[Math.ceil(moved.length * part) - 1] as number;
      assert.ok(Math.abs(at / lr - 1) < 2e-3, `${part}: moved by ${at}`);
    }
    trainer.dispose();
  });
}

test('float16 leaves out no step of accumulated batches that it takes one by one, and makes the step of float32', {
  skip,
}, () => {
  for (const changes of [
    { clipGrad: 0.5, recompute: true },
    { batchSize: 1 },
    { distill: EVERYTHING.distill, mix: true },
  ]) {
    const options = optionsOf('kdgqa', { gradAccumSteps: 5, labelSmoothing: 0, ...changes });
    const adamw = { ...options.adamw, eps: 1e-3 };
    const [exact, half] = (['float32', 'float16'] as const).map((precision) => {
      const trainer = compiledTrainer({ ...options, adamw, precision });
      loadInto(trainer, options);
      if (options.distill !== null)
        trainer.restore(teacherEntries(initialModel(teacherShape(options.shape), 'mha', 8)));
      for (let i = 0; i < 10; i++) {
        const batch = i === 9 ? batchOf(i, 2) : batchOf(i);
        const fed = { ...batch, ...(options.batchSize === 1 ? firstOf(batch) : {}) };
        trainer.train(fed, {
          step: Math.floor(i / 5),
          lr: 1e-3,
          refresh: i % 5 === 0,
          last: i % 5 === 4,
          mix: MIXES.cutmix as Mix,
        });
      }
      const { float16 } = trainer.readSums();
      const { values } = modelOf(trainer, options);
      trainer.dispose();
      return { float16, values: numbersOf(values) };
    }) as [Seen, Seen];
    assert.deepEqual([exact.float16, half.float16], [null, { leftOut: 0, scale: 65536 }], JSON.stringify(changes));
    const difference = largestDifference(half.values, exact.values);
    assert.ok(difference < 2e-4, `${JSON.stringify(changes)}: ${difference}`);
  }
});

interface Seen {
  float16: ReturnType<Trainer['readSums']>['float16'];
  values: Record<string, number[]>;
}

/** A batch of its first image. */
const firstOf = ({ pixels, labels, weights }: Batch): Partial<Batch> => ({
  pixels: pixels.slice(0, SIDE * SIDE * 3),
  labels: labels.slice(0, 1),
  weights: weights.slice(0, 1),
  images: 1,
});

test('eager refuses another precision than float32, with the reason', () => {
  assert.throws(
    () => eagerTrainer(optionsOf('gqa', { precision: 'bfloat16' })),
    /train\.precision bfloat16 needs the compiled step/,
  );
});

test('evaluation batch by batch allocates on a copy of the state: the same eagerly and compiled, and training never sees it', {
  skip,
}, () => {
  for (const variant of ['kdgqa', 'dgqa-ema', 'pgqa'] as const) {
    const options = optionsOf(variant, { evalAllocation: 'batch', evalNoise: 'paper' });
    const both = [compiledTrainer(options), eagerTrainer(options)] as const;
    for (const trainer of both) {
      loadInto(trainer, options);
      trainer.train(batchOf(0), { step: 0, lr: 1e-4, refresh: true });
    }
    for (let round = 0; round < 2; round++) {
      for (const trainer of both) trainer.beginEvaluation();
      for (let i = 0; i < 3; i++) {
        const [found, expected] = both.map((trainer) => read(trainer.evaluate(batchOf(i)))) as [number[], number[]];
        assertClose(found, expected, 1e-4, `${variant}, logits of batch ${i}`);
      }
    }
    for (const trainer of both) trainer.dispose();
  }
});

test('a trainer that takes over another’s state goes on as that one does', { skip }, () => {
  const options = optionsOf('dgqa-ema');
  const [first, second] = [compiledTrainer(options), compiledTrainer(options)];
  loadInto(first, options);
  for (let step = 0; step < 4; step++) first.train(batchOf(step), { step, lr: 1e-3, refresh: step % 3 === 0 });
  const snapshot = first.snapshot();
  second.restore(snapshot.values);
  snapshot.dispose();
  for (let step = 4; step < 7; step++) {
    for (const trainer of [first, second]) trainer.train(batchOf(step), { step, lr: 1e-3, refresh: step % 3 === 0 });
    assert.deepEqual(second.readSums(), first.readSums());
  }
  first.dispose();
  second.dispose();
});

test('a snapshot taken before a step does not change with it', { skip }, () => {
  for (const create of [compiledTrainer, eagerTrainer]) {
    const options = optionsOf('gqa');
    const trainer = create(options);
    loadInto(trainer, options);
    const before = modelOf(trainer, options).values;
    const snapshot = trainer.snapshot();
    trainer.train(batchOf(0), { step: 0, lr: 0.1, refresh: true });
    const { read: held } = evaluatedModel(snapshot, options.shape.depth);
    assert.deepEqual(held('head.weight'), before['head.weight']);
    assert.notDeepEqual(modelOf(trainer, options).values['head.weight'], before['head.weight']);
    snapshot.dispose();
    trainer.dispose();
  }
});
