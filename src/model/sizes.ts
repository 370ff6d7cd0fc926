/** What determines every tensor's shape. The sizes that have a name are in config/schema.ts. */
import { type Grouping, type Groups, kvHeadsOf } from './grouping.js';

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
  /** Which share a value head, where that differs from keys. Left out: as keys. */
  valueGrouping?: Grouping | undefined;
  mlpRatio: number;
  /** 0: without a head, as a file only. */
  numClasses: number;
  /** Left out: `LAYER_NORM_EPS`. */
  layerNormEps?: number | undefined;
  /**
   * What the head reads: `avg` the mean of all patches, normalised after it (timm's `global_pool: avg` with `fc_norm`).
   * Left out: the class token after the last norm.
   */
  globalPool?: 'avg' | undefined;
}

/** Of timm's and torchvision's ViTs; torch's own default is 1e-5, Hugging Face's ViT has 1e-12. */
export const LAYER_NORM_EPS = 1e-6;

/** The last norm, by timm's name of it. */
export const finalNorm = (shape: Pick<ModelShape, 'globalPool'>): 'norm' | 'fc_norm' =>
  shape.globalPool === 'avg' ? 'fc_norm' : 'norm';

export const headDim = (shape: ModelShape): number => shape.embedDim / shape.heads;

/** Tokens N: the patches and the class token. */
export const tokens = (shape: ModelShape): number => (shape.imageSize / shape.patchSize) ** 2 + 1;

/** What a variant's hooks know of a layer. */
export interface LayerShape {
  /** From 0. */
  index: number;
  heads: number;
  /** Key heads K, and value heads, which are as many unless values are grouped apart. */
  kvHeads: number;
  valueHeads: number;
  /** The group of each head, [H]. */
  groups: Groups;
  /** The same object unless values are grouped apart. */
  valueGroups: Groups;
  headDim: number;
  embedDim: number;
  tokens: number;
}

export function layerShape(shape: ModelShape, index: number): LayerShape {
  const { heads, embedDim } = shape;
  const groups = shape.grouping[index] as Groups;
  const valueGroups = shape.valueGrouping?.[index] ?? groups;
  return {
    index,
    heads,
    kvHeads: kvHeadsOf(groups),
    valueHeads: kvHeadsOf(valueGroups),
    groups,
    valueGroups,
    headDim: headDim(shape),
    embedDim,
    tokens: tokens(shape),
  };
}

export const layerShapes = (shape: ModelShape): LayerShape[] =>
  Array.from({ length: shape.depth }, (_, i) => layerShape(shape, i));
