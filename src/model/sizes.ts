/** What determines every tensor's shape, and the sizes that have a name. */

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

/** What a named size fixes; classes come from the data set, KV heads from the variant. */
export type BackboneSize = Omit<ModelShape, 'kvHeads' | 'numClasses'>;

/** timm's `vit_{small,base,large}_patch16_224` (vision_transformer.py), and `micro`, a ViT for 32-pixel pictures that trains on a CPU in minutes. */
export const SIZES = {
  micro: { imageSize: 32, patchSize: 4, embedDim: 192, depth: 4, heads: 12, mlpRatio: 4 },
  small: { imageSize: 224, patchSize: 16, embedDim: 384, depth: 12, heads: 6, mlpRatio: 4 },
  base: { imageSize: 224, patchSize: 16, embedDim: 768, depth: 12, heads: 12, mlpRatio: 4 },
  large: { imageSize: 224, patchSize: 16, embedDim: 1024, depth: 24, heads: 16, mlpRatio: 4 },
} as const satisfies Record<string, BackboneSize>;

export const headDim = (shape: ModelShape): number => shape.embedDim / shape.heads;

/** Tokens N: the patches and the class token. */
export const tokens = (shape: ModelShape): number => (shape.imageSize / shape.patchSize) ** 2 + 1;
