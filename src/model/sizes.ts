/** What determines every tensor's shape. The sizes that have a name are in config/schema.ts. */
import type { Grouping } from './grouping.js';

/** Units: pixels for `imageSize` and `patchSize`, otherwise counts. */
export interface ModelShape {
  imageSize: number;
  patchSize: number;
  embedDim: number;
  depth: number;
  /** Query heads H. */
  heads: number;
  /** Which query heads share a key-value head, for each layer. */
  grouping: Grouping;
  mlpRatio: number;
  /** 0: without a head, as a file only. */
  numClasses: number;
  /** Left out: `LAYER_NORM_EPS`. */
  layerNormEps?: number | undefined;
}

/** Of timm's and torchvision's ViTs; torch's own default is 1e-5, Hugging Face's ViT has 1e-12. */
export const LAYER_NORM_EPS = 1e-6;

export const headDim = (shape: ModelShape): number => shape.embedDim / shape.heads;

/** Tokens N: the patches and the class token. */
export const tokens = (shape: ModelShape): number => (shape.imageSize / shape.patchSize) ** 2 + 1;
