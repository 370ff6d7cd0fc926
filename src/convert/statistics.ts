/**
 * What conversion may ask of the MHA model on calibration images: sums of products, layer by layer, from which the
 * metrics of grouping and merging derive. Nothing is kept per token; train/statistics.ts gathers them on the device.
 * All matrices row by row; E is head_dim, D embed_dim, X the inputs of a layer's attention (after norm1), all tokens of
 * all images.
 */
export interface LayerStatistics {
  /** Rows of X. */
  tokens: number;
  images: number;
  /** [X 1]ᵀ[X 1], [D+1, D+1]: the last row holds sums, its last entry the number of tokens. */
  inputs?: Float32Array;
  /** Σ over images of N · m mᵀ with m the mean of the image's rows of X, [D, D]. */
  imageMeans?: Float32Array;
  /** Σ q qᵀ for each head, [H, E, E]; queries with their bias, not scaled. */
  queries?: Float32Array;
  /** [M 1]ᵀ[M 1] for each head with M = softmax(…) X, the head's average inputs, [H, D+1, D+1]. */
  attended?: Float32Array;
  /** Xᵀ diag(column sums of the head's softmax) X for each head, [H, D, D]. */
  keyed?: Float32Array;
}

export const STATISTICS = ['inputs', 'imageMeans', 'queries', 'attended', 'keyed'] as const;
export type StatisticName = (typeof STATISTICS)[number];
