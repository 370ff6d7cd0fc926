/**
 * safetensors, read and written: 8 bytes of header length (little endian), a JSON header, then the tensors' bytes, contiguous and in the header's offsets.
 * A file is not trusted: every rule of the format is checked before anything of its claimed size is allocated.
 * Source: the format's own validation, safetensors/src/tensor.rs.
 */
import fs from 'node:fs';
import { z } from 'zod';
import { GqaError } from '../errors.js';

const MAX_HEADER_BYTES = 100_000_000;

/** Bytes of an element. Kinds that we do not compute with are listed too, so that a file that holds them can be described. */
const ELEMENT_BYTES = { F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U8: 1, BOOL: 1 } as const;
type Dtype = keyof typeof ELEMENT_BYTES;

export interface TensorEntry {
  dtype: Dtype;
  shape: number[];
  /** Byte offsets in the file. */
  begin: number;
  end: number;
}

export interface Safetensors {
  path: string;
  metadata: Record<string, string>;
  tensors: Map<string, TensorEntry>;
}

const whole = z.number().int().nonnegative();
const entrySchema = z.strictObject({
  dtype: z.enum(Object.keys(ELEMENT_BYTES) as [Dtype, ...Dtype[]]),
  shape: z.array(whole),
  data_offsets: z.tuple([whole, whole]),
});

/** Reads and checks the header; no tensor is loaded. @throws GqaError `io` when the file is missing, not safetensors, cut short, or contradicts itself. */
export function openSafetensors(path: string): Safetensors {
  const fd = openForReading(path);
  try {
    const fileBytes = fs.fstatSync(fd).size;
    const wrong = (what: string): GqaError =>
      new GqaError('io', `${path}: not a readable safetensors file: ${what}`, {
        hint: 'Give a .safetensors file, whole and unchanged. A .pth or .bin file (pickle) is not read: save it with safetensors.torch.save_file first.',
      });
    if (fileBytes < 8) throw wrong(`it has ${fileBytes} bytes, and the header length alone takes 8`);
    const lengthBytes = readRange(fd, path, 0, 8);
    const declared = lengthBytes.readBigUInt64LE(0);
    if (declared > BigInt(MAX_HEADER_BYTES))
      throw wrong(`its first 8 bytes name a header of ${declared} bytes, more than the format allows (100 MB)`);
    const headerBytes = Number(declared);
    if (8 + headerBytes > fileBytes)
      throw wrong(`its header should have ${headerBytes} bytes, but only ${fileBytes - 8} follow (cut short?)`);
    const header = parseHeader(readRange(fd, path, 8, headerBytes), wrong);
    return { path, ...checkLayout(header, 8 + headerBytes, fileBytes, wrong) };
  } finally {
    fs.closeSync(fd);
  }
}

/** One tensor's values as float32 (F64, F16 and BF16 are converted; integers must be exact). @throws GqaError `io` */
export function readTensor(file: Safetensors, name: string): Float32Array {
  const entry = file.tensors.get(name);
  if (entry === undefined) throw new GqaError('io', `${file.path}: has no tensor named ${name}`);
  const fd = openForReading(file.path);
  try {
    const bytes = readRange(fd, file.path, entry.begin, entry.end - entry.begin);
    const decode = DECODERS[entry.dtype];
    return decode(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), (entry.end - entry.begin) / ELEMENT_BYTES[entry.dtype]);
  } finally {
    fs.closeSync(fd);
  }
}

export interface TensorData {
  shape: number[];
  data: Float32Array | Int32Array;
}

/** The bytes of a file with these tensors, in the order given, and this metadata. */
export function encodeSafetensors(tensors: Record<string, TensorData>, metadata: Record<string, string> = {}): Buffer {
  let offset = 0;
  const header: Record<string, unknown> = { __metadata__: metadata };
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype: data instanceof Float32Array ? 'F32' : 'I32', shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, ' ')]); // so that the tensors are aligned
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const parts = Object.values(tensors).map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  return Buffer.concat([length, padded, ...parts]);
}

function openForReading(path: string): number {
  try {
    return fs.openSync(path, 'r');
  } catch (cause) {
    throw new GqaError('io', `${path}: cannot be opened (${(cause as NodeJS.ErrnoException).code})`, {
      cause,
      hint: 'Check the path; it is taken relative to the working directory.',
    });
  }
}

function readRange(fd: number, path: string, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    let count: number;
    try {
      count = fs.readSync(fd, bytes, done, Math.min(length - done, 2 ** 30), offset + done);
    } catch (cause) {
      throw new GqaError('io', `${path}: cannot be read (${(cause as NodeJS.ErrnoException).code})`, { cause });
    }
    if (count === 0) throw new GqaError('io', `${path}: ended at byte ${offset + done}, ${length - done} bytes early`);
    done += count;
  }
  return bytes;
}

function parseHeader(bytes: Buffer, wrong: (what: string) => GqaError): Record<string, unknown> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw wrong('its header is not UTF-8 text');
  }
  if (!text.startsWith('{')) throw wrong('its header does not begin with {');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw wrong(`its header is not JSON (${(cause as Error).message})`);
  }
  const duplicate = duplicateKey(text);
  if (duplicate !== undefined) throw wrong(`its header names ${duplicate} twice`);
  return value as Record<string, unknown>;
}

/** The first key that stands twice in one object of well-formed JSON text (JSON.parse silently keeps the last). */
function duplicateKey(json: string): string | undefined {
  const open: (Set<string> | null)[] = []; // a set of keys for each open object, null for each open array
  const token = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]]/g;
  for (const [text, colon] of json.matchAll(token)) {
    if (text === '{') open.push(new Set());
    else if (text === '[') open.push(null);
    else if (text === '}' || text === ']') open.pop();
    else if (colon !== undefined) {
      const key = JSON.parse(text.slice(0, text.length - colon.length)) as string;
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}

function checkLayout(
  header: Record<string, unknown>,
  dataStart: number,
  fileBytes: number,
  wrong: (what: string) => GqaError,
): Pick<Safetensors, 'metadata' | 'tensors'> {
  const { __metadata__, ...rest } = header;
  const metadata = z.record(z.string(), z.string()).safeParse(__metadata__ ?? {});
  if (!metadata.success) throw wrong('its __metadata__ is not a map from text to text');
  const tensors = new Map<string, TensorEntry>();
  for (const [name, value] of Object.entries(rest)) {
    const parsed = entrySchema.safeParse(value);
    if (!parsed.success)
      throw wrong(
        `the entry of tensor ${name}: ${parsed.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`).join('; ')}`,
      );
    const { dtype, shape, data_offsets } = parsed.data;
    const bytes = shape.reduce((product, size) => product * size, 1) * ELEMENT_BYTES[dtype];
    const [begin, end] = data_offsets;
    if (!Number.isSafeInteger(bytes) || end - begin !== bytes)
      throw wrong(
        `tensor ${name} of shape [${shape.join(', ')}] ${dtype} needs ${bytes} bytes, its offsets ${begin}–${end} hold ${end - begin}`,
      );
    tensors.set(name, { dtype, shape, begin: dataStart + begin, end: dataStart + end });
  }
  let expected = dataStart;
  for (const [name, entry] of [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)) {
    if (entry.begin !== expected) throw wrong(`tensor ${name} begins at byte ${entry.begin}, where ${expected} follows (overlap or gap)`);
    expected = entry.end;
  }
  if (expected !== fileBytes)
    throw wrong(`its tensors end at byte ${expected}, the file at ${fileBytes}${expected > fileBytes ? ' (cut short)' : ''}`);
  return { metadata: metadata.data, tensors };
}

type Decoder = (view: DataView, count: number) => Float32Array;

const each =
  (read: (view: DataView, i: number) => number): Decoder =>
  (view, count) => {
    const values = new Float32Array(count);
    for (let i = 0; i < count; i++) values[i] = read(view, i);
    return values;
  };

const DECODERS: Record<Dtype, Decoder> = {
  F32: (view, count) => new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + 4 * count) as ArrayBuffer),
  F64: each((view, i) => view.getFloat64(8 * i, true)),
  F16: each((view, i) => float16(view.getUint16(2 * i, true))),
  BF16: (view, count) => {
    const bits = new Uint32Array(count);
    for (let i = 0; i < count; i++) bits[i] = view.getUint16(2 * i, true) << 16;
    return new Float32Array(bits.buffer);
  },
  I64: each((view, i) => Number(view.getBigInt64(8 * i, true))),
  I32: each((view, i) => view.getInt32(4 * i, true)),
  I16: each((view, i) => view.getInt16(2 * i, true)),
  I8: each((view, i) => view.getInt8(i)),
  U8: each((view, i) => view.getUint8(i)),
  BOOL: each((view, i) => view.getUint8(i)),
};

/** IEEE 754 half precision. */
function float16(bits: number): number {
  const sign = bits >>> 15 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
