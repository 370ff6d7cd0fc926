/**
 * Random numbers that depend on nothing but a seed, the name of what they are for, and a position: the generator has no state to save, so that a resumed run,
 * another number of workers or another variant draws the same numbers.
 * Philox4x32-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". TensorFlow's stateless random ops use the same function.
 */

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const ROUNDS = 10;

/** High 32 bits of the product of two unsigned 32-bit integers (Math.imul gives the low ones). */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000)) >>> 0;
}

/**
 * One block of Philox4x32-10.
 * @param counter four 32-bit words; overwritten by the four random words
 */
export function philox(counter: Uint32Array, key0: number, key1: number): void {
  let c0 = counter[0] ?? 0;
  let c1 = counter[1] ?? 0;
  let c2 = counter[2] ?? 0;
  let c3 = counter[3] ?? 0;
  let k0 = key0;
  let k1 = key1;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = mulHigh(MULTIPLIER_0, c0);
    const low0 = Math.imul(MULTIPLIER_0, c0);
    const high1 = mulHigh(MULTIPLIER_1, c2);
    const low1 = Math.imul(MULTIPLIER_1, c2);
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1 >>> 0;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0 >>> 0;
    k0 = (k0 + WEYL_0) >>> 0;
    k1 = (k1 + WEYL_1) >>> 0;
  }
  counter[0] = c0;
  counter[1] = c1;
  counter[2] = c2;
  counter[3] = c3;
}

/** FNV-1a, 32 bits: a name becomes the second half of the key. */
function hashName(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** The key of a stream of draws: the generator's two key words. */
export const streamKey = (seed: number, stream: string): [number, number] => [seed >>> 0, hashName(stream)];

/** An endless row of draws. */
export interface Draws {
  /** The next 32 random bits, 0 to 2³² − 1. */
  bits(): number;
  /** Uniform in [0, 1), with 24 bits, exact in float32. */
  uniform(): number;
  /** Uniform integer in 0 … n − 1, without bias. */
  below(n: number): number;
  /** Standard normal (Box–Muller). */
  normal(): number;
}

/**
 * The row of draws for one purpose and position.
 * @param seed     the run's seed; only its low 32 bits count
 * @param stream   what the draws are for: `shuffle`, `augment`, `init/<tensor name>`, …
 * @param position up to three integers: (epoch, image index), (step, layer, group), …
 */
export function draws(seed: number, stream: string, ...position: [number?, number?, number?]): Draws {
  const [key0, key1] = streamKey(seed, stream);
  const block = new Uint32Array(4);
  let blockIndex = 0;
  let used = 4;
  let spareNormal: number | undefined;

  function bits(): number {
    if (used === 4) {
      block[0] = blockIndex++;
      block[1] = position[0] ?? 0;
      block[2] = position[1] ?? 0;
      block[3] = position[2] ?? 0;
      philox(block, key0, key1);
      used = 0;
    }
    return block[used++] ?? 0;
  }
  const uniform = (): number => (bits() >>> 8) * 2 ** -24;
  function below(n: number): number {
    const limit = 2 ** 32 - (2 ** 32 % n);
    for (;;) {
      const value = bits();
      if (value < limit) return value % n;
    }
  }
  function normal(): number {
    if (spareNormal !== undefined) {
      const value = spareNormal;
      spareNormal = undefined;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    spareNormal = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }
  return { bits, uniform, below, normal };
}

/** `count` values one after the other. Float32Array.from takes several times as long, and a ViT-L has 300 million values. */
export function drawn(count: number, draw: () => number): Float32Array {
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) values[i] = draw();
  return values;
}

/** Fisher–Yates, in place, with the given draws. */
export function shuffle(values: Int32Array, from: Draws): Int32Array {
  for (let i = values.length - 1; i > 0; i--) {
    const j = from.below(i + 1);
    const swapped = values[i] as number;
    values[i] = values[j] as number;
    values[j] = swapped;
  }
  return values;
}
