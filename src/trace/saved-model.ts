/**
 * Writes a graph as the SavedModel message of TensorFlow. Only the fields that loading a session needs, and the
 * signature by which others find inputs and outputs. Field numbers: tensorflow/core/protobuf/{saved_model,meta_graph}.proto and tensorflow/core/framework/*.proto.
 */

import { bytesField, floatField, intField, message, textField } from '../protobuf.js';
import type { Attribute, ConstantValue, ElementType, Graph, Node, Port } from './graph.js';

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

/** @param signature by which Python's `tf.saved_model.load` offers the graph; a session needs none */
export function encodeSavedModel(graph: Graph, signature?: { inputs: Port[]; outputs: Port[] }): Buffer {
  const graphDef = message([
    ...[...graph.nodes.values()].map((node) => bytesField(1, nodeDef(node))),
    bytesField(4, intField(1, PRODUCER)),
  ]);
  const metaInfo = textField(4, TAG);
  const metaGraph = message([
    bytesField(1, metaInfo),
    bytesField(2, graphDef),
    ...(signature === undefined ? [] : [bytesField(5, signatureEntry(signature))]),
  ]);
  return message([intField(1, 1), bytesField(2, metaGraph)]);
}

/** The entry `serving_default` of the signatures. */
function signatureEntry({ inputs, outputs }: { inputs: Port[]; outputs: Port[] }): Buffer {
  const info = ({ name, output, shape }: Port): Buffer =>
    message([
      textField(1, name),
      bytesField(
        2,
        message([textField(1, `${output}:0`), intField(2, DATA_TYPES.float32), bytesField(3, tensorShape(shape))]),
      ),
    ]);
  const definition = message([
    ...inputs.map((port) => bytesField(1, info(port))),
    ...outputs.map((port) => bytesField(2, info(port))),
    textField(3, 'tensorflow/serving/predict'),
  ]);
  return message([textField(1, 'serving_default'), bytesField(2, definition)]);
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
  if ('float' in attribute) return floatField(4, attribute.float);
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
