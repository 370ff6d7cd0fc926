/** The kinds of numbers that safetensors holds, and how their bytes become float32. */

/**
 * Bits of an element: every kind of the format, so that a file can be described whatever it holds; DECODERS has those
 * that are read.
 */
export const ELEMENT_BITS = {
  F64: 64,
  F32: 32,
  F16: 16,
  BF16: 16,
  I64: 64,
  I32: 32,
  I16: 16,
  I8: 8,
  U64: 64,
  U32: 32,
  U16: 16,
  U8: 8,
  BOOL: 8,
  C64: 64,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  F6_E2M3: 6,
  F6_E3M2: 6,
  F4: 4,
} as const;
export type Dtype = keyof typeof ELEMENT_BITS;

/** @param lost called with the first value that float32 cannot hold; it throws */
type Decoder = (view: DataView, count: number, lost: (value: number | bigint) => never) => Float32Array;

const each =
  <T extends number | bigint>(
    read: (view: DataView, i: number) => T,
    isLost: (value: T, as: number) => boolean = () => false,
  ): Decoder =>
  (view, count, lost) => {
    const values = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      const value = read(view, i);
      values[i] = Number(value);
      if (isLost(value, values[i] as number)) lost(value);
    }
    return values;
  };

const beyondRange = (value: number, as: number): boolean => Number.isFinite(value) && !Number.isFinite(as);
const wholeLost = (value: number, as: number): boolean => value !== as;
const bigLost = (value: bigint, as: number): boolean => value !== BigInt(as);

export const DECODERS: Partial<Record<Dtype, Decoder>> = {
  F32: (view, count) =>
    new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + 4 * count) as ArrayBuffer),
  F64: each((view, i) => view.getFloat64(8 * i, true), beyondRange),
  F16: each((view, i) => float16(view.getUint16(2 * i, true))),
  BF16: (view, count) => {
    const bits = new Uint32Array(count);
    for (let i = 0; i < count; i++) bits[i] = view.getUint16(2 * i, true) << 16;
    return new Float32Array(bits.buffer);
  },
  I64: each((view, i) => view.getBigInt64(8 * i, true), bigLost),
  U64: each((view, i) => view.getBigUint64(8 * i, true), bigLost),
  I32: each((view, i) => view.getInt32(4 * i, true), wholeLost),
  U32: each((view, i) => view.getUint32(4 * i, true), wholeLost),
  I16: each((view, i) => view.getInt16(2 * i, true)),
  U16: each((view, i) => view.getUint16(2 * i, true)),
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
