/** What a model costs on paper. */
import { totalKvHeads } from './grouping.js';
import { headDim, type ModelShape, tokens } from './sizes.js';

/**
 * Floating-point operations of one image's forward pass, two for each multiply-add of a matrix product, everything else
 * left out, as timm and the papers count them (they usually give multiply-adds: half of it). The last block is counted
 * for all tokens. A training step costs about three times as much.
 */
export function forwardFlops(shape: ModelShape): number {
  const { embedDim, depth, heads, grouping, valueGrouping, mlpRatio, patchSize, numClasses } = shape;
  const n = tokens(shape);
  // keys or values of all layers, in the mean of both
  const kvDim = ((totalKvHeads(grouping) + totalKvHeads(valueGrouping ?? grouping)) / 2) * headDim(shape);
  const projections = 2 * n * embedDim * (depth * embedDim + kvDim); // q and proj, k and v
  const attention = 2 * heads * n * n * headDim(shape); // scores, weighted values
  const mlp = 2 * n * embedDim * Math.round(embedDim * mlpRatio);
  const patches = (n - 1) * 3 * patchSize ** 2 * embedDim;
  return 2 * (projections + depth * (attention + mlp) + patches + embedDim * numClasses);
}

/**
 * Numbers that the keys and values of one image are, over all layers: what a K/V cache would hold, and what sharing
 * heads makes smaller. The class token is counted too.
 */
export function kvActivations(shape: ModelShape): number {
  const { grouping, valueGrouping } = shape;
  return tokens(shape) * (totalKvHeads(grouping) + totalKvHeads(valueGrouping ?? grouping)) * headDim(shape);
}
