/**
 * safetensors, read (write-safetensors.ts writes it): 8 bytes of header length (little endian), a JSON header, then the
 * tensors' bytes, contiguous and in the header's offsets. A file is not trusted: every rule of the format is checked
 * before anything of its claimed size is allocated. Source: the format's own validation, safetensors/src/tensor.rs.
 */
import fs from 'node:fs';
import { z } from 'zod';
import { GqaError } from '../errors.js';
import { DECODERS, type Dtype, ELEMENT_BITS } from './elements.js';
import { foreignKind, LOOKED_AT_BYTES, requireRegularFile } from './foreign.js';

const MAX_HEADER_BYTES = 100_000_000;

export interface TensorEntry {
  dtype: Dtype;
  shape: number[];
  /** The file that holds it, and its byte offsets there. */
  file: string;
  begin: number;
  end: number;
}

export interface Safetensors {
  /** For messages: of a checkpoint in several files, the index. */
  path: string;
  metadata: Record<string, string>;
  tensors: Map<string, TensorEntry>;
}

const whole = z.number().int().nonnegative();
const entrySchema = z.strictObject({
  dtype: z.enum(Object.keys(ELEMENT_BITS) as [Dtype, ...Dtype[]]),
  shape: z.array(whole),
  data_offsets: z.tuple([whole, whole]),
});

/**
 * Reads and checks the header; no tensor is loaded.
 * @throws GqaError `io` when the file is missing, not safetensors, cut short, or contradicts itself.
 */
export function openSafetensors(path: string): Safetensors {
  requireRegularFile(path);
  const fd = openForReading(path);
  try {
    const fileBytes = fs.fstatSync(fd).size;
    const wrong = (what: string): GqaError => {
      const head = readRange(fd, path, 0, Math.min(fileBytes, LOOKED_AT_BYTES));
      const cutShort = fileBytes > 8 && head[8] === 0x7b && head.readBigUInt64LE(0) <= BigInt(MAX_HEADER_BYTES);
      return notReadable(path, what, cutShort ? null : head);
    };
    if (fileBytes < 8) throw wrong(`it has ${fileBytes} bytes, and the header length alone takes 8`);
    const lengthBytes = readRange(fd, path, 0, 8);
    const declared = lengthBytes.readBigUInt64LE(0);
    if (declared > BigInt(MAX_HEADER_BYTES))
      throw wrong(`its first 8 bytes name a header of ${declared} bytes, more than the format allows (100 MB)`);
    const headerBytes = Number(declared);
    if (8 + headerBytes > fileBytes)
      throw wrong(`its header should have ${headerBytes} bytes, but only ${fileBytes - 8} follow (cut short?)`);
    const bytes = readRange(fd, path, 8, headerBytes);
    if (bytes[0] !== 0x7b) throw wrong('its header does not begin with {');
    // it is safetensors: what its first bytes look like says nothing
    const whole = (what: string): GqaError => notReadable(path, what, null);
    return { path, ...checkLayout(parseHeader(bytes, whole), path, 8 + headerBytes, fileBytes, whole) };
  } finally {
    fs.closeSync(fd);
  }
}

/** @param head the file's first bytes, where what the file is instead is recognised by them */
function notReadable(path: string, what: string, head: Buffer | null): GqaError {
  const kind = head === null ? null : foreignKind(head);
  if (kind !== null) return new GqaError('io', `${path} is ${kind.what}, not a safetensors file`, { hint: kind.hint });
  return new GqaError('io', `${path}: not a readable safetensors file: ${what}`, {
    hint: 'Give a .safetensors file, whole and unchanged.',
  });
}

/**
 * One tensor's values as float32: F64, F16 and BF16 are converted, integers are taken as they are.
 * @throws GqaError `io` when it cannot be read, is of a kind that is not decoded (8 bits and fewer, complex), or holds
 *   a number that float32 cannot: an integer above 2^24 that it would round, or a float64 beyond its range
 */
export function readTensor(file: Safetensors, name: string): Float32Array {
  const entry = file.tensors.get(name);
  if (entry === undefined) throw new GqaError('io', `${file.path}: has no tensor named ${shown(name)}`);
  const decode = DECODERS[entry.dtype];
  if (decode === undefined) {
    throw new GqaError('io', `${file.path}: tensor ${shown(name)} is ${entry.dtype}, which gqa does not read`, {
      hint: 'Save it as float32 (in torch: tensor.float()).',
    });
  }
  const fd = openForReading(entry.file);
  try {
    const bytes = readRange(fd, entry.file, entry.begin, entry.end - entry.begin);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return decode(view, (8 * (entry.end - entry.begin)) / ELEMENT_BITS[entry.dtype], (value) => {
      throw new GqaError(
        'io',
        `${file.path}: tensor ${shown(name)} (${entry.dtype}) holds ${value}, which float32 cannot hold`,
      );
    });
  } finally {
    fs.closeSync(fd);
  }
}

/** A tensor's name in a message: names come from a file, and may be long or hold anything. */
export function shown(name: string): string {
  const short = name.length > 100 ? `${name.slice(0, 97)}…` : name;
  return /^[\x21-\x7e…]+$/.test(short) ? short : JSON.stringify(short);
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
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw wrong(`its header is not JSON (${(cause as Error).message})`);
  }
  const duplicate = duplicateKey(text);
  if (duplicate !== undefined) throw wrong(`its header names ${shown(duplicate)} twice`);
  return value as Record<string, unknown>;
}

/** The first key that stands twice in one object of well-formed JSON text (JSON.parse silently keeps the last). */
function duplicateKey(json: string): string | undefined {
  const open: (Set<string> | null)[] = []; // a set of keys for each open object, null for each open array
  const token = /["{}[\]]/g;
  for (let found = token.exec(json); found !== null; found = token.exec(json)) {
    if (found[0] === '{') open.push(new Set());
    else if (found[0] === '[') open.push(null);
    else if (found[0] !== '"') open.pop();
    else {
      const end = endOfString(json, found.index);
      token.lastIndex = end;
      if (!/^\s*:/.test(json.slice(end, end + 100))) continue;
      const key = JSON.parse(json.slice(found.index, end)) as string;
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}

/** @param start of the string's first quote. @returns the place behind its last one */
function endOfString(json: string, start: number): number {
  for (let quote = json.indexOf('"', start + 1); ; quote = json.indexOf('"', quote + 1)) {
    let first = quote;
    while (json[first - 1] === '\\') first--;
    if ((quote - first) % 2 === 0) return quote + 1;
  }
}

function checkLayout(
  header: Record<string, unknown>,
  file: string,
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
        `the entry of tensor ${shown(name)}: ${parsed.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`).join('; ')}`,
      );
    const { dtype, shape, data_offsets } = parsed.data;
    const bytes = (shape.reduce((product, size) => product * size, 1) * ELEMENT_BITS[dtype]) / 8;
    const [begin, end] = data_offsets;
    if (!Number.isSafeInteger(bytes) || end - begin !== bytes)
      throw wrong(
        `tensor ${shown(name)} of shape [${shape.join(', ')}] ${dtype} needs ${bytes} bytes, its offsets ${begin}–${end} hold ${end - begin}`,
      );
    tensors.set(name, { dtype, shape, file, begin: dataStart + begin, end: dataStart + end });
  }
  let expected = dataStart;
  for (const [name, entry] of [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)) {
    if (entry.begin !== expected)
      throw wrong(`tensor ${shown(name)} begins at byte ${entry.begin}, where ${expected} follows (overlap or gap)`);
    expected = entry.end;
  }
  if (expected !== fileBytes)
    throw wrong(
      `its tensors end at byte ${expected}, the file at ${fileBytes}${expected > fileBytes ? ' (cut short)' : ''}`,
    );
  return { metadata: metadata.data, tensors };
}
