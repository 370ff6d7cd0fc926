/** What of a RunMetadata message is taken: on a CPU operations are in the label, on a GPU at the end of the name. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesField, intField, message, textField } from '../../src/protobuf.js';
import { operationsOf } from '../../src/trace/profile.js';

test('kinds of operations: as a CPU labels them, as an H100 named them', () => {
  const node = (name: string, label: string, start: number): Buffer =>
    message([textField(1, name), intField(2, start), intField(4, 7), textField(8, label)]);
  const cpu = node('train/MatMul_3', 'train/MatMul_3 = _MklMatMul(a, b)', 1005);
  const gpu = node('train/Equal_580/_259:_Recv', '', 1000);
  const device = message([cpu, gpu].map((each) => bytesField(2, each)));
  const found = operationsOf(bytesField(1, bytesField(1, device)));
  assert.deepEqual(
    found.map(({ op, start, duration }) => [op, start, duration]),
    [
      ['_MklMatMul', 5, 7],
      ['_Recv', 0, 7],
    ],
  );
});
