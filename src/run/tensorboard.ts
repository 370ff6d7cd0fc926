/**
 * TensorBoard's event files: records of a protobuf message each (tensorflow/core/util/event.proto), framed as TFRecords
 * with masked CRC-32C checksums (tensorflow/core/lib/io/record_writer.cc).
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import path from 'node:path';
import { append } from './lines.js';

/** TensorBoard finds a run by a file with this word in its name. */
export const EVENTS_FILE = 'events.out.tfevents.gqa';

export interface Events {
  /** Scalars by their tags at an optimizer step; what is no number is left out. @throws GqaError `io` */
  add(step: number, values: Record<string, unknown>): void;
  close(): void;
}

/** Opens the file to be added to, of a new run or one that goes on. */
export function openEvents(folder: string): Events {
  const file = path.join(folder, EVENTS_FILE);
  const handle = openSync(file, 'a');
  if (fstatSync(handle).size === 0) append(handle, eventsHead(), file);
  return {
    add(step, values) {
      const numbers = Object.entries(values).filter((entry): entry is [string, number] => typeof entry[1] === 'number');
      append(handle, scalars(step, Object.fromEntries(numbers)), file);
    },
    close: () => closeSync(handle),
  };
}

/** The first record of a file. */
export const eventsHead = (): Buffer => record([double(1, Date.now() / 1000), bytes(3, Buffer.from('brain.Event:2'))]);

/** @param values scalars by their tags; numbers that are not finite are kept, as TensorBoard shows them */
export function scalars(step: number, values: Record<string, number>): Buffer {
  const summary = Object.entries(values).map(([tag, value]) =>
    bytes(1, Buffer.concat([bytes(1, Buffer.from(tag)), float(2, value)])),
  );
  return record([double(1, Date.now() / 1000), int(2, step), bytes(5, Buffer.concat(summary))]);
}

function record(fields: Buffer[]): Buffer {
  const data = Buffer.concat(fields);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(data.length));
  return Buffer.concat([length, masked(length), data, masked(data)]);
}

function masked(data: Buffer): Buffer {
  const crc = crc32c(data);
  const found = Buffer.alloc(4);
  found.writeUInt32LE(((((crc >>> 15) | (crc << 17)) >>> 0) + 0xa282ead8) >>> 0);
  return found;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  return c;
});

/** Castagnoli's. */
export function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = (crc >>> 8) ^ (TABLE[(crc ^ byte) & 255] as number);
  return (crc ^ 0xffffffff) >>> 0;
}

const tagged = (field: number, type: number, content: Buffer): Buffer =>
  Buffer.concat([Buffer.from([(field << 3) | type]), content]);

function double(field: number, value: number): Buffer {
  const content = Buffer.alloc(8);
  content.writeDoubleLE(value);
  return tagged(field, 1, content);
}

function float(field: number, value: number): Buffer {
  const content = Buffer.alloc(4);
  content.writeFloatLE(value);
  return tagged(field, 5, content);
}

const int = (field: number, value: number): Buffer => tagged(field, 0, varint(value));
const bytes = (field: number, content: Buffer): Buffer =>
  tagged(field, 2, Buffer.concat([varint(content.length), content]));

function varint(value: number): Buffer {
  const out: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) out.push((rest % 128) | 128);
  return Buffer.from([...out, rest]);
}
