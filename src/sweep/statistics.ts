/** Means over seeds, and what a difference of two methods is worth when there are few of them. */

export interface Spread {
  n: number;
  mean: number;
  /** Standard deviation of a sample (n − 1); null: one value has none. */
  sd: number | null;
}

export function spreadOf(values: readonly number[]): Spread {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { n, mean, sd: n < 2 ? null : Math.sqrt(squares / (n - 1)) };
}

export interface Difference extends Spread {
  /** Of the mean, 95 % by Student's t with n − 1 degrees of freedom; null: of one pair there is none. */
  interval: [number, number] | null;
}

/** Of pairs: the same seed by one method and by another. As scipy's `ttest_rel(a, b).confidence_interval()`. */
export function pairedDifference(pairs: readonly (readonly [number, number])[]): Difference {
  const found = spreadOf(pairs.map(([one, other]) => one - other));
  if (found.sd === null) return { ...found, interval: null };
  const half = (studentQuantile(0.975, found.n - 1) * found.sd) / Math.sqrt(found.n);
  return { ...found, interval: [found.mean - half, found.mean + half] };
}

/**
 * What another draw of test images would change: of each image's difference of right answers, averaged over seeds, the
 * mean and its 95 % interval by the central limit theorem, which a paired bootstrap over images comes to.
 * @param pairs by seed, whether each image was right by one method and by another; of images that all of them have
 */
export function overImages(
  pairs: readonly (readonly [ReadonlyMap<string, boolean>, ReadonlyMap<string, boolean>])[],
): { images: number; interval: [number, number] } | null {
  const differences = [...(pairs[0]?.[0].keys() ?? [])].flatMap((image) => {
    let sum = 0;
    for (const [one, other] of pairs) {
      const [a, b] = [one.get(image), other.get(image)];
      if (a === undefined || b === undefined) return [];
      sum += Number(a) - Number(b);
    }
    return [sum / pairs.length];
  });
  const { n, mean, sd } = spreadOf(differences);
  if (sd === null) return null;
  const half = (1.959963984540054 * sd) / Math.sqrt(n);
  return { images: n, interval: [mean - half, mean + half] };
}

/** @param p above 0.5. @param df degrees of freedom, from 1 */
export function studentQuantile(p: number, df: number): number {
  let [low, high] = [0, 2];
  while (studentCdf(high, df) < p) [low, high] = [high, 2 * high];
  for (let i = 0; i < 100 && low < high; i++) {
    const middle = (low + high) / 2;
    if (studentCdf(middle, df) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** P(T ≤ t) for t ≥ 0. */
function studentCdf(t: number, df: number): number {
  return 1 - 0.5 * regularisedBeta(df / (df + t * t), df / 2, 0.5);
}

/** Iₓ(a, b) by its continued fraction (Abramowitz & Stegun 26.5.8), where it converges fast. */
function regularisedBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - regularisedBeta(1 - x, b, a);
  const tiny = 1e-300;
  const away = (value: number): number => (Math.abs(value) < tiny ? tiny : value);
  let [c, d] = [1, 1 / away(1 - ((a + b) * x) / (a + 1))];
  let fraction = d;
  for (let m = 1; m < 500; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / away(1 + even * d);
    c = away(1 + even / c);
    fraction *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / away(1 + odd * d);
    c = away(1 + odd / c);
    fraction *= d * c;
    if (Math.abs(d * c - 1) < 1e-16) break;
  }
  return (Math.exp(a * Math.log(x) + b * Math.log1p(-x) - logBeta(a, b)) / a) * fraction;
}

const logBeta = (a: number, b: number): number => logGamma(a) + logGamma(b) - logGamma(a + b);

/** Of halves and wholes, by the recurrence down to ½ or 1: exact but for rounding. */
function logGamma(z: number): number {
  let sum = 0;
  let x = z;
  for (; x > 1; x--) sum += Math.log(x - 1);
  return sum + (x === 0.5 ? 0.5 * Math.log(Math.PI) : 0);
}
