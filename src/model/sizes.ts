/** What determines every tensor's shape. The sizes that have a name are in config/schema.ts. */

/** Units: pixels for `imageSize` and `patchSize`, otherwise counts. */
export interface ModelShape {
  imageSize: number;
  patchSize: number;
  embedDim: number;
  depth: number;
  /** Query heads H. */
  heads: number;
  /** Key-value heads K; divides `heads`. */
  kvHeads: number;
  mlpRatio: number;
  numClasses: number;
}

export const headDim = (shape: ModelShape): number => shape.embedDim / shape.heads;

/** Tokens N: the patches and the class token. */
export const tokens = (shape: ModelShape): number => (shape.imageSize / shape.patchSize) ** 2 + 1;
