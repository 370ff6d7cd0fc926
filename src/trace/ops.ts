/**
 * The table of operations: for each TensorFlow.js kernel the TensorFlow operation that it becomes and the shape that
 * comes out. A kernel that is not here is refused by name. Operations and attributes as in TensorFlow's core/ops;
 * kernels as in tfjs-core's kernel_names.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Attribute } from './graph.js';
import {
  broadcast,
  elementType,
  INT32,
  type Rule,
  reduction,
  replaced,
  reshape,
  rule,
  slice,
  table,
  typeOf,
  without,
} from './rule.js';

export const RULES: Record<string, Rule> = {
  ...table(
    {
      Add: 'AddV2',
      Sub: 'Sub',
      Multiply: 'Mul',
      RealDiv: 'RealDiv',
      FloorDiv: 'FloorDiv',
      Mod: 'FloorMod',
      Pow: 'Pow',
      SquaredDifference: 'SquaredDifference',
      Maximum: 'Maximum',
      Minimum: 'Minimum',
      Atan2: 'Atan2',
    },
    (op) =>
      rule<tf.BinaryInputs, object>(({ a, b }, _, emit) =>
        emit.node(op, [a, b], { T: typeOf(a) }, broadcast(a.shape, b.shape), a.dtype),
      ),
  ),
  ...table(
    {
      Equal: 'Equal',
      NotEqual: 'NotEqual',
      Greater: 'Greater',
      GreaterEqual: 'GreaterEqual',
      Less: 'Less',
      LessEqual: 'LessEqual',
    },
    (op) =>
      rule<tf.BinaryInputs, object>(({ a, b }, _, emit) =>
        emit.node(op, [a, b], { T: typeOf(a) }, broadcast(a.shape, b.shape), 'bool'),
      ),
  ),
  ...table({ LogicalAnd: 'LogicalAnd', LogicalOr: 'LogicalOr' }, (op) =>
    rule<tf.BinaryInputs, object>(({ a, b }, _, emit) =>
      emit.node(op, [a, b], {}, broadcast(a.shape, b.shape), 'bool'),
    ),
  ),
  ...table(
    {
      Abs: 'Abs',
      Ceil: 'Ceil',
      Cos: 'Cos',
      Elu: 'Elu',
      Erf: 'Erf',
      Exp: 'Exp',
      Expm1: 'Expm1',
      Floor: 'Floor',
      Log: 'Log',
      Log1p: 'Log1p',
      Neg: 'Neg',
      OnesLike: 'OnesLike',
      Reciprocal: 'Reciprocal',
      Relu: 'Relu',
      Relu6: 'Relu6',
      Round: 'Round',
      Rsqrt: 'Rsqrt',
      Sigmoid: 'Sigmoid',
      Sign: 'Sign',
      Sin: 'Sin',
      Softplus: 'Softplus',
      Sqrt: 'Sqrt',
      Square: 'Square',
      Tanh: 'Tanh',
      ZerosLike: 'ZerosLike',
    },
    (op) => rule<tf.UnaryInputs, object>(({ x }, _, emit) => emit.node(op, [x], { T: typeOf(x) }, x.shape, x.dtype)),
  ),
  ...table({ IsNan: 'IsNan', IsInf: 'IsInf', IsFinite: 'IsFinite' }, (op) =>
    rule<tf.UnaryInputs, object>(({ x }, _, emit) => emit.node(op, [x], { T: typeOf(x) }, x.shape, 'bool')),
  ),
  LogicalNot: rule<tf.LogicalNotInputs, object>(({ x }, _, emit) => emit.node('LogicalNot', [x], {}, x.shape, 'bool')),
  Step: rule<tf.StepInputs, tf.StepAttrs>(({ x }, { alpha }, emit) => {
    const positive = emit.node('Greater', [x, emit.scalar(0, 'float32')], { T: typeOf(x) }, x.shape, 'bool');
    return emit.node(
      'SelectV2',
      [positive, emit.scalar(1, 'float32'), emit.scalar(alpha, 'float32')],
      { T: typeOf(x) },
      x.shape,
      x.dtype,
    );
  }),
  Identity: rule<tf.IdentityInputs, object>(({ x }, _, emit) => emit.alias(x)),
  Cast: rule<tf.CastInputs, tf.CastAttrs>(({ x }, { dtype }, emit) => {
    if (x.dtype === dtype) return emit.alias(x);
    const bytes = emit.asBytes(x);
    const from: Attribute = bytes === null ? typeOf(x) : { type: 'uint8' };
    return emit.node('Cast', [bytes ?? x], { SrcT: from, DstT: elementType(dtype) }, x.shape, dtype);
  }),

  ...table({ Sum: 'Sum', Mean: 'Mean', Max: 'Max', Min: 'Min', Prod: 'Prod' }, (op) => reduction(op, true)),
  ...table({ All: 'All', Any: 'Any' }, (op) => reduction(op, false)),
  ...table({ ArgMax: 'ArgMax', ArgMin: 'ArgMin' }, (op) =>
    rule<tf.ArgMaxInputs, tf.ArgMaxAttrs>(({ x }, { axis }, emit) => {
      const [along] = tf.util.parseAxisParam(axis, x.shape) as [number];
      const attributes = { T: typeOf(x), Tidx: INT32, output_type: INT32 };
      return emit.node(op, [x, emit.scalar(along, 'int32')], attributes, without(x.shape, along), 'int32');
    }),
  ),
  Cumsum: rule<tf.CumsumInputs, tf.CumsumAttrs>(({ x }, { axis, exclusive, reverse }, emit) => {
    const attributes = { T: typeOf(x), Tidx: INT32, exclusive: { bool: exclusive }, reverse: { bool: reverse } };
    return emit.node('Cumsum', [x, emit.scalar(axis, 'int32')], attributes, x.shape, x.dtype);
  }),

  BatchMatMul: rule<tf.BatchMatMulInputs, tf.BatchMatMulAttrs>(({ a, b }, { transposeA, transposeB }, emit) => {
    const m = a.shape.at(transposeA ? -1 : -2) as number;
    const n = b.shape.at(transposeB ? -2 : -1) as number;
    if (a.shape.length === 2 && b.shape.length === 2) {
      const attributes = { T: typeOf(a), transpose_a: { bool: transposeA }, transpose_b: { bool: transposeB } };
      return emit.node('MatMul', [a, b], attributes, [m, n], a.dtype);
    }
    const attributes = { T: typeOf(a), adj_x: { bool: transposeA }, adj_y: { bool: transposeB } };
    const batch = broadcast(a.shape.slice(0, -2), b.shape.slice(0, -2));
    return emit.node('BatchMatMulV2', [a, b], attributes, [...batch, m, n], a.dtype);
  }),
  Softmax: rule<tf.SoftmaxInputs, object>(({ logits }, _, emit) =>
    emit.node('Softmax', [logits], { T: typeOf(logits) }, logits.shape, 'float32'),
  ),
  ClipByValue: rule<tf.ClipByValueInputs, tf.ClipByValueAttrs>(({ x }, { clipValueMin, clipValueMax }, emit) => {
    const dtype = x.dtype as 'float32' | 'int32';
    const bounds = [emit.scalar(clipValueMin, dtype), emit.scalar(clipValueMax, dtype)];
    return emit.node('ClipByValue', [x, ...bounds], { T: typeOf(x) }, x.shape, dtype);
  }),
  Select: rule<tf.SelectInputs, object>(({ condition, t, e }, _, emit) => {
    const shape = broadcast(broadcast(condition.shape, t.shape), e.shape);
    return emit.node('SelectV2', [condition, t, e], { T: typeOf(t) }, shape, t.dtype);
  }),

  Reshape: rule<tf.ReshapeInputs, tf.ReshapeAttrs>(({ x }, { shape }, emit) =>
    reshape(x, tf.util.inferFromImplicitShape(shape, tf.util.sizeFromShape(x.shape)), emit),
  ),
  ExpandDims: rule<tf.ExpandDimsInputs, tf.ExpandDimsAttrs>(({ input }, { dim }, emit) => {
    const at = dim < 0 ? input.shape.length + dim + 1 : dim;
    return reshape(input, [...input.shape.slice(0, at), 1, ...input.shape.slice(at)], emit);
  }),
  Transpose: rule<tf.TransposeInputs, tf.TransposeAttrs>(({ x }, { perm }, emit) => {
    const shape = perm.map((axis) => x.shape[axis] as number);
    return emit.node('Transpose', [x, emit.ints(perm)], { T: typeOf(x), Tperm: INT32 }, shape, x.dtype);
  }),
  Tile: rule<tf.TileInputs, tf.TileAttrs>(({ x }, { reps }, emit) => {
    const shape = x.shape.map((size, axis) => size * (reps[axis] as number));
    return emit.node('Tile', [x, emit.ints(reps)], { T: typeOf(x), Tmultiples: INT32 }, shape, x.dtype);
  }),
  Slice: rule<tf.SliceInputs, tf.SliceAttrs>(({ x }, { begin, size }, emit) => {
    const [starts, sizes] = tf.slice_util.parseSliceParams(x, begin, size);
    return slice(x, starts as number[], sizes as number[], emit);
  }),
  SplitV: rule<tf.SplitVInputs, tf.SplitVAttrs>(({ x }, { numOrSizeSplits, axis }, emit) => {
    const [along] = tf.util.parseAxisParam(axis, x.shape) as [number];
    const sizes = tf.backend_util.prepareSplitSize(x, numOrSizeSplits, along);
    if (sizes.length === 1) return [emit.alias(x)];
    const shapes = sizes.map((size) => replaced(x.shape, along, size));
    const attributes = { num_split: { int: sizes.length }, T: typeOf(x), Tlen: INT32 };
    return emit.nodeOf('SplitV', [x, emit.ints(sizes), emit.scalar(along, 'int32')], attributes, shapes, x.dtype);
  }),
  Concat: (inputs, attributes, emit) => {
    const parts = Object.values(inputs) as tf.TensorInfo[];
    const [first] = parts as [tf.TensorInfo];
    const [along] = tf.util.parseAxisParam((attributes as unknown as tf.ConcatAttrs).axis, first.shape) as [number];
    const total = parts.reduce((sum, part) => sum + (part.shape[along] as number), 0);
    const all = { N: { int: parts.length }, T: typeOf(first), Tidx: INT32 };
    return emit.node(
      'ConcatV2',
      [...parts, emit.scalar(along, 'int32')],
      all,
      replaced(first.shape, along, total),
      first.dtype,
    );
  },
  AddN: (inputs, _, emit) => {
    const parts = Object.values(inputs) as tf.TensorInfo[];
    const [first] = parts as [tf.TensorInfo];
    return emit.node('AddN', parts, { N: { int: parts.length }, T: typeOf(first) }, first.shape, first.dtype);
  },
  Pack: (inputs, attributes, emit) => {
    const parts = Object.values(inputs) as tf.TensorInfo[];
    const [first] = parts as [tf.TensorInfo];
    const { axis } = attributes as unknown as tf.PackAttrs;
    const at = axis < 0 ? first.shape.length + axis + 1 : axis;
    const shape = [...first.shape.slice(0, at), parts.length, ...first.shape.slice(at)];
    return emit.node(
      'Pack',
      parts,
      { N: { int: parts.length }, T: typeOf(first), axis: { int: at } },
      shape,
      first.dtype,
    );
  },
  Unpack: rule<tf.UnpackInputs, tf.UnpackAttrs>(({ value }, { axis }, emit) => {
    const [along] = tf.util.parseAxisParam(axis, value.shape) as [number];
    const count = value.shape[along] as number;
    const shapes = Array.from({ length: count }, () => without(value.shape, along));
    return emit.nodeOf(
      'Unpack',
      [value],
      { num: { int: count }, T: typeOf(value), axis: { int: along } },
      shapes,
      value.dtype,
    );
  }),
  PadV2: rule<tf.PadV2Inputs, tf.PadV2Attrs>(({ x }, { paddings, constantValue }, emit) => {
    const shape = x.shape.map((size, axis) => size + (paddings[axis]?.[0] as number) + (paddings[axis]?.[1] as number));
    const around = emit.ints(paddings.flat(), [paddings.length, 2]);
    const attributes = { T: typeOf(x), Tpaddings: INT32 };
    return emit.node(
      'PadV2',
      [x, around, emit.scalar(constantValue, x.dtype as 'float32' | 'int32')],
      attributes,
      shape,
      x.dtype,
    );
  }),
  GatherV2: rule<tf.GatherV2Inputs, tf.GatherV2Attrs>(({ x, indices }, { axis, batchDims }, emit) => {
    const [along] = tf.util.parseAxisParam(axis, x.shape) as [number];
    const shape = [...x.shape.slice(0, along), ...indices.shape.slice(batchDims), ...x.shape.slice(along + 1)];
    const attributes = { batch_dims: { int: batchDims }, Tparams: typeOf(x), Tindices: INT32, Taxis: INT32 };
    return emit.node('GatherV2', [x, indices, emit.scalar(along, 'int32')], attributes, shape, x.dtype);
  }),
  UnsortedSegmentSum: rule<tf.UnsortedSegmentSumInputs, tf.UnsortedSegmentSumAttrs>(
    ({ x, segmentIds }, { numSegments }, emit) => {
      const attributes = { T: typeOf(x), Tindices: INT32, Tnumsegments: INT32 };
      const shape = [numSegments, ...x.shape.slice(segmentIds.shape.length)];
      return emit.node(
        'UnsortedSegmentSum',
        [x, segmentIds, emit.scalar(numSegments, 'int32')],
        attributes,
        shape,
        x.dtype,
      );
    },
  ),
  OneHot: rule<tf.OneHotInputs, tf.OneHotAttrs>(({ indices }, { dtype, depth, onValue, offValue }, emit) => {
    const [on, off] = [
      emit.scalar(onValue, dtype as 'float32' | 'int32'),
      emit.scalar(offValue, dtype as 'float32' | 'int32'),
    ];
    const attributes = { axis: { int: -1 }, T: elementType(dtype), TI: INT32 };
    return emit.node(
      'OneHot',
      [indices, emit.scalar(depth, 'int32'), on, off],
      attributes,
      [...indices.shape, depth],
      dtype,
    );
  }),
  Range: rule<object, tf.RangeAttrs>((_, { start, stop, step, dtype }, emit) => {
    const size = Math.max(0, Math.ceil((stop - start) / step));
    const bounds = [start, stop, step].map((bound) => emit.scalar(bound, dtype));
    return emit.node('Range', bounds, { Tidx: elementType(dtype) }, [size], dtype);
  }),
  Fill: rule<object, tf.FillAttrs>((_, { shape, value, dtype }, emit) => {
    const element = emit.scalar(value as number, dtype as 'float32' | 'int32');
    return emit.node('Fill', [emit.ints(shape), element], { T: elementType(dtype), index_type: INT32 }, shape, dtype);
  }),
};
