/**
 * The Vision Transformer: normalised images → tokens → pre-norm blocks → logits of the class token.
 * Source: Dosovitskiy et al. 2021, arXiv:2010.11929; names and details as in timm's vision_transformer.py.
 * Pure and traceable: everything a pass needs comes in, everything it changes goes out, and no value is read back to
 * the host.
 */
import * as tf from '@tensorflow/tfjs-core';
import { assignmentOf, meanKeyNorms } from './allocate.js';
import { type AttentionRows, headsOf, type Reading, rowsOfHeads } from './attend.js';
import { type Layers, linear, PLAIN, product } from './layers.js';
import type { Params } from './params.js';
import { recomputed } from './recompute.js';
import { finalNorm, LAYER_NORM_EPS, layerShape, type ModelShape, tokens } from './sizes.js';
import type { LinearLayer } from './variants/hooks.js';
import type { Allocation, BlockState, KeyDrivenRule, TrainingClock } from './variants/key-driven.js';
import { type VariantName, variantOf } from './variants.js';

/** What a forward pass needs besides parameters and images. */
export interface Pass {
  shape: ModelShape;
  variant: VariantName;
  /** One for each block; empty objects for variants without state. */
  state: BlockState[];
  /** How a key-driven variant allocates in this pass. */
  allocation: { by: 'training'; clock: TrainingClock } | { by: 'state' } | { by: 'batch' };
  /** The uniform draws of a variant that perturbs, one for each block; null for no noise. */
  noise: tf.Tensor[] | null;
  /** [B], 1 for a real image, 0 for padding. */
  weights: tf.Tensor;
  /**
   * Blocks are computed again in the backward pass instead of being kept: `after` of model/recompute.ts. Null or left
   * out: they are kept.
   */
  recompute?: ((x: tf.Tensor, ready: tf.Tensor) => tf.Tensor) | null;
  /** Of what layers a block is made; left out: `PLAIN`. */
  layers?: Layers;
  /** Whether all tokens are taken to the end, not the class token alone, for `ForwardResult.features`. */
  features?: boolean;
  /** Sees what attention of every block works on, as it is; for statistics of a model that is not trained. */
  observe?: ((layer: number, seen: Observed) => void) | null;
}

/** Of all tokens of a batch. */
export interface Observed {
  /** [B·N, D], after norm1. */
  x: tf.Tensor;
  /** The same before it: the residual stream. */
  stream: tf.Tensor;
  /** [B, H, N, E], scaled by 1/√E. */
  q: tf.Tensor;
  /** [B, K, N, E] */
  k: tf.Tensor;
  /** What the heads give, side by side, which the output projection reads, [B·N, D]. */
  joined: tf.Tensor;
}

export interface ForwardResult {
  /** [B, C] */
  logits: tf.Tensor;
  /** What the head reads, [B, D]: the class token or the mean of the patches, normalised. */
  pooled: tf.Tensor;
  /** With `features`: all tokens after the last norm, [B·N, D]; else null. */
  features: tf.Tensor | null;
  /** The blocks' states after the pass. */
  state: BlockState[];
  /** Key-driven variants: mean key norms [K] of every block; otherwise empty. */
  keyNorms: tf.Tensor[];
  /** Key-driven variants: query heads for each key head [K] of every block; otherwise empty. */
  counts: tf.Tensor[];
}

/** @param images [B, imageSize, imageSize, 3] float32, normalised */
export function forward(params: Params, images: tf.Tensor, pass: Pass): ForwardResult {
  const result: ForwardResult = { logits: images, pooled: images, features: null, state: [], keyNorms: [], counts: [] };
  // [B·N, D]: tokens are rows, except where attention tells images apart
  let x = tf.reshape(embed(params, images, pass.shape), [-1, pass.shape.embedDim]);
  for (let i = 0; i < pass.shape.depth; i++)
    x = pass.recompute ? blockAgain(x, params, i, pass, result, pass.recompute) : block(x, params, i, pass, result);
  const of = (name: string): tf.Tensor => params[name] as tf.Tensor;
  const norm = finalNorm(pass.shape);
  const normalised = (rows: tf.Tensor): tf.Tensor =>
    (pass.layers ?? PLAIN).norm(
      rows,
      of(`${norm}.weight`),
      of(`${norm}.bias`),
      pass.shape.layerNormEps ?? LAYER_NORM_EPS,
    );
  if (pass.features) result.features = normalised(x);
  result.pooled =
    pass.shape.globalPool === 'avg'
      ? normalised(meanOfPatches(x, pass.shape))
      : result.features === null
        ? normalised(x)
        : firstTokens(result.features, 1, pass.shape);
  result.logits = linear(result.pooled, of('head.weight'), of('head.bias'));
  return result;
}

/** [B·N, D] → [B, D], without the class token. */
function meanOfPatches(rows: tf.Tensor, shape: ModelShape): tf.Tensor {
  const all = tf.reshape(rows, [-1, tokens(shape), shape.embedDim]);
  return tf.mean(tf.slice(all, [0, 1, 0], [-1, -1, -1]), 1);
}

/** Whether nothing but the class token counts after the last block. */
const readsClassToken = ({ shape, features }: Pass): boolean => !features && shape.globalPool === undefined;

/** What blocks add to a result as they are computed. */
type Gathered = Omit<ForwardResult, 'logits' | 'pooled' | 'features'>;

/** Block i on x [B·N, D]: [B·N, D], of the last block [B, D] where only the class token counts; what its state becomes is added to `result`. */
function block(x: tf.Tensor, params: Params, i: number, pass: Pass, result: Gathered): tf.Tensor {
  const at = (name: string): tf.Tensor => params[`blocks.${i}.${name}`] as tf.Tensor;
  const last = i === pass.shape.depth - 1;
  const needed = last && readsClassToken(pass) ? 1 : tokens(pass.shape);
  const { norm, biasGelu, residual } = pass.layers ?? PLAIN;
  const eps = pass.shape.layerNormEps ?? LAYER_NORM_EPS;
  const normalised = norm(x, at('norm1.weight'), at('norm1.bias'), eps);
  const attended = residual(
    firstTokens(x, needed, pass.shape),
    attention(normalised, x, needed, at, i, pass, result),
    at('attn.proj.bias'),
  );
  const again = norm(attended, at('norm2.weight'), at('norm2.bias'), eps);
  const hidden = biasGelu(product(again, at('mlp.fc1.weight')), at('mlp.fc1.bias'));
  return residual(attended, product(hidden, at('mlp.fc2.weight')), at('mlp.fc2.bias'));
}

/**
 * The same, computed again in the backward pass; what the first of the two runs adds to `result` is kept, which the
 * caller frees.
 */
function blockAgain(
  x: tf.Tensor,
  params: Params,
  i: number,
  pass: Pass,
  result: Gathered,
  after: NonNullable<Pass['recompute']>,
): tf.Tensor {
  const names = Object.keys(params).filter((name) => name.startsWith(`blocks.${i}.`));
  const run = ([first, ...values]: tf.Tensor[]): tf.Tensor => {
    const aside: Gathered = { state: [], keyNorms: [], counts: [] };
    const y = block(
      first as tf.Tensor,
      Object.fromEntries(names.map((name, j) => [name, values[j] as tf.Tensor])),
      i,
      pass,
      aside,
    );
    if (result.state.length > i) return y; // the second run
    for (const tensor of [...aside.state.flatMap((state) => Object.values(state)), ...aside.keyNorms, ...aside.counts])
      tf.keep(tensor);
    result.state.push(...aside.state);
    result.keyNorms.push(...aside.keyNorms);
    result.counts.push(...aside.counts);
    return y;
  };
  return recomputed(run, [x, ...names.map((name) => params[name] as tf.Tensor)], after);
}

/**
 * Patches, class token and positions: [B, S, S, 3] → [B, N, D]. The patch convolution has stride = size, so it is one
 * matrix product.
 */
function embed(params: Params, images: tf.Tensor, shape: ModelShape): tf.Tensor {
  const of = (name: string): tf.Tensor => params[name] as tf.Tensor;
  const { imageSize, patchSize: p, embedDim } = shape;
  const batch = images.shape[0] as number;
  const grid = imageSize / p;
  const patches = tf.reshape(tf.transpose(tf.reshape(images, [batch, grid, p, grid, p, 3]), [0, 1, 3, 2, 4, 5]), [
    batch,
    grid * grid,
    p * p * 3,
  ]);
  // [D, 3, P, P] → the pixels' order
  const kernel = tf.reshape(tf.transpose(of('patch_embed.proj.weight'), [0, 2, 3, 1]), [embedDim, p * p * 3]);
  const classToken = tf.tile(of('cls_token'), [batch, 1, 1]);
  return tf.add(tf.concat([classToken, linear(patches, kernel, of('patch_embed.proj.bias'))], 1), of('pos_embed'));
}

/**
 * Self-attention of block i on x [B·N, D], for the first `needed` tokens of each image: [B·needed, D], without the bias
 * of its output; what the block's state becomes is added to `result`.
 * @param stream what x was before the norm
 */
function attention(
  x: tf.Tensor,
  stream: tf.Tensor,
  needed: number,
  at: (name: string) => tf.Tensor,
  i: number,
  pass: Pass,
  result: Gathered,
): tf.Tensor {
  const layer = layerShape(pass.shape, i);
  const { allocate, perturb, project } = variantOf(pass.variant);
  const { heads, kvHeads, groups, valueGroups, headDim: width } = layer;
  const { attention: attend } = pass.layers ?? PLAIN;
  const batch = (x.shape[0] as number) / layer.tokens;
  const own = (name: string): LinearLayer => ({ weight: at(`attn.${name}.weight`), bias: at(`attn.${name}.bias`) });
  const draw = perturb === undefined ? undefined : pass.noise?.[i];
  const all = draw !== undefined || pass.observe; // noise has the statistics of all tokens
  const of = { q: own('q'), ...(project?.(at, layer) ?? { k: own('k'), v: own('v') }) };
  const rows: AttentionRows = {
    q: product(all ? x : firstTokens(x, needed, pass.shape), of.q.weight),
    k: product(x, of.k.weight),
    v: product(x, of.v.weight),
    ...{ qBias: of.q.bias, kBias: of.k.bias, vBias: of.v.bias, batch, width },
  };
  const state = pass.state[i] ?? {};
  let reading: Reading = { groups: { keys: groups, values: valueGroups } };
  if (allocate === undefined) {
    result.state.push(state);
  } else {
    const norms = meanKeyNorms(tf.add(rows.k, rows.kBias), kvHeads, pass.weights);
    const allocated = allocateHeads(allocate, norms, state, batch, pass);
    reading = { selected: assignmentOf(allocated.counts, heads) };
    result.state.push(allocated.state);
    result.keyNorms.push(norms);
    result.counts.push(allocated.counts.clone()); // of its own: DGQA's is in the state too
  }

  const output = attend(rows, reading); // as q
  const joined =
    perturb !== undefined && draw !== undefined
      ? rowsOfHeads(perturb.apply(headsOf(output, batch, width), draw))
      : output;
  if (pass.observe) {
    const [q, k] = [
      headsOf(tf.add(rows.q, rows.qBias), batch, width),
      headsOf(tf.add(rows.k, rows.kBias), batch, width),
    ];
    pass.observe(i, { x, stream, q: tf.mul(q, width ** -0.5), k, joined });
  }
  return product(all ? firstTokens(joined, needed, pass.shape) : joined, at('attn.proj.weight'));
}

/** The first tokens of every image: [B·N, D] → [B·count, D]. */
function firstTokens(rows: tf.Tensor, count: number, shape: ModelShape): tf.Tensor {
  const all = tokens(shape);
  if (count === all) return rows;
  return tf.reshape(tf.slice(tf.reshape(rows, [-1, all, shape.embedDim]), [0, 0, 0], [-1, count, -1]), [
    -1,
    shape.embedDim,
  ]);
}

function allocateHeads(
  rule: KeyDrivenRule,
  norms: tf.Tensor,
  state: BlockState,
  batch: number,
  pass: Pass,
): Allocation {
  const { heads } = pass.shape;
  switch (pass.allocation.by) {
    case 'training':
      return rule.train(norms, batch, heads, state, pass.allocation.clock);
    case 'batch':
      return rule.perBatch(norms, batch, heads, state);
    case 'state':
      return { counts: rule.frozen(heads, state), state };
  }
}
