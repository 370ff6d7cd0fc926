import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { openSafetensors, readTensor } from '../../src/checkpoint/safetensors.js';
import { encodeSafetensors } from '../../src/checkpoint/write-safetensors.js';
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

const entry = (dtype: string, shape: unknown, offsets: unknown): string =>
  JSON.stringify({ dtype, shape, data_offsets: offsets });

const lies: [what: string, file: () => string, message: RegExp][] = [
  ['is missing', () => path.join(folder, 'nowhere'), /cannot be opened \(ENOENT\)/],
  ['is empty', () => fileOf(Buffer.alloc(0)), /is an empty file/],
  ['has seven bytes', () => fileOf(Buffer.from([1, 2, 3, 4, 5, 6, 0])), /it has 7 bytes/],
  ['is shorter than its header', () => fileWith('{}', 0, 500n), /header should have 500 bytes, but only 2 follow/],
  ['claims a header of 2^63 bytes', () => fileWith('{}', 0, 2n ** 63n), /more than the format allows/],
  ['has no JSON in its header', () => fileWith('{"a":', 0), /is not JSON/],
  ['has a header that is not an object', () => fileWith('[1]', 0), /does not begin with \{/],
  ['has a header that is not UTF-8', () => fileWith(Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), 0), /not UTF-8/],
  [
    'names a tensor twice',
    () => fileWith(`{"a":${entry('F32', [1], [0, 4])},"a":${entry('F32', [1], [0, 4])}}`, 4),
    /names a twice/,
  ],
  ['has an unknown dtype', () => fileWith(`{"a":${entry('F8', [1], [0, 1])}}`, 1), /entry of tensor a: dtype/],
  ['has a negative size', () => fileWith(`{"a":${entry('F32', [-1], [0, 4])}}`, 4), /entry of tensor a: shape/],
  [
    'has offsets that do not match its shape',
    () => fileWith(`{"a":${entry('F32', [3], [0, 8])}}`, 8),
    /needs 12 bytes, its offsets 0–8 hold 8/,
  ],
  [
    'has a shape whose product overflows',
    () => fileWith(`{"a":${entry('F32', [2 ** 40, 2 ** 40], [0, 0])}}`, 0),
    /needs .* bytes/,
  ],
  [
    'has a gap',
    () => fileWith(`{"a":${entry('F32', [1], [0, 4])},"b":${entry('F32', [1], [8, 12])}}`, 12),
    /overlap or gap/,
  ],
  [
    'has overlapping tensors',
    () => fileWith(`{"a":${entry('F32', [2], [0, 8])},"b":${entry('F32', [1], [4, 8])}}`, 8),
    /overlap or gap/,
  ],
  ['is cut short', () => fileWith(`{"a":${entry('F32', [4], [0, 16])}}`, 10), /cut short/],
  [
    'has bytes behind its tensors',
    () => fileWith(`{"a":${entry('F32', [1], [0, 4])}}`, 9),
    /its tensors end at byte \d+, the file at/,
  ],
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

test('every kind of number of the format is described; what is not read is refused only when it is asked for', () => {
  const bits = {
    BOOL: 8,
    F4: 4,
    F6_E2M3: 6,
    F6_E3M2: 6,
    F8_E5M2: 8,
    F8_E4M3: 8,
    F8_E8M0: 8,
    F8_E4M3FNUZ: 8,
    F8_E5M2FNUZ: 8,
    C64: 64,
    U16: 16,
    U32: 32,
    U64: 64,
  };
  let offset = 4;
  const header: Record<string, unknown> = { good: { dtype: 'F32', shape: [1], data_offsets: [0, 4] } };
  for (const [dtype, size] of Object.entries(bits)) {
    header[dtype] = { dtype, shape: [4], data_offsets: [offset, offset + size / 2] };
    offset += size / 2;
  }
  const opened = openSafetensors(fileWith(JSON.stringify(header), offset));
  assert.deepEqual([...opened.tensors.keys()], ['good', ...Object.keys(bits)]);
  assert.deepEqual([...readTensor(opened, 'good')], [0]);
  for (const dtype of ['F4', 'F8_E4M3', 'C64'])
    assert.throws(() => readTensor(opened, dtype), new RegExp(`tensor ${dtype} is ${dtype}, which gqa does not read`));
  for (const dtype of ['U16', 'U32', 'U64', 'BOOL']) assert.deepEqual([...readTensor(opened, dtype)], [0, 0, 0, 0]);
});

test('a number that float32 cannot hold is refused, not rounded', () => {
  const opened = (dtype: string, write: (bytes: Buffer) => unknown): (() => Float32Array) => {
    const bytes = Buffer.alloc(8);
    write(bytes);
    const width = /64/.test(dtype) ? 8 : 4;
    const file = fileWith(`{"a":${entry(dtype, [1], [0, width])}}`, 0);
    fs.appendFileSync(file, bytes.subarray(0, width));
    return () => readTensor(openSafetensors(file), 'a');
  };
  for (const [dtype, write, message] of [
    ['I32', (bytes: Buffer) => bytes.writeInt32LE(2 ** 24 + 1), /holds 16777217, which float32 cannot hold/],
    ['U32', (bytes: Buffer) => bytes.writeUInt32LE(2 ** 32 - 1), /holds 4294967295/],
    ['I64', (bytes: Buffer) => bytes.writeBigInt64LE(-(2n ** 53n) - 1n), /holds -9007199254740993/],
    ['U64', (bytes: Buffer) => bytes.writeBigUInt64LE(2n ** 64n - 1n), /holds 18446744073709551615/],
    ['F64', (bytes: Buffer) => bytes.writeDoubleLE(1e39), /holds 1e\+39/],
  ] as const)
    assert.throws(opened(dtype, write), message);
  assert.deepEqual([...opened('I32', (bytes) => bytes.writeInt32LE(2 ** 24 + 2))()], [2 ** 24 + 2]);
  assert.deepEqual([...opened('I64', (bytes) => bytes.writeBigInt64LE(2n ** 40n))()], [2 ** 40]);
  assert.deepEqual(
    [...opened('F64', (bytes) => bytes.writeDoubleLE(Number.POSITIVE_INFINITY))()],
    [Number.POSITIVE_INFINITY],
  );
});

test('a header string of 20 MB, one of quotes and backslashes, and one nested deeply are read or refused, not thrown over', () => {
  const tensor = `"a":${entry('F32', [1], [0, 4])}`;
  const long = 'x'.repeat(20_000_000);
  assert.equal(openSafetensors(fileWith(`{"__metadata__":{"k":"${long}"},${tensor}}`, 4)).metadata.k, long);
  const escapes = '\\\\\\"'.repeat(100_000);
  assert.equal(
    openSafetensors(fileWith(`{"__metadata__":{"k":"${escapes}","l":"\\\\"},${tensor}}`, 4)).metadata.k?.length,
    200_000,
  );
  assert.throws(
    () => openSafetensors(fileWith(`{"${long}":1,"${long}":1}`, 0)),
    (error: Error) => /names x{97}… twice/.test(error.message),
  );
  const deep = `${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}`;
  assert.throws(
    () => openSafetensors(fileWith(`{"a":${deep}}`, 0)),
    (error) => error instanceof GqaError && error.code === 'io',
  );
});

test('tensors of no values and of no axes, and blanks behind the header, are as the format allows them', () => {
  const header = `{"none":${entry('F32', [0, 3], [0, 0])},"one":${entry('F32', [], [0, 4])},"empty":${entry('F32', [0], [4, 4])}}      `;
  const opened = openSafetensors(fileWith(header, 4));
  assert.deepEqual(
    ['none', 'one', 'empty'].map((name) => readTensor(opened, name).length),
    [0, 1, 0],
  );
});

test('a tensor’s name that holds a line break or is endless stands in a message on one short line', () => {
  const file = fileWith(JSON.stringify({ ['a\nb'.repeat(50)]: { dtype: 'F32', shape: [1], data_offsets: [0, 8] } }), 8);
  assert.throws(
    () => openSafetensors(file),
    (error: Error) => !error.message.includes('\n') && error.message.length < 500,
  );
});

test('a file changed at any one byte of its header is refused or describes tensors within the file', () => {
  const good = encodeSafetensors({
    a: { shape: [2, 2], data: new Float32Array(4) },
    b: { shape: [3], data: new Float32Array(3) },
  });
  const headerEnd = 8 + Number(good.readBigUInt64LE(0));
  for (let at = 0; at < headerEnd; at++) {
    for (const flip of [1, 0x10, 0x80]) {
      const bytes = Buffer.from(good);
      bytes[at] = (bytes[at] as number) ^ flip;
      const file = path.join(folder, 'fuzz.safetensors');
      fs.writeFileSync(file, bytes);
      try {
        for (const { begin, end } of openSafetensors(file).tensors.values())
          assert.ok(begin >= headerEnd && end <= bytes.length);
      } catch (error) {
        assert.ok(error instanceof GqaError, String(error));
      }
    }
  }
});
