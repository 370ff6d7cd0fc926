/**
 * A TensorFlow graph under construction: nodes in the order in which they were recorded, and constants of which each is
 * there once.
 */
import { createHash } from 'node:crypto';

/**
 * Element types of tensors inside a graph: those of TensorFlow.js, and those that only pass through a few operations.
 */
export type ElementType = 'float32' | 'int32' | 'bool' | 'uint8' | 'uint32' | 'uint64' | 'bfloat16' | 'float16';

export interface ConstantValue {
  type: ElementType;
  shape: readonly number[];
  /** The elements, little-endian; one element alone stands for a tensor full of it. */
  bytes: Uint8Array;
}

export type Attribute =
  | { type: ElementType }
  | { bool: boolean }
  | { int: number }
  | { float: number }
  | { text: string }
  | { shape: readonly number[] }
  | { value: ConstantValue };

/** One output of a node: `name` for the first, `name:1` for the second, … */
export type Output = string;

/** An input or output of a graph that others run. */
export interface Port {
  name: string;
  output: Output;
  shape: readonly number[];
}

export interface Node {
  name: string;
  op: string;
  inputs: Output[];
  /** Names of nodes that must have run before. */
  after: string[];
  attributes: Record<string, Attribute>;
}

export interface Graph {
  nodes: Map<string, Node>;
  constants: Map<string, Output>;
}

export const emptyGraph = (): Graph => ({ nodes: new Map(), constants: new Map() });

export const nodeOf = (output: Output): string => output.replace(/:\d+$/, '');

/**
 * @param scope the function's name, which goes before the node's; what is common to all functions has a scope that
 *   begins with a dot
 * @param name  made from the operation and a number when left out
 */
export function addNode(
  graph: Graph,
  scope: string,
  op: string,
  inputs: Output[],
  attributes: Record<string, Attribute>,
  name = `${op}_${graph.nodes.size}`,
): Output {
  const full = `${scope}/${name}`;
  if (graph.nodes.has(full)) throw new Error(`the graph has a node ${full} already`);
  graph.nodes.set(full, { name: full, op, inputs, after: [], attributes });
  return full;
}

/** Types for which TensorFlow's messages can say one element for all. */
const ELEMENT_BYTES: Partial<Record<ElementType, number>> = { float32: 4, int32: 4, bool: 1 };

/** The one `Const` node of these elements; a tensor of equal elements is kept as one element. */
export function addConstant(graph: Graph, type: ElementType, shape: readonly number[], bytes: Uint8Array): Output {
  const size = ELEMENT_BYTES[type] ?? 0;
  const kept = size > 0 && allEqual(bytes, size) ? bytes.slice(0, size) : bytes.slice();
  const content =
    kept.length <= 64 ? Buffer.from(kept).toString('hex') : createHash('sha256').update(kept).digest('hex');
  const key = `${type} [${shape}] ${content}`;
  let output = graph.constants.get(key);
  if (output === undefined) {
    const attributes: Node['attributes'] = { dtype: { type }, value: { value: { type, shape, bytes: kept } } };
    output = addNode(graph, '.constants', 'Const', [], attributes, String(graph.constants.size));
    graph.constants.set(key, output);
  }
  return output;
}

function allEqual(bytes: Uint8Array, size: number): boolean {
  for (let i = size; i < bytes.length; i++) if (bytes[i] !== bytes[i - size]) return false;
  return true;
}
