/**
 * A traced graph as an ONNX model: each of TensorFlow's operations by ONNX's that computes the same, from a table; one
 * that is not in it is refused by name. Field numbers: onnx/onnx.proto3; operations: ONNX's operator set 17. Only
 * float32 is written, and the whole numbers that shapes and indices are.
 */

import { bytesField, intField, message, textField } from '../protobuf.js';
import { TraceError } from './error.js';
import { type Attribute, type ConstantValue, type Graph, type Node, nodeOf, type Output, type Port } from './graph.js';

const OPSET = 17;
const IR_VERSION = 8;
/** TensorProto.DataType. */
const FLOAT = 1;
const INT64 = 7;

/** What a rule works with. */
interface Context {
  node: Node;
  /** The values of a constant of whole numbers. */
  ints(output: Output): number[];
  rank(output: Output): number;
  /** Adds a constant of whole numbers. @returns its name */
  addInts(values: readonly number[]): string;
  /** Adds an operation. @returns the name of its output */
  add(op: string, inputs: readonly string[], attributes?: Buffer[], outputs?: readonly string[]): string;
}

const intAttribute = (name: string, value: number): Buffer =>
  message([textField(1, name), intField(3, value), intField(20, 2)]);
const intsAttribute = (name: string, values: readonly number[]): Buffer =>
  message([textField(1, name), ...values.map((value) => intField(8, value)), intField(20, 7)]);

const isTrue = (attribute: Attribute | undefined): boolean =>
  attribute !== undefined && 'bool' in attribute && attribute.bool;

/** With the last two dimensions the other way round. */
function adjoint(context: Context, input: Output): string {
  const rank = context.rank(input);
  const perm = Array.from({ length: rank }, (_, i) => i);
  [perm[rank - 2], perm[rank - 1]] = [rank - 1, rank - 2];
  return context.add('Transpose', [input], [intsAttribute('perm', perm)]);
}

const same =
  (op: string) =>
  (context: Context): string =>
    context.add(op, context.node.inputs, [], [context.node.name]);

/** An end beyond every dimension. */
const AFTER_ALL = 2 ** 62;

/** Each adds its operations, the last with the node's own name as its output. */
const RULES: Record<string, (context: Context) => unknown> = {
  Identity: same('Identity'),
  AddV2: same('Add'),
  Sub: same('Sub'),
  Mul: same('Mul'),
  RealDiv: same('Div'),
  Erf: same('Erf'),
  Square: ({ node, add }) => add('Mul', [node.inputs[0] as string, node.inputs[0] as string], [], [node.name]),
  Rsqrt: ({ node, add }) => add('Reciprocal', [add('Sqrt', node.inputs)], [], [node.name]),
  Softmax: ({ node, add }) => add('Softmax', node.inputs, [intAttribute('axis', -1)], [node.name]),
  MatMul: ({ node: { inputs, attributes, name }, add }) =>
    add(
      'Gemm',
      inputs,
      [
        intAttribute('transA', isTrue(attributes.transpose_a) ? 1 : 0),
        intAttribute('transB', isTrue(attributes.transpose_b) ? 1 : 0),
      ],
      [name],
    ),
  BatchMatMulV2(context) {
    const { node, add } = context;
    const [a, b] = node.inputs as [string, string];
    const { adj_x: x, adj_y: y } = node.attributes;
    return add('MatMul', [isTrue(x) ? adjoint(context, a) : a, isTrue(y) ? adjoint(context, b) : b], [], [node.name]);
  },
  Reshape: ({ node: { inputs, name }, ints, add, addInts }) =>
    add('Reshape', [inputs[0] as string, addInts(ints(inputs[1] as string))], [], [name]),
  Tile: ({ node: { inputs, name }, ints, add, addInts }) =>
    add('Tile', [inputs[0] as string, addInts(ints(inputs[1] as string))], [], [name]),
  Transpose: ({ node: { inputs, name }, ints, add }) =>
    add('Transpose', [inputs[0] as string], [intsAttribute('perm', ints(inputs[1] as string))], [name]),
  Mean: ({ node: { inputs, attributes, name }, ints, add }) =>
    add(
      'ReduceMean',
      [inputs[0] as string],
      [
        intsAttribute('axes', ints(inputs[1] as string)),
        intAttribute('keepdims', isTrue(attributes.keep_dims) ? 1 : 0),
      ],
      [name],
    ),
  Slice({ node: { inputs, name }, ints, add, addInts }) {
    const begin = ints(inputs[1] as string);
    const ends = ints(inputs[2] as string).map((size, i) => (size < 0 ? AFTER_ALL : (begin[i] as number) + size));
    const axes = begin.map((_, i) => i);
    return add('Slice', [inputs[0] as string, addInts(begin), addInts(ends), addInts(axes)], [], [name]);
  },
  ConcatV2: ({ node: { inputs, name }, ints, add }) =>
    add('Concat', inputs.slice(0, -1), [intAttribute('axis', ints(inputs.at(-1) as string)[0] as number)], [name]),
  SplitV({ node: { inputs, name }, ints, add, addInts }) {
    const sizes = ints(inputs[1] as string);
    const axis = intAttribute('axis', ints(inputs[2] as string)[0] as number);
    const outputs = sizes.map((_, i) => (i === 0 ? name : `${name}:${i}`));
    return add('Split', [inputs[0] as string, addInts(sizes)], [axis], outputs);
  },
  GatherV2: ({ node: { inputs, name }, ints, add, addInts }) =>
    add(
      'Gather',
      [inputs[0] as string, addInts(ints(inputs[1] as string))],
      [intAttribute('axis', ints(inputs[2] as string)[0] as number)],
      [name],
    ),
};

/**
 * The bytes of a ModelProto.
 * @param ports placeholders of the graph as the model's inputs, and outputs
 * @param producer version of this program
 * @throws TraceError for an operation that is not in the table
 */
export function encodeOnnx(graph: Graph, ports: { inputs: Port[]; outputs: Port[] }, producer: string): Buffer {
  const initializers: Buffer[] = [];
  const nodes: Buffer[] = [];
  const ranks = new Map<Output, number>();
  let made = 0;
  const constant = (output: Output): ConstantValue | undefined => {
    const attribute = graph.nodes.get(nodeOf(output))?.attributes.value;
    return attribute !== undefined && 'value' in attribute ? attribute.value : undefined;
  };
  const ints = (output: Output): number[] => {
    const value = constant(output);
    if (value === undefined || value.type !== 'int32')
      throw new TraceError(`ONNX: ${output} is no constant of whole numbers`);
    const read = Array.from(
      new Int32Array(value.bytes.buffer.slice(value.bytes.byteOffset, value.bytes.byteOffset + value.bytes.byteLength)),
    );
    const count = value.shape.reduce((product, size) => product * size, 1);
    return read.length === count ? read : Array.from({ length: count }, () => read[0] as number);
  };
  const named = new Map([...ports.inputs, ...ports.outputs].map(({ name, output }) => [output, name]));
  const called = (output: Output): string => named.get(output) ?? output;
  const contextOf = (node: Node): Context => ({
    node,
    ints,
    rank(output) {
      const rank = ranks.get(output) ?? ranks.get(nodeOf(output));
      if (rank === undefined) throw new TraceError(`ONNX: nothing says how many dimensions ${output} has`);
      return rank;
    },
    addInts(values) {
      const name = `ints_${made++}`;
      const bytes = Buffer.from(BigInt64Array.from(values, BigInt).buffer);
      initializers.push(tensorOf(name, INT64, [values.length], bytes));
      return name;
    },
    add(op, inputs, attributes = [], outputs = [`${op}_${made++}`]) {
      nodes.push(
        message([
          ...inputs.map((input) => textField(1, called(input))),
          ...outputs.map((output) => textField(2, called(output))),
          textField(3, outputs[0] as string),
          textField(4, op),
          ...attributes.map((attribute) => bytesField(5, attribute)),
        ]),
      );
      return outputs[0] as string;
    },
  });
  for (const { output, shape } of ports.inputs) ranks.set(output, shape.length);
  for (const node of graph.nodes.values()) {
    if (node.op === 'Placeholder') continue;
    if (node.op === 'Const') {
      const value = constant(node.name) as ConstantValue;
      ranks.set(node.name, value.shape.length);
      if (value.type === 'float32') initializers.push(floats(node.name, value));
      continue;
    }
    const rule = RULES[node.op];
    if (rule === undefined) throw new TraceError(`ONNX: ${node.op} is not in the table of operations (onnx.ts)`);
    rule(contextOf(node));
    ranks.set(node.name, rankOf(node, ranks, ints));
  }
  const graphProto = message([
    ...nodes.map((node) => bytesField(1, node)),
    textField(2, 'gqa'),
    ...initializers.map((each) => bytesField(5, each)),
    ...ports.inputs.map((port) => bytesField(11, valueInfo(port))),
    ...ports.outputs.map((port) => bytesField(12, valueInfo(port))),
  ]);
  return message([
    intField(1, IR_VERSION),
    textField(2, 'gqa'),
    textField(3, producer),
    bytesField(7, graphProto),
    bytesField(8, message([textField(1, ''), intField(2, OPSET)])),
  ]);
}

/** Dimensions of what a node gives: of a reshape or transposition as they say, else as many as the largest input has. */
function rankOf(
  { op, inputs, attributes }: Node,
  ranks: Map<Output, number>,
  ints: (output: Output) => number[],
): number {
  if (op === 'Reshape' || op === 'Transpose') return ints(inputs[1] as string).length;
  const own = (
    op === 'ConcatV2' || op === 'SplitV' || op === 'GatherV2' || op === 'Mean' || op === 'Slice'
      ? inputs.slice(0, 1)
      : inputs
  ).map((input) => ranks.get(input) ?? ranks.get(nodeOf(input)) ?? 0);
  return Math.max(...own) - (op === 'Mean' && !isTrue(attributes.keep_dims) ? ints(inputs[1] as string).length : 0);
}

const tensorOf = (name: string, type: number, shape: readonly number[], raw: Buffer): Buffer =>
  message([...shape.map((size) => intField(1, size)), intField(2, type), textField(8, name), bytesField(9, raw)]);

/** One element alone stands for a tensor full of it. */
function floats(name: string, { shape, bytes }: ConstantValue): Buffer {
  const count = shape.reduce((product, size) => product * size, 1);
  const raw = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return tensorOf(
    name,
    FLOAT,
    shape,
    raw.length === 4 * count ? raw : Buffer.concat(Array.from({ length: count }, () => raw)),
  );
}

const valueInfo = ({ name, shape }: Port): Buffer => {
  const dims = message(shape.map((size) => bytesField(1, intField(1, size))));
  const tensorType = message([intField(1, FLOAT), bytesField(2, dims)]);
  return message([textField(1, name), bytesField(2, bytesField(1, tensorType))]);
};
