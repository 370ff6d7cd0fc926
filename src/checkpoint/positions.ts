/**
 * Position embeddings of a grid of patches at another size, as timm resizes them (layers/pos_embed.py,
 * resample_abs_pos_embed): bicubic with antialias, tokens before the grid as they are. The weights are those of torch's
 * `F.interpolate(mode='bicubic', antialias=True, align_corners=False)` (aten UpSampleKernel.cpp, cubic with a = −0.5).
 */

/** Keys' cubic with a = −0.5. */
function cubic(x: number): number {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}

/** For each of `to` places the first of `from` places that it reads, and their weights. */
function weightsOf(from: number, to: number): { first: number; weights: number[] }[] {
  const scale = from / to;
  const width = Math.max(1, scale); // of a step of the cubic, in places read
  return Array.from({ length: to }, (_, i) => {
    const centre = scale * (i + 0.5);
    const first = Math.max(0, Math.trunc(centre - 2 * width + 0.5));
    const end = Math.min(from, Math.trunc(centre + 2 * width + 0.5));
    const raw = Array.from({ length: end - first }, (_, j) => cubic((first + j - centre + 0.5) / width));
    const sum = raw.reduce((total, weight) => total + weight, 0);
    return { first, weights: raw.map((weight) => weight / sum) };
  });
}

/**
 * @param values [before + from², D]: tokens before the grid, then the grid row by row
 * @param from    patches in a row of the grid
 * @param to      patches in a row afterwards
 * @param before  tokens before the grid (1: the class token)
 * @returns [before + to², D]
 */
export function resizedPositions(values: Float32Array, from: number, to: number, before = 1): Float32Array {
  const dim = values.length / (before + from * from);
  const grid = values.subarray(before * dim);
  const weights = weightsOf(from, to);
  const across = new Float64Array(from * to * dim); // rows as they were, columns resized
  for (let row = 0; row < from; row++) add(grid, row * from * dim, dim, across, row * to * dim, dim, weights, dim);
  const resized = new Float64Array(to * to * dim);
  for (let column = 0; column < to; column++)
    add(across, column * dim, to * dim, resized, column * dim, to * dim, weights, dim);
  const all = new Float32Array((before + to * to) * dim);
  all.set(values.subarray(0, before * dim));
  all.set(resized, before * dim);
  return all;
}

/** One row or column of vectors of `dim` numbers, from every `step` numbers of `from` to every `stepTo` of `into`. */
function add(
  from: ArrayLike<number>,
  start: number,
  step: number,
  into: Float64Array,
  startTo: number,
  stepTo: number,
  weights: ReturnType<typeof weightsOf>,
  dim: number,
): void {
  for (const [i, { first, weights: ws }] of weights.entries())
    for (const [j, weight] of ws.entries())
      for (let d = 0; d < dim; d++)
        (into[startTo + i * stepTo + d] as number) += weight * (from[start + (first + j) * step + d] as number);
}
