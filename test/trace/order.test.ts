/**
 * Control inputs: reads and updates in the order of the function, and nothing that is not needed. Recording needs no
 * native runtime.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { startBackend } from '../../src/native/backend.js';
import { emptyGraph, type Node } from '../../src/trace/graph.js';
import { applyAdam } from '../../src/trace/graph-memory.js';
import { ordered } from '../../src/trace/order.js';
import { emptyRecording, outputOf, record } from '../../src/trace/recorder.js';
import { variable } from '../../src/trace/variable.js';

await startBackend('auto');

/** Records `body`, whose result is the function's only output. */
function recorded(body: () => tf.Tensor): { last: string[]; only: (op: string) => Node } {
  const recording = emptyRecording(emptyGraph(), 'f', { precision: 'float32', fused: false, openblas: false });
  const last = record(recording, () => ordered(recording, [outputOf(body())]));
  const only = (op: string): Node => {
    const found = [...recording.graph.nodes.values()].filter((node) => node.op === op);
    assert.equal(found.length, 1, `${op} is there ${found.length} times`);
    return found[0] as Node;
  };
  return { last, only };
}

const names = (...nodes: Node[]): string[] => nodes.map(({ name }) => name).sort();

test('a variable is read by one node; its update waits for all that read it, also through a reshape, and not for what nothing needs', () => {
  const w = variable('w', [4]);
  const { only, last } = recorded(() => {
    const result = tf.add(tf.exp(w.read()), tf.sum(tf.neg(tf.reshape(w.read(), [2, 2]))));
    tf.sin(w.read());
    w.assign(tf.tensor1d([1, 2, 3, 4]));
    return result;
  });
  const assign = only('AssignVariableOp');
  assert.deepEqual(assign.after.sort(), names(only('ReadVariableOp'), only('Exp'), only('Reshape'), only('Neg')));
  assert.deepEqual(last, [assign.name]);
});

test('a new value computed from the old one is computed after everything else has read that', () => {
  const w = variable('w', [4]);
  const { only } = recorded(() => {
    const result = tf.exp(w.read());
    w.assign(tf.square(w.read()));
    return result;
  });
  assert.deepEqual(only('Square').after, [only('Exp').name]);
});

test('what reads a variable after a fused update waits for it, and the next update for what read in between', () => {
  const [w, m, v] = [variable('w', [4]), variable('m', [4]), variable('v', [4])];
  const { only, last } = recorded(() => {
    const scalars = { stepSize: tf.scalar(1), epsilon: tf.scalar(1), beta1: tf.scalar(0.5), beta2: tf.scalar(0.5) };
    applyAdam(w, { first: m, second: v, ...scalars, gradient: tf.tensor1d([1, 2, 3, 4]) });
    const result = tf.exp(w.read());
    w.assign(tf.zeros([4]));
    return result;
  });
  const [adam, read, assign] = [only('ResourceApplyAdam'), only('ReadVariableOp'), only('AssignVariableOp')];
  assert.deepEqual(read.after, [adam.name]);
  assert.deepEqual(assign.after.sort(), names(adam, only('Exp'), read));
  assert.deepEqual(last.sort(), names(adam, assign));
});

test('a reader recorded after the update is not waited for, which would be a cycle', () => {
  const w = variable('w', [4]);
  const { only } = recorded(() => {
    const old = w.read();
    w.assign(tf.zeros([4]));
    return tf.exp(old);
  });
  assert.deepEqual(only('AssignVariableOp').after, [only('ReadVariableOp').name]);
});
