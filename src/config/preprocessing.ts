/**
 * What is done with every image before the model sees it: the keys of `data` that belong to the checkpoint rather than
 * to the data, with nothing left open.
 */
import type { Config } from './schema.js';

/** Red, green, blue. */
export type Triple = readonly [number, number, number];

export interface Preprocessing {
  /** Subtracted from pixels of 0 to 1. */
  mean: Triple;
  /** Then divided by. */
  std: Triple;
  /** `squash`: all of the image, aspect ratio not kept; `crop`: its middle, as timm evaluates. */
  resize: 'squash' | 'crop';
  /** Part of the shorter edge that the crop has, 0 < p ≤ 1; null under squash. */
  cropPct: number | null;
  interpolation: 'bilinear' | 'bicubic';
}

/** What the paper's code does. */
export const DEFAULT_PREPROCESSING: Preprocessing = {
  mean: [0.5, 0.5, 0.5],
  std: [0.5, 0.5, 0.5],
  resize: 'squash',
  cropPct: null,
  interpolation: 'bilinear',
};

/** timm's. */
export const DEFAULT_CROP_PCT = 0.875;

/**
 * A config's, defaults where it says nothing: of a config that `resolvePreprocessing` (checkpoint/preprocessing.ts) has
 * not been through, as of a model from scratch.
 */
export function preprocessingOf(data: Config['data']): Preprocessing {
  const resize = data.resize ?? DEFAULT_PREPROCESSING.resize;
  return {
    mean: (data.mean as Triple | null) ?? DEFAULT_PREPROCESSING.mean,
    std: (data.std as Triple | null) ?? DEFAULT_PREPROCESSING.std,
    resize,
    cropPct: resize === 'crop' ? (data.cropPct ?? DEFAULT_CROP_PCT) : null,
    interpolation: data.interpolation ?? DEFAULT_PREPROCESSING.interpolation,
  };
}
