/**
 * Every rule of src/trace/ops.ts: the compiled operation gives what TensorFlow.js gives eagerly, in the same shape and
 * dtype.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { startBackend } from '../../src/native/backend.js';
import { compile } from '../../src/trace/compile.js';
import { float32, int32, traced } from '../../src/trace/function.js';
import { RULES } from '../../src/trace/ops.js';

const native = (await startBackend('auto')).name === 'tensorflow';
const skip = native ? false : 'compiled functions need the native runtime: npm run setup';

interface Inputs {
  /** [2, 3, 4] */
  x: tf.Tensor3D;
  /** [3, 1] */
  y: tf.Tensor2D;
  /** [4], positive */
  p: tf.Tensor1D;
  /** [3] int32, 0 to 2 */
  i: tf.Tensor1D;
}

type Case = (inputs: Inputs) => tf.Tensor;

const flag = (x: tf.Tensor): tf.Tensor => tf.greater(x, 0);

const CASES: Record<string, Case | Case[]> = {
  Add: ({ x, y }) => tf.add(x, y),
  Sub: ({ x, y }) => tf.sub(y, x),
  Multiply: ({ x, p }) => tf.mul(x, p),
  RealDiv: ({ x, p }) => tf.div(x, p),
  FloorDiv: ({ i }) => tf.floorDiv(i, tf.scalar(2, 'int32')),
  Mod: ({ x, p }) => tf.mod(x, p),
  Pow: ({ x, p }) => tf.pow(p, x),
  SquaredDifference: ({ x, y }) => tf.squaredDifference(x, y),
  Maximum: ({ x, y }) => tf.maximum(x, y),
  Minimum: ({ x, y }) => tf.minimum(x, y),
  Atan2: ({ x, y }) => tf.atan2(x, y),
  Equal: ({ i }) => tf.equal(i, 1),
  NotEqual: ({ i }) => tf.notEqual(i, 1),
  Greater: ({ x, y }) => tf.greater(x, y),
  GreaterEqual: ({ i }) => tf.greaterEqual(i, 1),
  Less: ({ x, y }) => tf.less(x, y),
  LessEqual: ({ i }) => tf.lessEqual(i, 1),
  LogicalAnd: ({ x, y }) => tf.logicalAnd(flag(x), flag(y)),
  LogicalOr: ({ x, y }) => tf.logicalOr(flag(x), flag(y)),
  LogicalNot: ({ x }) => tf.logicalNot(flag(x)),
  Abs: ({ x }) => tf.abs(x),
  Ceil: ({ x }) => tf.ceil(x),
  Cos: ({ x }) => tf.cos(x),
  Elu: ({ x }) => tf.elu(x),
  Erf: ({ x }) => tf.erf(x),
  Exp: ({ x }) => tf.exp(x),
  Expm1: ({ x }) => tf.expm1(x),
  Floor: ({ x }) => tf.floor(x),
  Log: ({ p }) => tf.log(p),
  Log1p: ({ p }) => tf.log1p(p),
  Neg: ({ x }) => tf.neg(x),
  OnesLike: ({ x }) => tf.onesLike(x),
  Reciprocal: ({ x }) => tf.reciprocal(x),
  Relu: ({ x }) => tf.relu(x),
  Relu6: ({ x }) => tf.relu6(tf.mul(x, 10)),
  Round: ({ x }) => tf.round(tf.mul(tf.round(x), 0.5)),
  Rsqrt: ({ p }) => tf.rsqrt(p),
  Sigmoid: ({ x }) => tf.sigmoid(x),
  Sign: ({ x }) => tf.sign(x),
  Sin: ({ x }) => tf.sin(x),
  Softplus: ({ x }) => tf.softplus(x),
  Sqrt: ({ p }) => tf.sqrt(p),
  Square: ({ x }) => tf.square(x),
  Tanh: ({ x }) => tf.tanh(x),
  ZerosLike: ({ x }) => tf.zerosLike(x),
  IsNan: ({ x }) => tf.isNaN(tf.sqrt(x)),
  IsInf: ({ i }) => tf.isInf(tf.div(1, i)),
  IsFinite: ({ i }) => tf.isFinite(tf.div(1, i)),
  Step: [({ x }) => tf.step(x), ({ x }) => tf.step(x, -1)],
  Identity: ({ x }) => tf.clone(x),
  Cast: [
    ({ x }) => tf.cast(x, 'int32'),
    ({ i }) => tf.cast(i, 'float32'),
    ({ x }) => tf.cast(flag(x), 'float32'),
    ({ i }) => tf.cast(i, 'bool'),
  ],
  Sum: [({ x }) => tf.sum(x), ({ x }) => tf.sum(x, [0, -1], true), ({ i }) => tf.sum(i)],
  Mean: [({ x }) => tf.mean(x, 1), ({ x }) => tf.mean(x, -1, true)],
  Max: ({ x }) => tf.max(x, 1, true),
  Min: ({ x }) => tf.min(x, [1, 2]),
  Prod: ({ x }) => tf.prod(x, 2),
  All: ({ x }) => tf.all(flag(x), 1),
  Any: ({ x }) => tf.any(flag(x), 2, true),
  ArgMax: [({ x }) => tf.argMax(x, -1), ({ p }) => tf.argMax(p)],
  ArgMin: ({ x }) => tf.argMin(x, 1),
  Cumsum: [({ p }) => tf.cumsum(p), ({ x }) => tf.cumsum(x, 1, true, true)],
  BatchMatMul: [
    ({ x }) => tf.matMul(x, x, false, true),
    ({ x }) => tf.matMul(x, x, true, false),
    ({ y }) => tf.matMul(y, y, true),
    ({ x, y }) => tf.matMul(tf.reshape(y, [1, 1, 3]), x),
  ],
  Softmax: ({ x }) => tf.softmax(x),
  ClipByValue: ({ x }) => tf.clipByValue(x, -0.5, 0.5),
  Select: ({ x, y }) => tf.where(flag(y), x, tf.zerosLike(x)),
  Reshape: ({ x }) => tf.reshape(x, [-1, 6]),
  ExpandDims: [({ x }) => tf.expandDims(x, 1), ({ x }) => tf.expandDims(x, -1)],
  Transpose: ({ x }) => tf.transpose(x, [2, 0, 1]),
  Tile: [({ y }) => tf.tile(y, [2, 3]), ({ y }) => tf.broadcastTo(y, [2, 3, 4])],
  Slice: [({ x }) => tf.slice(x, [0, 1, 2], [1, -1, 2]), ({ p }) => tf.slice1d(p, 1, 2)],
  SplitV: [({ x }) => tf.split(x, [1, 3], 2)[1] as tf.Tensor, ({ x }) => tf.split(x, 2)[1] as tf.Tensor],
  Concat: [({ x }) => tf.concat([x, x], 1), ({ x }) => tf.concat([x, x, x], -1)],
  AddN: ({ x }) => tf.addN([x, tf.neg(x), x]),
  Pack: [({ p }) => tf.stack([p, p]), ({ x }) => tf.stack([x, x], 2)],
  Unpack: ({ x }) => tf.unstack(x, 1)[2] as tf.Tensor,
  PadV2: ({ x }) =>
    tf.pad(
      x,
      [
        [0, 1],
        [2, 0],
        [0, 0],
      ],
      7,
    ),
  GatherV2: [({ x, i }) => tf.gather(x, i, 1), ({ i }) => tf.gather(i, i)],
  UnsortedSegmentSum: ({ y, i }) => tf.unsortedSegmentSum(y, i, 4),
  OneHot: [({ i }) => tf.oneHot(i, 4), ({ i }) => tf.oneHot(i, 3, 2, -1, 'float32')],
  Range: [() => tf.range(0, 5, 1, 'int32'), () => tf.range(1, 0, -0.25)],
  Fill: [() => tf.fill([2, 3], 1.5), () => tf.fill([2], 3, 'int32')],
  constants: [
    () => tf.eye(3),
    () => tf.zeros([3, 3]),
    () => tf.ones([2], 'bool'),
    () => tf.tensor([[1, 2]], [1, 2], 'int32'),
  ],
  gradients: [
    ({ x }) => tf.grad((z) => tf.sum(tf.mul(tf.softmax(z), z)))(x),
    ({ x, y }) => tf.grads((a, b) => tf.mean(tf.abs(tf.sub(a, b))))([x, y])[1] as tf.Tensor,
    ({ x }) => tf.grad((z) => tf.sum(tf.max(tf.concat([z, tf.relu(z)], 1), 1)))(x),
    ({ x, i }) => tf.grad((z) => tf.sum(tf.square(tf.gather(z, i, 1))))(x),
    ({ x }) => tf.grad((z) => tf.sum(tf.square(tf.slice(z, [0, 1, 0], [-1, 1, -1]))))(x),
  ],
};

test('every rule has a case here', () => {
  assert.deepEqual(
    Object.keys(RULES).filter((kernel) => CASES[kernel] === undefined),
    [],
  );
});

test('each compiled operation is the eager one: values, shape and dtype', { skip }, () => {
  const cases = Object.entries(CASES).flatMap(([kernel, given]) =>
    [given].flat().map((each, n) => [`${kernel}_${n}`, each] as const),
  );
  const program = compile({
    all: traced({ x: float32(2, 3, 4), y: float32(3, 1), p: float32(4), i: int32(3) }, (inputs) =>
      Object.fromEntries(cases.map(([name, each]) => [name, each(inputs as unknown as Inputs)])),
    ),
  });
  tf.tidy(() => {
    const inputs: Inputs = {
      x: tf.tensor3d(
        Float32Array.from({ length: 24 }, (_, n) => Math.sin(3 * n + 1) * 2),
        [2, 3, 4],
      ),
      y: tf.tensor2d([0.5, -1, 2], [3, 1]),
      p: tf.tensor1d([0.3, 1, 2.5, 0.7]),
      i: tf.tensor1d([2, 0, 1], 'int32'),
    };
    const found = program.run.all(inputs as unknown as Parameters<typeof program.run.all>[0]) as Record<
      string,
      tf.Tensor
    >;
    for (const [name, each] of cases) {
      const [traced, eager] = [found[name] as tf.Tensor, each(inputs)];
      assert.deepEqual([traced.shape, traced.dtype], [eager.shape, eager.dtype], name);
      const expected = eager.dataSync();
      traced.dataSync().forEach((value, n) => {
        const same =
          Object.is(value, expected[n]) || value === expected[n] || Math.abs(value - (expected[n] as number)) <= 1e-5;
        assert.ok(same, `${name}[${n}]: ${value}, not ${expected[n]}`);
      });
    }
  });
  program.dispose();
});
