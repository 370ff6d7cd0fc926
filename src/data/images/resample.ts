/**
 * Resize that gives Pillow's bytes in both directions (a kernel as wide as source pixels when enlarging, as target
 * pixels when shrinking, hence antialiased): along one axis, then along the other, weights of 22 bits, rounded to whole
 * bytes between the two. Source: Pillow's src/libImaging/Resample.c.
 */
import type { ImageSize } from '../dataset.js';
import { byteLoops, WEIGHT_BITS, type Windows } from './byte-loops.js';

export type Interpolation = 'bilinear' | 'bicubic';

interface Kernel {
  /** It is 0 this far from its middle, in pixels. */
  support: number;
  /** @param x distance from the middle */
  at(x: number): number;
}

const KERNELS: Record<Interpolation, Kernel> = {
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  /** Keys 1981, with Pillow's a = −0.5; negative from 1 to 2, so that sums can leave 0 … 255. */
  bicubic: {
    support: 2,
    at(signed) {
      const x = Math.abs(signed);
      if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
    },
  },
};

/** A part of a resized image, in its pixels. */
export interface Section extends ImageSize {
  top: number;
  left: number;
}

const whole = (size: ImageSize): Section => ({ ...size, top: 0, left: 0 });

/**
 * @param from   [size.height, size.width, 3] bytes
 * @param target what the image is resized to
 * @param wanted the part of that which is computed
 * @param to     [wanted.height, wanted.width, 3] bytes, written in full
 */
export function resample(
  from: Uint8Array,
  size: ImageSize,
  to: Uint8Array,
  target: ImageSize,
  interpolation: Interpolation = 'bilinear',
  wanted: Section = whole(target),
): void {
  const { resampleAcross, resampleDown } = byteLoops();
  const across = windows(size.width, target.width, interpolation, wanted.left, wanted.width);
  const down = windows(size.height, target.height, interpolation, wanted.top, wanted.height);
  if (size.height === target.height && wanted.height === size.height) {
    resampleAcross(from, size, to, wanted.width, across);
  } else if (size.width === target.width && wanted.width === size.width) {
    resampleDown(from, size, to, wanted.height, down);
  } else if (downFirst(size, target)) {
    const between = { height: wanted.height, width: size.width };
    const bytes = new Uint8Array(between.height * between.width * 3);
    resampleDown(from, size, bytes, wanted.height, down);
    resampleAcross(bytes, between, to, wanted.width, across);
  } else {
    // Only the rows that have weight: of a long narrow image a crop needs few.
    const first = down.first[0] as number;
    const last = (down.first.at(-1) as number) + (down.count.at(-1) as number);
    const between = { height: last - first, width: wanted.width };
    const bytes = new Uint8Array(between.height * between.width * 3);
    const rows = from.subarray(first * size.width * 3, last * size.width * 3);
    resampleAcross(rows, { height: between.height, width: size.width }, bytes, wanted.width, across);
    resampleDown(bytes, between, to, wanted.height, { ...down, first: down.first.map((at) => at - first) });
  }
}

/**
 * Pillow begins with the columns where the height shrinks by much more pixels than the width (as of release 13, its
 * pull request 9549); the rule as found by trying sizes.
 */
const downFirst = (size: ImageSize, target: ImageSize): boolean =>
  size.height > target.height && size.height - target.height > 2 * (size.width - target.width);

/**
 * The weights along one axis: the kernel about each target pixel's middle, cut off at the image's edge, of sum 1.
 * @param begin the first of `wanted` target pixels
 */
export function windows(
  pixels: number,
  target: number,
  interpolation: Interpolation = 'bilinear',
  begin = 0,
  wanted = target,
): Windows {
  const { support, at: kernel } = KERNELS[interpolation];
  const scale = pixels / target;
  const stretch = Math.max(scale, 1);
  const reach = support * stretch;
  const stride = Math.ceil(reach) * 2 + 1;
  const found: Windows = {
    first: new Int32Array(wanted),
    count: new Int32Array(wanted),
    weights: new Int32Array(wanted * stride),
  };
  const inverse = 1 / stretch; // multiplied by, as Pillow does: the last bit of a weight can decide a byte
  const heights = new Float64Array(stride);
  for (let at = 0; at < wanted; at++) {
    const middle = (begin + at + 0.5) * scale;
    const first = Math.max(0, Math.trunc(middle - reach + 0.5));
    const count = Math.min(pixels, Math.trunc(middle + reach + 0.5)) - first;
    let sum = 0;
    for (let i = 0; i < count; i++) {
      const height = kernel((first + i - middle + 0.5) * inverse);
      heights[i] = height;
      sum += height;
    }
    found.first[at] = first;
    found.count[at] = count;
    for (let i = 0; i < count; i++) {
      const weight = ((heights[i] as number) / sum) * 2 ** WEIGHT_BITS;
      found.weights[at * stride + i] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
  }
  return found;
}
