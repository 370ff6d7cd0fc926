import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import os from 'node:os';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { startBackend } from '../../src/native/backend.js';
import { draws, streamKey } from '../../src/random.js';
import { compile } from '../../src/trace/compile.js';
import { bool, bytes, float32, int32, traced } from '../../src/trace/function.js';
import { applyAdam } from '../../src/trace/graph-memory.js';
import { uniform } from '../../src/trace/random.js';
import { after, halfSquaredNorm, timesOrZero } from '../../src/trace/tensorflow-ops.js';
import { subtractScaled, variable } from '../../src/trace/variable.js';

const native = (await startBackend('auto')).name === 'tensorflow';
const skip = native ? false : 'compiled functions need the native runtime: npm run setup';

before(() => startBackend('auto'));

const values = (x: tf.Tensor): number[] => [...x.dataSync()];

test('a linear fit trains in one native call a step, with its weights inside', { skip }, () => {
  const weight = variable('weight', [3]);
  const program = compile({
    write: traced({ value: float32(3) }, ({ value }) => {
      weight.assign(value);
      return {};
    }),
    train: traced({ x: float32(8, 3), y: float32(8), rate: float32() }, ({ x, y, rate }) => {
      const loss = (w: tf.Tensor): tf.Scalar => tf.mean(tf.squaredDifference(tf.dot(x, w), y)) as tf.Scalar;
      const { value, grad } = tf.valueAndGrad(loss)(weight.read());
      weight.assign(tf.sub(weight.read(), tf.mul(grad, rate)));
      return { loss: value };
    }),
    read: traced({}, () => ({ weight: weight.read() })),
  });
  const from = draws(1, 'fit');
  const x = from.normals(24);
  const y = Float32Array.from({ length: 8 }, (_, i) => 2 * (x[3 * i] as number) - (x[3 * i + 1] as number));
  tf.tidy(() => {
    program.run.write({ value: new Float32Array(3) });
    for (let step = 0; step < 200; step++) program.run.train({ x, y, rate: 0.1 });
    const [loss] = values(program.run.train({ x, y, rate: 0.1 }).loss);
    assert.ok((loss as number) < 1e-6, `loss ${loss}`);
    values(program.run.read({}).weight).forEach((found, i) => {
      assert.ok(Math.abs(found - ([2, -1, 0][i] as number)) < 1e-3);
    });
  });
  program.dispose();
});

test('variables are read and changed in the order of the function, also when the value read before is used after', {
  skip,
}, () => {
  const v = variable('v', [2]);
  const program = compile({
    start: traced({}, () => {
      v.assign(tf.tensor1d([1, 2]));
      return {};
    }),
    step: traced({}, () => {
      const old = v.read();
      v.assign(tf.mul(old, 10));
      const middle = v.read();
      v.assign(tf.add(v.read(), 1));
      return { old, middle, last: v.read(), both: tf.add(old, v.read()) };
    }),
  });
  tf.tidy(() => {
    program.run.start({});
    const first = program.run.step({});
    assert.deepEqual(
      [values(first.old), values(first.middle), values(first.last), values(first.both)],
      [
        [1, 2],
        [10, 20],
        [11, 21],
        [12, 23],
      ],
    );
    assert.deepEqual(values(program.run.step({}).last), [111, 211]);
    assert.deepEqual(values(first.old), [1, 2], 'what a call returned stays what it was');
  });
  program.dispose();
});

test('the fused Adam step is Adam, and what is read after it has seen it', { skip }, () => {
  const [w, m, s] = [variable('w', [4]), variable('m', [4]), variable('s', [4])];
  const [w0, m0, s0, g] = [
    [1, -2, 3, 0.5],
    [0.1, 0, -0.2, 0.3],
    [0.01, 0.04, 0, 0.09],
    [0.5, -0.25, 1, 0],
  ] as [number[], number[], number[], number[]];
  const program = compile({
    step: traced({ gradient: float32(4) }, ({ gradient }) => {
      [w, m, s].forEach((each, i) => {
        each.assign(tf.tensor1d([w0, m0, s0][i] as number[]));
      });
      const before = w.read();
      const scalars = {
        stepSize: tf.scalar(0.1),
        epsilon: tf.scalar(1e-3),
        beta1: tf.scalar(0.9),
        beta2: tf.scalar(0.99),
      };
      applyAdam(w, { first: m, second: s, ...scalars, gradient });
      return { before, w: w.read(), m: m.read(), s: s.read() };
    }),
  });
  tf.tidy(() => {
    const found = program.run.step({ gradient: Float32Array.from(g) });
    const first = m0.map((old, i) => 0.9 * old + 0.1 * (g[i] as number));
    const second = s0.map((old, i) => 0.99 * old + 0.01 * (g[i] as number) ** 2);
    const weight = w0.map((old, i) => old - (0.1 * (first[i] as number)) / (Math.sqrt(second[i] as number) + 1e-3));
    const expected = { before: w0, w: weight, m: first, s: second };
    for (const name of ['before', 'w', 'm', 's'] as const) {
      values(found[name]).forEach((value, i) => {
        assert.ok(
          Math.abs(value - (expected[name][i] as number)) < 1e-5,
          `${name}[${i}]: ${value}, not ${expected[name][i]}`,
        );
      });
    }
  });
  program.dispose();
});

test('a variable is added to and stepped in place, and what is read after it has seen it', { skip }, () => {
  const w = variable('w', [2]);
  const program = compile({
    write: traced({ value: float32(2) }, ({ value }) => {
      w.assign(value);
      return {};
    }),
    add: traced({ value: float32(2) }, ({ value }) => {
      const before = w.read();
      w.assignAdd(value);
      return { before: tf.mul(before, 1), after: w.read() };
    }),
    step: traced({ to: float32(2), rate: float32() }, ({ to, rate }) => {
      subtractScaled(w, rate, tf.sub(w.read(), to));
      return { after: w.read() };
    }),
  });
  program.run.write({ value: Float32Array.of(1, 2) });
  const { before, after } = program.run.add({ value: Float32Array.of(10, 20) });
  assert.deepEqual(
    [[...before.dataSync()], [...after.dataSync()]],
    [
      [1, 2],
      [11, 22],
    ],
  );
  assert.deepEqual([...program.run.step({ to: Float32Array.of(1, 2), rate: 0.5 }).after.dataSync()], [6, 12]);
  program.dispose();
});

test('TensorFlow’s own operations: half the squared norm, a product that is 0 where the factor is, a value that waits', {
  skip,
}, () => {
  const program = compile({
    all: traced({ x: float32(3), factor: float32() }, ({ x, factor }) => ({
      half: halfSquaredNorm(x),
      product: timesOrZero(tf.log(x), factor),
      waited: after(x, tf.square(factor)),
    })),
  });
  const at = (factor: number): number[][] => {
    const { half, product, waited } = program.run.all({ x: Float32Array.of(0, 1, 2), factor });
    return [half, product, waited].map((each) => [...each.dataSync()]);
  };
  assert.deepEqual(at(0), [[2.5], [0, 0, 0], [0, 1, 2]]);
  assert.deepEqual(at(2)[1], [Number.NEGATIVE_INFINITY, 0, Math.fround(2 * Math.fround(Math.LN2))]);
  program.dispose();
});

test('matrix products in another precision are cast there and back; nothing else is', { skip }, () => {
  const functions = {
    all: traced({ x: float32(2, 2) }, ({ x }) => ({
      product: tf.matMul(x, x),
      batched: tf.matMul(tf.stack([x, x]), tf.stack([x, x])),
      sum: tf.add(x, x),
    })),
  };
  const x = Float32Array.of(1 + 2 ** -10, 0, 0, 1); // bfloat16 has 8 bits: it rounds this to 1
  for (const [precision, expected] of [
    ['float32', (1 + 2 ** -10) ** 2],
    ['bfloat16', 1],
  ] as const) {
    const program = compile(functions, { precision });
    const { product, batched, sum } = program.run.all({ x });
    assert.deepEqual(
      [product.dtype, product.dataSync()[0], batched.dataSync()[0]],
      ['float32', Math.fround(expected), Math.fround(expected)],
    );
    assert.equal(sum.dataSync()[0], 2 + 2 ** -9);
    program.dispose();
  }
});

test('inputs of every dtype arrive as they were given, bytes also where their number does not divide by four', {
  skip,
}, () => {
  const program = compile({
    all: traced(
      { f: float32(2), i: int32(2), b: bool(2), four: bytes(2, 2), five: bytes(5), unused: int32() },
      (x) => ({
        f: tf.mul(x.f, 2),
        i: tf.add(x.i, 1),
        b: tf.logicalNot(x.b),
        four: tf.cast(x.four, 'float32'),
        five: x.five,
      }),
    ),
  });
  const pixels = Uint8Array.of(9, 0, 127, 128, 255, 1, 2, 3);
  tf.tidy(() => {
    const found = program.run.all({
      f: Float32Array.of(1.5, -2),
      i: Int32Array.of(7, -7),
      b: Uint8Array.of(1, 0),
      four: pixels.subarray(0, 4),
      five: pixels.subarray(1, 6),
      unused: 3,
    });
    assert.deepEqual(values(found.f), [3, -4]);
    assert.deepEqual(values(found.i), [8, -6]);
    assert.deepEqual(values(found.b), [0, 1]);
    assert.deepEqual(values(found.four), [9, 0, 127, 128]);
    assert.deepEqual([values(found.five), found.five.dtype], [[0, 127, 128, 255, 1], 'int32']);
  });
  program.dispose();
});

test('random numbers are those of the generator in TypeScript for the same seed, stream and position', { skip }, () => {
  const key = streamKey(42, 'noise');
  const program = compile({
    draw: traced({ step: int32() }, ({ step }) => {
      const counter = tf.stack([
        tf.scalar(0, 'int32'),
        tf.scalar(3, 'int32'),
        step as tf.Scalar,
        tf.scalar(0, 'int32'),
      ]);
      return { noise: uniform([5, 7], tf.tensor1d(Int32Array.from(key), 'int32'), counter) };
    }),
  });
  tf.tidy(() => {
    for (const step of [0, 1, 1000]) {
      const from = draws(42, 'noise', 3, step);
      const expected = Array.from({ length: 35 }, () => from.uniform());
      assert.deepEqual(values(program.run.draw({ step }).noise), expected);
    }
  });
  program.dispose();
});

test('equal constants are one node, and nodes that nothing needs are not in the graph', { skip }, () => {
  const program = compile({
    f: traced({ x: float32(4, 4) }, ({ x }) => {
      tf.matMul(x as tf.Tensor2D, x as tf.Tensor2D);
      return { y: tf.add(tf.mul(x, 3), tf.add(tf.sub(x, 3), tf.zeros([4, 4]))) };
    }),
  });
  // placeholder, 3, zeros, true; mul, sub, add, add; output and done
  assert.equal(program.phases.nodes, 10);
  program.dispose();
});

test('neither tensors nor memory grow from call to call, and a disposed program says so', { skip }, () => {
  const total = variable('total', [1000, 1000]);
  const program = compile({
    start: traced({}, () => {
      total.assign(tf.zeros([1000, 1000]));
      return {};
    }),
    add: traced({ x: float32(1000, 1000) }, ({ x }) => {
      total.assign(tf.add(total.read(), x));
      return { sum: tf.sum(total.read()), all: total.read() };
    }),
  });
  const x = new Float32Array(1e6).fill(1);
  program.run.start({});
  const add = (): void => tf.dispose(program.run.add({ x }) as tf.TensorContainer);
  for (let i = 0; i < 20; i++) add();
  const before = { tensors: tf.memory().numTensors, rss: process.memoryUsage.rss() };
  for (let i = 0; i < 100; i++) add(); // 400 MB in, 400 MB out
  assert.equal(tf.memory().numTensors, before.tensors);
  assert.ok(process.memoryUsage.rss() - before.rss < 50e6, `${(process.memoryUsage.rss() - before.rss) / 1e6} MB more`);
  program.dispose();
  assert.throws(() => program.run.start({}), /disposed/);
});

test('no file is left behind after loading', { skip }, () => {
  const left = (): string[] => readdirSync(os.tmpdir()).filter((name) => name.startsWith('traced-'));
  const before = new Set(left());
  compile({ f: traced({ x: float32() }, ({ x }) => ({ y: tf.neg(x) })) }).dispose();
  assert.deepEqual(
    left().filter((name) => !before.has(name) && existsSync(name)),
    [],
  );
});
