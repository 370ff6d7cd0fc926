/**
 * Writes a graph as the SavedModel message of TensorFlow, in protobuf's wire format: a tag (field number and wire type)
 * before each value, messages inside messages by their length. Only the fields that loading a session needs. Field
 * numbers: tensorflow/core/protobuf/{saved_model,meta_graph}.proto and tensorflow/core/framework/*.proto.
 */
import type { Attribute, ConstantValue, ElementType, Graph, Node } from './graph.js';

/** DataType in types.proto. */
const DATA_TYPES: Record<ElementType, number> = {
  float32: 1,
  int32: 3,
  uint8: 4,
  bool: 10,
  bfloat16: 14,
  float16: 19,
  uint32: 22,
  uint64: 23,
};

/** The version of the graph format that TensorFlow 2.18 writes. */
const PRODUCER = 1882;

/** The tag under which the graph is loaded. */
export const TAG = 'serve';

export function encodeSavedModel(graph: Graph): Buffer {
  const graphDef = message([
    ...[...graph.nodes.values()].map((node) => bytesField(1, nodeDef(node))),
    bytesField(4, intField(1, PRODUCER)),
  ]);
  const metaInfo = textField(4, TAG);
  const metaGraph = message([bytesField(1, metaInfo), bytesField(2, graphDef)]);
  return message([intField(1, 1), bytesField(2, metaGraph)]);
}

function nodeDef(node: Node): Buffer {
  return message([
    textField(1, node.name),
    textField(2, node.op),
    ...node.inputs.map((input) => textField(3, input)),
    ...node.after.map((name) => textField(3, `^${name}`)),
    ...Object.entries(node.attributes).map(([name, value]) =>
      bytesField(5, message([textField(1, name), bytesField(2, attrValue(value))])),
    ),
  ]);
}

function attrValue(attribute: Attribute): Buffer {
  if ('text' in attribute) return textField(2, attribute.text);
  if ('int' in attribute) return intField(3, attribute.int);
  if ('bool' in attribute) return intField(5, attribute.bool ? 1 : 0);
  if ('type' in attribute) return intField(6, DATA_TYPES[attribute.type]);
  if ('shape' in attribute) return bytesField(7, tensorShape(attribute.shape));
  return bytesField(8, tensor(attribute.value));
}

const tensorShape = (shape: readonly number[]): Buffer =>
  message(shape.map((size) => bytesField(2, intField(1, size))));

/**
 * A value for each element as raw bytes (field 4), or one value for all in the typed field, which is repeated to fill
 * the shape.
 */
function tensor({ type, shape, bytes }: ConstantValue): Buffer {
  const head = [intField(1, DATA_TYPES[type]), bytesField(2, tensorShape(shape))];
  const elements = shape.reduce((product, size) => product * size, 1);
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (elements > 1 && bytes.length <= 4) {
    if (type === 'float32') return message([...head, bytesField(5, buffer)]);
    if (type === 'int32') return message([...head, intField(7, buffer.readInt32LE())]);
    if (type === 'bool') return message([...head, intField(11, buffer.readUInt8())]);
  }
  return message([...head, bytesField(4, buffer)]);
}

const message = (fields: Buffer[]): Buffer => Buffer.concat(fields);
const textField = (field: number, text: string): Buffer => bytesField(field, Buffer.from(text));
const intField = (field: number, value: number): Buffer => Buffer.from([...varint(field << 3), ...varint(value)]);
const bytesField = (field: number, bytes: Buffer): Buffer =>
  Buffer.concat([Buffer.from([...varint((field << 3) | 2), ...varint(bytes.length)]), bytes]);

/** Seven bits a byte, the lowest first; negative numbers as 64-bit two's complement. */
function varint(value: number): number[] {
  const out: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  if (value >= 0 && value < 128) return [value];
  for (; rest >= 128n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
  out.push(Number(rest));
  return out;
}
