/**
 * Protobuf's wire format: a tag (field number and wire type) before each value, messages inside messages by their
 * length.
 */
export const message = (fields: readonly Buffer[]): Buffer => Buffer.concat(fields);
export const textField = (field: number, text: string): Buffer => bytesField(field, Buffer.from(text));
export const intField = (field: number, value: number): Buffer =>
  Buffer.from([...varint(field << 3), ...varint(value)]);
export function floatField(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return Buffer.concat([Buffer.from(varint((field << 3) | 5)), bytes]);
}
export function doubleField(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return Buffer.concat([Buffer.from(varint((field << 3) | 1)), bytes]);
}
export const bytesField = (field: number, bytes: Buffer): Buffer =>
  Buffer.concat([Buffer.from([...varint((field << 3) | 2), ...varint(bytes.length)]), bytes]);

/** Seven bits a byte, the lowest first; negative numbers as 64-bit two's complement. */
function varint(value: number): number[] {
  const out: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  if (value >= 0 && value < 128) return [value];
  for (; rest >= 128n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
  out.push(Number(rest));
  return out;
}

/** The fields of a message in order: numbers, or bytes. */
export function fieldsOf(bytes: Buffer): [field: number, value: number | Buffer][] {
  const fields: [number, number | Buffer][] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++] as number;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const [field, type] = [Math.floor(key / 8), key % 8];
    if (type === 0) fields.push([field, varint()]);
    else {
      const size = type === 2 ? varint() : type === 1 ? 8 : 4;
      fields.push([field, bytes.subarray(at, at + size)]);
      at += size;
    }
  }
  return fields;
}
