import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeSafetensors, openSafetensors, readTensor } from '../../src/checkpoint/safetensors.js';
import { GqaError } from '../../src/errors.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'gqa-safetensors-'));

function fileOf(bytes: Buffer): string {
  const file = path.join(folder, `${fs.readdirSync(folder).length}.safetensors`);
  fs.writeFileSync(file, bytes);
  return file;
}

/** A file with this header text, as it stands, and this many bytes behind it. */
function fileWith(header: string | Buffer, dataBytes: number, declared = BigInt(Buffer.from(header).length)): string {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(declared);
  return fileOf(Buffer.concat([length, Buffer.from(header), Buffer.alloc(dataBytes)]));
}

test('what is written is read back, names, shapes, values and metadata', () => {
  const file = fileOf(
    encodeSafetensors(
      {
        'blocks.0.a': { shape: [2, 3], data: Float32Array.of(1, -2, 3.5, 0, 1e-20, 6) },
        labels: { shape: [2], data: Int32Array.of(7, -9) },
      },
      { format: 'pt' },
    ),
  );
  const opened = openSafetensors(file);
  assert.deepEqual({ ...opened.metadata }, { format: 'pt' });
  assert.deepEqual(opened.tensors.get('blocks.0.a')?.shape, [2, 3]);
  assert.deepEqual([...readTensor(opened, 'blocks.0.a')], [...Float32Array.of(1, -2, 3.5, 0, 1e-20, 6)]);
  assert.deepEqual([...readTensor(opened, 'labels')], [7, -9]);
});

test('half, bfloat16, double and integer tensors are converted to float32', () => {
  const header = JSON.stringify({
    h: { dtype: 'F16', shape: [4], data_offsets: [0, 8] },
    b: { dtype: 'BF16', shape: [2], data_offsets: [8, 12] },
    d: { dtype: 'F64', shape: [1], data_offsets: [12, 20] },
    i: { dtype: 'I64', shape: [1], data_offsets: [20, 28] },
  });
  const data = Buffer.alloc(28);
  // 1, −5, the smallest subnormal and ∞ in half precision, then 1 and −123.5 in bfloat16
  for (const [i, bits] of [0x3c00, 0xc500, 0x0001, 0x7c00, 0x3f80, 0xc2f7].entries()) data.writeUInt16LE(bits, 2 * i);
  data.writeDoubleLE(0.1, 12);
  data.writeBigInt64LE(-41n, 20);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const opened = openSafetensors(fileOf(Buffer.concat([length, Buffer.from(header), data])));
  assert.deepEqual([...readTensor(opened, 'h')], [1, -5, 2 ** -24, Number.POSITIVE_INFINITY]);
  assert.deepEqual([...readTensor(opened, 'b')], [1, -123.5]);
  assert.deepEqual([...readTensor(opened, 'd')], [Math.fround(0.1)]);
  assert.deepEqual([...readTensor(opened, 'i')], [-41]);
});

const entry = (dtype: string, shape: unknown, offsets: unknown): string => JSON.stringify({ dtype, shape, data_offsets: offsets });

const lies: [what: string, file: () => string, message: RegExp][] = [
  ['is missing', () => path.join(folder, 'nowhere'), /cannot be opened \(ENOENT\)/],
  ['is empty', () => fileOf(Buffer.alloc(0)), /it has 0 bytes/],
  ['is shorter than its header', () => fileWith('{}', 0, 500n), /header should have 500 bytes, but only 2 follow/],
  ['claims a header of 2^63 bytes', () => fileWith('{}', 0, 2n ** 63n), /more than the format allows/],
  ['has no JSON in its header', () => fileWith('{"a":', 0), /is not JSON/],
  ['has a header that is not an object', () => fileWith('[1]', 0), /does not begin with \{/],
  ['has a header that is not UTF-8', () => fileWith(Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), 0), /not UTF-8/],
  ['is a pickle', () => fileOf(Buffer.from('PK\u0003\u0004archive/data.pkl and more')), /more than the format allows/],
  ['names a tensor twice', () => fileWith(`{"a":${entry('F32', [1], [0, 4])},"a":${entry('F32', [1], [0, 4])}}`, 4), /names a twice/],
  ['has an unknown dtype', () => fileWith(`{"a":${entry('F8', [1], [0, 1])}}`, 1), /entry of tensor a: dtype/],
  ['has a negative size', () => fileWith(`{"a":${entry('F32', [-1], [0, 4])}}`, 4), /entry of tensor a: shape/],
  [
    'has offsets that do not match its shape',
    () => fileWith(`{"a":${entry('F32', [3], [0, 8])}}`, 8),
    /needs 12 bytes, its offsets 0–8 hold 8/,
  ],
  ['has a shape whose product overflows', () => fileWith(`{"a":${entry('F32', [2 ** 40, 2 ** 40], [0, 0])}}`, 0), /needs .* bytes/],
  ['has a gap', () => fileWith(`{"a":${entry('F32', [1], [0, 4])},"b":${entry('F32', [1], [8, 12])}}`, 12), /overlap or gap/],
  ['has overlapping tensors', () => fileWith(`{"a":${entry('F32', [2], [0, 8])},"b":${entry('F32', [1], [4, 8])}}`, 8), /overlap or gap/],
  ['is cut short', () => fileWith(`{"a":${entry('F32', [4], [0, 16])}}`, 10), /cut short/],
  ['has bytes behind its tensors', () => fileWith(`{"a":${entry('F32', [1], [0, 4])}}`, 9), /its tensors end at byte \d+, the file at/],
  ['has metadata that is not text', () => fileWith('{"__metadata__":{"a":1}}', 0), /__metadata__/],
];

for (const [what, file, message] of lies) {
  test(`a file that ${what} is refused`, () => {
    assert.throws(
      () => openSafetensors(file()),
      (error) => error instanceof GqaError && error.code === 'io' && message.test(error.message),
    );
  });
}

test('a file changed at any one byte of its header is refused or describes tensors within the file', () => {
  const good = encodeSafetensors({ a: { shape: [2, 2], data: new Float32Array(4) }, b: { shape: [3], data: new Float32Array(3) } });
  const headerEnd = 8 + Number(good.readBigUInt64LE(0));
  for (let at = 0; at < headerEnd; at++) {
    for (const flip of [1, 0x10, 0x80]) {
      const bytes = Buffer.from(good);
      bytes[at] = (bytes[at] as number) ^ flip;
      const file = path.join(folder, 'fuzz.safetensors');
      fs.writeFileSync(file, bytes);
      try {
        for (const { begin, end } of openSafetensors(file).tensors.values()) assert.ok(begin >= headerEnd && end <= bytes.length);
      } catch (error) {
        assert.ok(error instanceof GqaError, String(error));
      }
    }
  }
});
