/**
 * What is left to say when a function is recorded: nodes that nothing needs go, and reads and updates of variables are
 * put in the order in which the function made them. TensorFlow runs nodes in any order that their inputs allow, so a
 * read that must see an update waits for it, and an update waits for everything that still reads the old value: it then
 * finds nobody else holding the variable's memory, and changes it in place.
 */
import { type Graph, type Node, nodeOf, type Output } from './graph.js';
import type { Access, Recording } from './recorder.js';

/**
 * @param outputs what the function returns
 * @returns the nodes that must have run when a call is done, besides those of the outputs: each variable's last update
 */
export function ordered({ graph, scope, accesses }: Recording, outputs: Output[]): string[] {
  const updates = [...accesses.values()].flatMap((list) =>
    list.filter(({ kind }) => kind === 'update').map(({ node }) => node),
  );
  const live = reachable(graph, [...outputs, ...updates]);
  for (const name of graph.nodes.keys()) if (name.startsWith(`${scope}/`) && !live.has(name)) graph.nodes.delete(name);
  const position = new Map([...graph.nodes.keys()].map((name, i) => [name, i]));
  const readers = readersOf(graph, live);
  for (const list of accesses.values()) sequence(graph, list, readers, position);
  return [
    ...new Set([...accesses.values()].flatMap((list) => list.findLast(({ kind }) => kind === 'update')?.node ?? [])),
  ];
}

/** Everything that the roots need. */
function reachable(graph: Graph, roots: Output[]): Set<string> {
  const found = new Set<string>();
  const open = roots.map(nodeOf);
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (found.has(name)) continue;
    found.add(name);
    const node = graph.nodes.get(name);
    open.push(...(node?.inputs ?? []).map(nodeOf), ...(node?.after ?? []));
  }
  return found;
}

/** Operations whose outputs can be their input's memory under another shape. */
const VIEWS = new Set(['Reshape', 'Identity', 'Unpack']);

type Readers = (name: string) => string[];

/** For a node: the nodes that read its output, also through views. */
function readersOf(graph: Graph, live: Set<string>): Readers {
  const direct = new Map<string, Node[]>();
  for (const name of live) {
    const node = graph.nodes.get(name) as Node;
    for (const input of new Set(node.inputs.map(nodeOf))) direct.set(input, [...(direct.get(input) ?? []), node]);
  }
  const readers: Readers = (name) =>
    (direct.get(name) ?? []).flatMap((node) => (VIEWS.has(node.op) ? [node.name, ...readers(node.name)] : [node.name]));
  return readers;
}

/** Control inputs only ever point backwards in the order of recording, so there is no cycle. */
function sequence(graph: Graph, accesses: Access[], readers: Readers, position: Map<string, number>): void {
  const isBefore = (one: string, other: string): boolean =>
    (position.get(one) as number) < (position.get(other) as number);
  let reads: string[] = [];
  let updated: string | null = null;
  for (const { kind, node: name } of accesses) {
    const node = graph.nodes.get(name);
    if (node === undefined) continue; // a read that nothing needs
    if (kind === 'read') {
      if (updated !== null) node.after.push(updated);
      reads.push(name);
      continue;
    }
    const others = reads.flatMap((read) => [read, ...readers(read)]);
    if (updated !== null) others.push(updated);
    const early = computesUpdate(graph, node, reads, readers);
    for (const other of others) {
      if (early !== null && isBefore(other, early.name)) runAfter(early, other);
      else if (isBefore(other, name)) runAfter(node, other);
    }
    reads = [];
    updated = name;
  }
}

function runAfter(node: Node, other: string): void {
  if (!node.after.includes(other) && !node.inputs.some((input) => nodeOf(input) === other)) node.after.push(other);
}

/**
 * Where an assigned value is computed from the old one, and for this alone (`w.assign(tf.mul(w.read(), keep))`), that
 * computation: it has to wait too. Otherwise all new values could be computed at the very beginning of a call, and lie
 * in memory beside the old ones until its end.
 */
function computesUpdate(graph: Graph, { name, op, inputs }: Node, reads: string[], readers: Readers): Node | null {
  const value = op === 'AssignVariableOp' ? graph.nodes.get(nodeOf(inputs[1] as Output)) : undefined;
  if (value === undefined || !value.inputs.some((input) => reads.includes(nodeOf(input)))) return null;
  return readers(value.name).every((reader) => reader === name) ? value : null;
}
