/** What a compiled function cannot do, and what is said then: each limit of docs/compiled-step.md. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { GqaError } from '../../src/errors.js';
import { startBackend } from '../../src/native/backend.js';
import { compile } from '../../src/trace/compile.js';
import { bytes, float32, int32, traced } from '../../src/trace/function.js';
import { variable } from '../../src/trace/variable.js';

const native = (await startBackend('auto')).name === 'tensorflow';
const skip = native ? false : 'compiled functions need the native runtime: npm run setup';

/** Compiles `body` of one input x, [4] float32. */
const compiled = (body: (x: tf.Tensor) => tf.Tensor): unknown =>
  compile({ f: traced({ x: float32(4) }, ({ x }) => ({ y: body(x) })) });

const HERE = /called at .*limits\.test\.js:\d+:\d+/;

/** The error says all of this. */
function refuses(run: () => unknown, ...parts: RegExp[]): void {
  const tensors = tf.memory().numTensors;
  const backend = tf.getBackend();
  assert.throws(run, (error: Error) => {
    for (const part of parts) assert.match(error.message, part);
    return true;
  });
  assert.equal(tf.getBackend(), backend, 'the backend in use is the one from before');
  assert.equal(tf.memory().numTensors, tensors, 'no tensor is left behind');
}

test('a host read is refused, with its place', { skip }, () => {
  refuses(
    () => compiled((x) => tf.mul(x, tf.sum(x).dataSync()[0] as number)),
    /host read inside a compiled function/,
    HERE,
  );
  refuses(() => compiled((x) => tf.tensor(x.arraySync())), /host read inside a compiled function/, HERE);
});

test('a branch on a tensor’s value is refused, since it has to read the value; tf.where is the way', { skip }, () => {
  const branch = (x: tf.Tensor): tf.Tensor => ((tf.max(x).dataSync()[0] as number) > 0 ? tf.neg(x) : x);
  refuses(() => compiled(branch), /host read inside a compiled function/, HERE);
  const program = compile({
    f: traced({ x: float32(2) }, ({ x }) => ({ y: tf.where(tf.greater(tf.max(x), 0), tf.neg(x), x) })),
  });
  tf.tidy(() => {
    assert.deepEqual([...program.run.f({ x: Float32Array.of(1, -2) }).y.dataSync()], [-1, 2]);
    assert.deepEqual([...program.run.f({ x: Float32Array.of(-1, -2) }).y.dataSync()], [-1, -2]);
  });
  program.dispose();
});

test('inputs of other shapes, dtypes or names are refused at the call, with both signatures', { skip }, () => {
  const program = compile({
    f: traced({ x: float32(4), n: int32(), raw: bytes(2, 2) }, ({ x, n, raw }) => ({
      y: tf.add(x, tf.cast(n, 'float32')),
      raw,
    })),
  });
  const [x, raw] = [new Float32Array(4), new Uint8Array(4)];
  const expected = /f takes \(n: int32 \[\]; raw: bytes \[2, 2\]; x: float32 \[4\]\), and was called with/;
  refuses(
    () => program.run.f({ x: new Float32Array(3), n: 0, raw }),
    expected,
    /called with \(n: int32 \[\]; raw: bytes \[2, 2\]; x: float32 \[3\]\)/,
  );
  refuses(() => program.run.f({ x: new Int32Array(4), n: 0, raw }), expected, /x: int32 \[4\]/);
  refuses(() => program.run.f({ x, raw } as never), expected, /called with \(raw: bytes \[2, 2\]; x: float32 \[4\]\)/);
  refuses(() => program.run.f({ x, n: 0, raw, more: 1 } as never), expected, /more: float32/);
  const square = tf.zeros([2, 2]);
  refuses(() => program.run.f({ x: square, n: 0, raw }), expected, /x: float32 \[2, 2\]/);
  square.dispose();
  program.dispose();
});

test('unseeded random numbers are refused, TensorFlow.js’s and Math.random; seeded ones are a constant', {
  skip,
}, () => {
  refuses(() => compiled((x) => tf.add(x, tf.randomUniform([4]))), /unseeded random numbers/, HERE);
  refuses(() => compiled((x) => tf.add(x, tf.randomNormal([4]))), /unseeded random numbers/, HERE);
  refuses(() => compiled((x) => tf.dropout(x, 0.5)), /unseeded random numbers/, HERE);
  refuses(() => compiled((x) => tf.mul(x, Math.random())), /unseeded random numbers/, HERE);
  assert.ok(Math.random() < 1, 'Math.random is itself again');
  const program = compile({
    f: traced({ x: float32(3) }, ({ x }) => ({ y: tf.add(x, tf.randomUniform([3], 0, 1, 'float32', 7)) })),
  });
  tf.tidy(() => {
    const seeded = tf.randomUniform([3], 0, 1, 'float32', 7).dataSync();
    assert.deepEqual([...program.run.f({ x: new Float32Array(3) }).y.dataSync()], [...seeded]);
  });
  program.dispose();
});

test('an operation without a rule is refused by its name, with its place', { skip }, () => {
  refuses(() => compiled((x) => tf.topk(x, 2).values), /operation TopK has no rule/, HERE);
  refuses(() => compiled((x) => tf.atanh(x)), /operation Atanh has no rule/, HERE);
});

test('a tensor from outside is refused instead of becoming a constant, and is not harmed', { skip }, () => {
  const outside = tf.tensor1d([1, 2, 3, 4]);
  refuses(() => compiled((x) => tf.add(x, outside)), /a tensor from outside/, HERE);
  assert.deepEqual([...outside.dataSync()], [1, 2, 3, 4]);
  outside.dispose();
});

test('a traced tensor is of no use outside', { skip }, () => {
  let escaped: tf.Tensor | undefined;
  const program = compile({
    f: traced({ x: float32(4) }, ({ x }) => {
      escaped = tf.keep(tf.neg(x));
      return { y: x };
    }),
  }) as { dispose(): void };
  assert.throws(() => escaped?.dataSync(), /host read/);
  assert.throws(() => tf.neg(escaped as tf.Tensor), /host read/);
  refuses(() => compiled((x) => tf.add(x, escaped as tf.Tensor)), /a tensor from outside/, HERE);
  program.dispose();
  escaped?.dispose();
});

test('a function that returns a promise is refused', { skip }, () => {
  refuses(() => compile({ f: traced({ x: float32(4) }, (async () => ({})) as never) }), /f returns a promise/);
});

test('variables are for functions: not outside, not of another shape than declared, not before a value was assigned', {
  skip,
}, () => {
  const v = variable('v', [4]);
  refuses(() => v.read(), /inside its functions only/);
  refuses(
    () =>
      compiled((x) => {
        v.assign(tf.sum(x));
        return x;
      }),
    /variable v is \[4\] float32, and was assigned \[\] float32/,
    HERE,
  );
  const other = variable('v', [2]);
  refuses(
    () => compiled((x) => tf.add(x, tf.add(v.read(), tf.sum(other.read())))),
    /two variables of different shapes are named v/,
  );
  const program = compile({ read: traced({}, () => ({ v: v.read() })) });
  assert.throws(() => program.run.read({}), /v/);
  program.dispose();
});

test('compiling needs the native backend in use', { skip }, () => {
  const known = tf.getBackend();
  tf.registerBackend('other', () => Object.assign(new tf.KernelBackend(), { dispose() {} }), 0);
  void tf.setBackend('other');
  try {
    assert.throws(() => compile({ f: traced({}, () => ({})) }), /need the native backend, and other is in use/);
  } finally {
    void tf.setBackend(known);
    tf.removeBackend('other');
  }
});

test('memory that runs out is exit 6 with the tensor and what takes less, and the program still runs', { skip }, () => {
  const program = compile({
    f: traced({ x: float32(4), big: float32() }, ({ x, big }) => {
      const column = tf.add(tf.zeros([2 ** 21, 1]), big);
      return { y: tf.sum(tf.relu(tf.add(column, tf.reshape(column, [1, 2 ** 21])))), x: tf.neg(x) };
    }),
    g: traced({ x: float32(4) }, ({ x }) => ({ y: tf.neg(x) })),
  });
  assert.throws(
    () => program.run.f({ x: new Float32Array(4), big: 1 }),
    (error: unknown) => {
      assert.ok(error instanceof GqaError, String(error));
      assert.equal(error.code, 'training');
      assert.match(error.message, /memory of the CPU ran out, for a tensor of 2097152 × 2097152 elements/);
      assert.match(error.hint ?? '', /train\.batch_size/);
      return true;
    },
  );
  tf.tidy(() =>
    assert.deepEqual([...program.run.g({ x: Float32Array.of(1, 2, 3, 4) }).y.dataSync()], [-1, -2, -3, -4]),
  );
  program.dispose();
});
