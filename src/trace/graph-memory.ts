/** Variables inside a graph: reads and changes become nodes, which order.ts puts in order. */
import * as tf from '@tensorflow/tfjs-core';
import { TraceError } from './error.js';
import { full, fusedType, low } from './fused.js';
import { type Attribute, addNode, type Output } from './graph.js';
import { type Access, asTensor, currentRecording, lowered, outputOf, type Recording } from './recorder.js';
import type { Memory, NameAndShape, Variable } from './variable.js';

export const graphMemory: Memory = {
  read(target) {
    const recording = currentRecording();
    const resource = handle(recording, target);
    let value = recording.values.get(target.name);
    if (value === undefined) {
      value = addNode(recording.graph, recording.scope, 'ReadVariableOp', [resource], { dtype: FLOAT });
      touch(recording, target, { kind: 'read', node: value });
      recording.values.set(target.name, value);
      if (hasTwin(recording, target)) {
        const twin = twinOf(target);
        const inputs = [handle(recording, twin, LOW)];
        const low = addNode(recording.graph, recording.scope, 'ReadVariableOp', inputs, { dtype: LOW });
        touch(recording, twin, { kind: 'read', node: low });
        recording.lowered.set(value, low);
      }
    }
    return asTensor(value, target.shape, 'float32');
  },
  assign(target, value) {
    const recording = currentRecording();
    change(target, 'AssignVariableOp', value);
    recording.values.set(target.name, outputOf(value));
    if (!hasTwin(recording, target)) return;
    const twin = twinOf(target);
    const inputs = [handle(recording, twin, LOW), lowered(recording, outputOf(value))];
    const node = addNode(recording.graph, recording.scope, 'AssignVariableOp', inputs, { dtype: LOW });
    touch(recording, twin, { kind: 'update', node });
  },
  assignAdd(target, value) {
    requireNoTwin(target);
    change(target, 'AssignAddVariableOp', value);
    currentRecording().values.delete(target.name); // the next read asks the variable
  },
  subtractScaled(target, rate, difference) {
    requireNoTwin(target);
    const recording = currentRecording();
    const inputs = [handle(recording, target), outputOf(rate), outputOf(difference)];
    const node = addNode(recording.graph, recording.scope, 'ResourceApplyGradientDescent', inputs, { T: FLOAT });
    touch(recording, target, { kind: 'update', node });
    recording.values.delete(target.name);
  },
};

/** Arguments of TensorFlow's fused Adam kernel, scalars but for the gradient. */
export interface AdamStep {
  first: Variable;
  second: Variable;
  /** The first moment is multiplied by this and divided by √second + epsilon, then subtracted. */
  stepSize: tf.Tensor;
  epsilon: tf.Tensor;
  beta1: tf.Tensor;
  beta2: tf.Tensor;
  gradient: tf.Tensor;
}

/**
 * One step of Adam in TensorFlow's fused kernel, which changes the variable and both moments in place:
 * first ← β₁·first + (1 − β₁)·g; second ← β₂·second + (1 − β₂)·g²; variable ← variable − stepSize · first / (√second +
 * epsilon). Corrections of the bias are left to the caller, who puts them into `stepSize` and `epsilon`.
 */
export function applyAdam(
  target: Variable,
  { first, second, stepSize, epsilon, beta1, beta2, gradient }: AdamStep,
): void {
  const recording = currentRecording();
  const moved = [target, first, second];
  const zero = outputOf(tf.scalar(0)); // β₁ᵗ and β₂ᵗ as they are after endless steps: the kernel's own correction is 1
  const inputs = [zero, zero, ...[stepSize, beta1, beta2, epsilon, gradient].map(outputOf)];
  const handles = moved.map((each) => handle(recording, each));
  const node = addNode(recording.graph, recording.scope, 'ResourceApplyAdam', [...handles, ...inputs], { T: FLOAT });
  for (const each of moved) {
    touch(recording, each, { kind: 'update', node });
    recording.values.delete(each.name); // the next read asks the variable
  }
}

/**
 * One step of AdamW in the fused operation (native/fused/): decay, the gradient's factor and the moving average in the
 * same pass over memory.
 * @param moved parameter, first and second moment, and the average where there is one
 * @param step  [7]: keep, step size, β₁, β₂, epsilon, the gradient's factor, the average's weight
 */
export function applyFusedAdamW(moved: readonly Variable[], gradient: tf.Tensor, step: tf.Tensor): void {
  const recording = currentRecording();
  const [target, , , average] = moved as [Variable, Variable, Variable, Variable?];
  const twins = [target, ...(average === undefined ? [] : [average])]
    .filter((each) => hasTwin(recording, each))
    .map(twinOf);
  const inputs = [
    ...moved.map((each) => handle(recording, each)),
    ...twins.map((each) => handle(recording, each, LOW)),
    ...[low(gradient), full(step)],
  ];
  const node = addNode(recording.graph, recording.scope, 'GqaAdamW', inputs, {
    ...{ T: fusedType(), A: { int: moved.length - 3 }, W: { int: twins.length } },
  });
  for (const each of [...moved, ...twins]) {
    touch(recording, each, { kind: 'update', node });
    recording.values.delete(each.name); // the next read asks the variable
  }
}

/** The same numbers in bfloat16, kept beside a variable that products read. */
const twinOf = ({ name, shape }: NameAndShape): NameAndShape => ({ name: `${name}/low`, shape, inProducts: false });
const hasTwin = ({ fused, precision }: Recording, { inProducts }: NameAndShape): boolean =>
  inProducts && fused && precision === 'bfloat16';

function requireNoTwin(target: NameAndShape): void {
  if (hasTwin(currentRecording(), target))
    throw new TraceError(`${target.name} is kept in bfloat16 too, and can be assigned or moved by AdamW only`);
}

/** An operation that puts a value of the variable's own shape into it. */
function change(target: NameAndShape, op: 'AssignVariableOp' | 'AssignAddVariableOp', value: tf.Tensor): void {
  const recording = currentRecording();
  const node = addNode(recording.graph, recording.scope, op, [handle(recording, target), outputOf(value)], {
    dtype: FLOAT,
  });
  touch(recording, target, { kind: 'update', node });
}

const FLOAT: Attribute = { type: 'float32' };
const LOW: Attribute = { type: 'bfloat16' };

/** The variable's one handle, shared by all functions. */
function handle({ graph }: Recording, { name, shape }: NameAndShape, dtype = FLOAT): Output {
  const node = graph.nodes.get(`.variables/${name}`);
  if (node === undefined) {
    const attributes: Record<string, Attribute> = { dtype, shape: { shape }, shared_name: { text: name } };
    return addNode(graph, '.variables', 'VarHandleOp', [], attributes, name);
  }
  if (`${(node.attributes.shape as { shape: number[] }).shape}` !== `${shape}`) {
    throw new TraceError(`two variables of different shapes are named ${name}`);
  }
  return node.name;
}

function touch({ accesses }: Recording, { name }: NameAndShape, access: Access): void {
  const list = accesses.get(name);
  if (list === undefined) accesses.set(name, [access]);
  else list.push(access);
}
