import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forwardFlops } from '../../src/model/flops.js';
import { neighbours } from '../../src/model/grouping.js';

test('ViT-S, B and L at 224 have the multiply-adds that timm states for MHA: 4.6, 17.6 and 61.6 · 10⁹', () => {
  const vit = (embedDim: number, depth: number, heads: number) => ({
    imageSize: 224,
    patchSize: 16,
    embedDim,
    depth,
    heads,
    grouping: neighbours(depth, heads, heads),
    mlpRatio: 4,
    numClasses: 1000,
  });
  const gmacs = (...size: [number, number, number]): number => Number((forwardFlops(vit(...size)) / 2e9).toFixed(1));
  assert.deepEqual([gmacs(384, 12, 6), gmacs(768, 12, 12), gmacs(1024, 24, 16)], [4.6, 17.6, 61.6]);
});

test('fewer KV heads save projections of K and V, nothing of the attention itself', () => {
  const vit = {
    imageSize: 32,
    patchSize: 8,
    embedDim: 48,
    depth: 1,
    heads: 6,
    grouping: neighbours(1, 6, 6),
    mlpRatio: 4,
    numClasses: 10,
  };
  assert.equal(forwardFlops(vit) - forwardFlops({ ...vit, grouping: neighbours(1, 6, 3) }), 2 * 17 * 48 * 2 * 24);
});
