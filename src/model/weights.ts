/** The attention weights of one layer on the host, as conversion sees them: plain arrays in torch's layout. */

/** A linear layer. */
export interface Projection {
  /** [out, in], row by row */
  weight: Float32Array;
  /** [out] */
  bias: Float32Array;
}

/** `q` [H·E, D], `k` and `v` [K·E, D], `proj` [D, H·E]; K = H before heads are merged. */
export interface AttentionWeights {
  q: Projection;
  k: Projection;
  v: Projection;
  proj: Projection;
}

/** Counts of a layer. */
export interface LayerSizes {
  heads: number;
  headDim: number;
  embedDim: number;
}
