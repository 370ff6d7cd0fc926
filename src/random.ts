/**
 * Random numbers that depend on nothing but a seed, the name of what they are for, and a position: the generator has no
 * state to save, so that a resumed run, another number of workers or another variant draws the same numbers.
 * Philox4x32-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". TensorFlow's stateless random ops
 * use the same function.
 */

const MULTIPLIER_0 = 0xd2511f53 | 0;
const MULTIPLIER_1 = 0xcd9e8d57 | 0;
const WEYL_0 = 0x9e3779b9 | 0;
const WEYL_1 = 0xbb67ae85 | 0;
const ROUNDS = 10;

/**
 * High 32 bits of the product of two unsigned 32-bit integers (Math.imul gives the low ones), in integers of 32 bits
 * throughout.
 */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const low = Math.imul(aLow, bLow);
  const middle = (Math.imul(aHigh, bLow) + (low >>> 16)) | 0; // below 2³², so that the bits are right
  const carry = (Math.imul(aLow, bHigh) + (middle & 0xffff)) | 0;
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (carry >>> 16)) | 0;
}

/**
 * One block of Philox4x32-10.
 * @param counter four 32-bit words; overwritten by the four random words
 */
export function philox(counter: Uint32Array, key0: number, key1: number): void {
  let c0 = (counter[0] as number) | 0;
  let c1 = (counter[1] as number) | 0;
  let c2 = (counter[2] as number) | 0;
  let c3 = (counter[3] as number) | 0;
  let k0 = key0 | 0;
  let k1 = key1 | 0;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = mulHigh(MULTIPLIER_0, c0);
    const low0 = Math.imul(MULTIPLIER_0, c0);
    const high1 = mulHigh(MULTIPLIER_1, c2);
    const low1 = Math.imul(MULTIPLIER_1, c2);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + WEYL_0) | 0;
    k1 = (k1 + WEYL_1) | 0;
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
  /**
   * Standard normal, `count` at once. They take whole blocks of the generator, eight values each: 65,536 values are
   * possible, each as likely as the next (`QUANTILES`).
   */
  normals(count: number): Float32Array;
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

  function nextBlock(): void {
    block[0] = blockIndex++;
    block[1] = position[0] ?? 0;
    block[2] = position[1] ?? 0;
    block[3] = position[2] ?? 0;
    philox(block, key0, key1);
  }
  function bits(): number {
    if (used === 4) {
      nextBlock();
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
  function normals(count: number): Float32Array {
    const table = quantiles();
    const values = new Float32Array(count);
    used = 4; // what is left of a block is not used
    for (let i = 0; i < count; ) {
      nextBlock();
      for (let word = 0; word < 4; word++) {
        const both = block[word] as number;
        values[i++] = table[both & 0xffff] as number; // writing past the end does nothing
        values[i++] = table[both >>> 16] as number;
      }
    }
    return values;
  }
  return { bits, uniform, below, normals };
}

let normalQuantiles: Float32Array | undefined;

/**
 * The middles of 65,536 equally likely parts of the standard normal distribution, −4.3 to 4.3: a look-up instead of a
 * logarithm and a sine, since a ViT-L has 300 million weights.
 */
function quantiles(): Float32Array {
  normalQuantiles ??= Float32Array.from({ length: 65_536 }, (_, i) => normalQuantile((i + 0.5) / 65_536));
  return normalQuantiles;
}

/**
 * Inverse of the standard normal distribution function, relative error below 1.2e-9. Source: P. J. Acklam 2003, "An
 * algorithm for computing the inverse normal cumulative distribution function".
 */
export function normalQuantile(p: number): number {
  if (p > 0.5) return -normalQuantile(1 - p);
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p));
    return polynomial(TAIL_OVER, q) / polynomial(TAIL_UNDER, q);
  }
  const q = p - 0.5;
  return (q * polynomial(MIDDLE_OVER, q * q)) / polynomial(MIDDLE_UNDER, q * q);
}

/** Coefficients of the highest power first. */
const polynomial = (coefficients: readonly number[], x: number): number =>
  coefficients.reduce((sum, coefficient) => sum * x + coefficient, 0);

const MIDDLE_OVER = [
  -3.969683028665376e1, 2.209460984245205e2, -2.759285104469687e2, 1.38357751867269e2, -3.066479806614716e1,
  2.506628277459239,
];
const MIDDLE_UNDER = [
  -5.447609879822406e1, 1.615858368580409e2, -1.556989798598866e2, 6.680131188771972e1, -1.328068155288572e1, 1,
];
const TAIL_OVER = [
  -7.784894002430293e-3, -3.223964580411365e-1, -2.400758277161838, -2.549732539343734, 4.374664141464968,
  2.938163982698783,
];
const TAIL_UNDER = [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1];

/**
 * `count` values one after the other. Float32Array.from takes several times as long, and a ViT-L has 300 million
 * values.
 */
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
