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
