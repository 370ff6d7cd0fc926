/**
 * The native addon for images (images.cc), where set-up could compile it: JPEGs decoded by libtensorflow's
 * libjpeg-turbo, and the loops of src/data/images/byte-loops.ts, which says what they do.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { npmRun } from '../invocation.js';
import { addonFile } from './addons.js';

/**
 * Images are [height, width, 3] bytes; `from` and `encoded` may lie in shared memory. Wrong sizes throw a TypeError;
 * nothing is read or written outside the arrays.
 */
export interface ImageAddon {
  /**
   * @param pixels written; a grey image's channels are equal
   * @returns how often libjpeg warned; −1 when the image is cut short, damaged beyond that, not of this size, or of
   *   colours that are not handled: `pixels` then holds anything
   */
  decodeJpeg(encoded: Uint8Array, pixels: Uint8Array, height: number, width: number): number;
  resampleAcross(...parameters: [...Resampled, targetWidth: number, ...Windows]): void;
  resampleDown(...parameters: [...Resampled, targetHeight: number, ...Windows]): void;
  gather(
    from: Uint8Array,
    to: Uint8Array,
    height: number,
    width: number,
    stepX: number,
    stepY: number,
    runs: Int32Array,
  ): void;
  lookUp(from: Uint8Array, to: Uint8Array, tables: Uint8Array): void;
  histograms(from: Uint8Array, counts: Uint32Array): void;
  greySum(from: Uint8Array): number;
  awayFromGrey(from: Uint8Array, to: Uint8Array, factor: number): void;
  sharpen(from: Uint8Array, to: Uint8Array, height: number, width: number, factor: number): void;
}

type Resampled = [from: Uint8Array, to: Uint8Array, height: number, width: number];
type Windows = [first: Int32Array, count: Int32Array, weights: Int32Array];

/** The addon, or why there is none. */
export interface LoadedImages {
  addon: ImageAddon | null;
  problem: string | null;
}

let loaded: LoadedImages | undefined;

/**
 * Loads the addon, and libtensorflow with it, at the first call. A worker thread must not be the first: it cannot set
 * the environment that libtensorflow reads then.
 */
export function loadImages(): LoadedImages {
  loaded ??= load();
  return loaded;
}

function load(): LoadedImages {
  const file = addonFile('gqa_images');
  if (!existsSync(file)) return { addon: null, problem: 'set-up compiled no native addon here' };
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  try {
    return { addon: createRequire(import.meta.url)(file) as ImageAddon, problem: null };
  } catch (error) {
    return {
      addon: null,
      problem: `${file} does not load: ${String((error as Error).message).split('\n')[0]} (${npmRun('setup')})`,
    };
  }
}
