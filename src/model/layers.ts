/**
 * The layers of a ViT as functions of tensors, with the gradients that tfjs would otherwise spread over many small
 * operations written by hand. Traceable: no value is read back to the host.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type AttentionRows, attentionRows, type Reading } from './attend.js';
import { LAYER_NORM_EPS } from './sizes.js';

/** What a block is made of besides matrix products; a graph can have operations of its own for it. */
export interface Layers {
  /** Layer norm over the last axis. @param x [..., D]; `gain` and `bias` [D] */
  norm(x: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor, eps: number): tf.Tensor;
  /** GELU of z + bias. @param z [rows, D]; `bias` [D] */
  biasGelu(z: tf.Tensor, bias: tf.Tensor): tf.Tensor;
  /** x + r + bias. @param x [rows, D]; `r` alike; `bias` [D] */
  residual(x: tf.Tensor, r: tf.Tensor, bias: tf.Tensor): tf.Tensor;
  /** What the heads give, side by side, [B·M, H·E]. The key bias gets no gradient (`withoutGradient`). */
  attention(rows: AttentionRows, reading: Reading): tf.Tensor;
}

/** Of TensorFlow.js's own operations: for every backend, and what others must agree with. */
export const PLAIN: Layers = {
  norm: (x, gain, bias, eps) => layerNorm(x, gain, bias, eps),
  biasGelu: (z, bias) => gelu(tf.add(z, bias)),
  residual: (x, r, bias) => tf.add(x, tf.add(r, bias)),
  attention: (rows, reading) => attentionRows({ ...rows, kBias: withoutGradient(rows.kBias) }, reading),
};

/**
 * x · weightᵀ + bias.
 * @param x      [..., in]
 * @param weight [out, in], torch's layout
 * @param bias   [out]
 * @returns      [..., out]
 */
export function linear(x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor): tf.Tensor {
  const [outputs, inputs] = weight.shape as [number, number];
  const y = tf.add(product(rowsOf(x, inputs), weight), bias);
  return x.rank === 2 ? y : tf.reshape(y, [...x.shape.slice(0, -1), outputs]);
}

/** x · weightᵀ. @param x [rows, in]; `weight` [out, in]. @returns [rows, out] */
export const product = (x: tf.Tensor, weight: tf.Tensor): tf.Tensor =>
  tf.matMul(x as tf.Tensor2D, weight as tf.Tensor2D, false, true);

/**
 * Layer norm over the last axis, with its gradient in closed form.
 * @param x [..., D]; `gain` and `bias` [D]
 */
export function layerNorm(x: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor, eps: number = LAYER_NORM_EPS): tf.Tensor {
  return (eps === LAYER_NORM_EPS ? usualLayerNorm : layerNormOp(eps))(x, gain, bias);
}

const layerNormOp = (eps: number): ((...inputs: tf.Tensor[]) => tf.Tensor) =>
  tf.customGrad((x, gain, bias, save) => {
    const [input, scale, shift, keep] = [x as tf.Tensor, gain as tf.Tensor, bias as tf.Tensor, save as tf.GradSaveFunc];
    const centred = tf.sub(input, tf.mean(input, -1, true));
    const inverseStd = tf.rsqrt(tf.add(tf.mean(tf.square(centred), -1, true), eps));
    const normalised = tf.mul(centred, inverseStd);
    keep([normalised, inverseStd, scale]);
    return {
      value: tf.add(tf.mul(normalised, scale), shift),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [n, r, g] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
        const dn = tf.mul(dy, g);
        const meanDn = tf.mean(dn, -1, true);
        const meanDnN = tf.mean(tf.mul(dn, n), -1, true);
        const dx = tf.mul(tf.sub(tf.sub(dn, meanDn), tf.mul(n, meanDnN)), r);
        return [dx, sumRows(tf.mul(dy, n)), sumRows(dy)];
      },
    };
  });

const usualLayerNorm = layerNormOp(LAYER_NORM_EPS);

/** [..., D] → [D]. */
const sumRows = (x: tf.Tensor): tf.Tensor => tf.sum(rowsOf(x, x.shape.at(-1) as number), 0);

/** [..., D] → [rows, D]; rows stay as they are, since even a reshape that changes nothing is an operation. */
const rowsOf = (x: tf.Tensor, size: number): tf.Tensor2D =>
  (x.rank === 2 ? x : tf.reshape(x, [-1, size])) as tf.Tensor2D;

/** x · Φ(x), with the error function, as torch's and timm's GELU; not the tanh approximation. */
export function gelu(x: tf.Tensor): tf.Tensor {
  return geluOp(x);
}

const normalCdf = (x: tf.Tensor): tf.Tensor => tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), 0.5);
const normalDensity = (x: tf.Tensor): tf.Tensor =>
  tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));

const geluOp = tf.customGrad((x, save) => {
  const [input, keep] = [x as tf.Tensor, save as tf.GradSaveFunc];
  keep([input]);
  return {
    value: tf.mul(input, normalCdf(input)),
    gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const [z] = saved as [tf.Tensor];
      return tf.mul(dy, tf.add(normalCdf(z), tf.mul(z, normalDensity(z))));
    },
  };
});

const withoutGradientOp = tf.customGrad((bias) => ({
  value: (bias as tf.Tensor).clone(),
  gradFunc: (dy: tf.Tensor) => tf.zerosLike(dy),
}));

/**
 * The key bias adds the same number to all scores of a query, which softmax ignores: its gradient is 0. Computed, it is
 * rounding noise, which AdamW would turn into full steps, and which would move the key norms that KDGQA and DGQA
 * allocate by. So it is 0 here.
 */
const withoutGradient = (bias: tf.Tensor): tf.Tensor => withoutGradientOp(bias);
