/**
 * TensorBoard's event files: records of a protobuf message each (tensorflow/core/util/event.proto), framed as TFRecords
 * with masked CRC-32C checksums (tensorflow/core/lib/io/record_writer.cc).
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import path from 'node:path';
import { bytesField, doubleField, floatField, intField, message, textField } from '../protobuf.js';
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
const eventsHead = (): Buffer => record([doubleField(1, Date.now() / 1000), textField(3, 'brain.Event:2')]);

/** @param values scalars by their tags; numbers that are not finite are kept, as TensorBoard shows them */
function scalars(step: number, values: Record<string, number>): Buffer {
  const summary = Object.entries(values).map(([tag, value]) =>
    bytesField(1, message([textField(1, tag), floatField(2, value)])),
  );
  return record([doubleField(1, Date.now() / 1000), intField(2, step), bytesField(5, message(summary))]);
}

function record(fields: Buffer[]): Buffer {
  const data = message(fields);
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
