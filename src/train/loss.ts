/**
 * Cross-entropy and accuracy as sums over a batch, so that averages are sums divided once and padding counts nothing.
 * Pure; traceable.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { MixedLabels } from './mix.js';

/**
 * Weighted sum of the cross-entropy of each example, with label smoothing as in torch: targets (1 − ε) · one-hot + ε /
 * C.
 * @param logits  [B, C]
 * @param labels  [B] int32
 * @param weights [B]
 * @param mix     a second label of each example: one-hot becomes λ · one-hot of its own + (1 − λ) · one-hot of the
 *   other
 * @returns       scalar; its gradient with respect to the logits is w · (softmax − target)
 */
export function crossEntropySum(
  logits: tf.Tensor,
  labels: tf.Tensor,
  weights: tf.Tensor,
  labelSmoothing = 0,
  mix: MixedLabels | null = null,
): tf.Tensor {
  const classes = logits.shape[1] as number;
  const own = tf.oneHot(labels as tf.Tensor1D, classes);
  const oneHot =
    mix === null
      ? own
      : tf.add(tf.mul(own, mix.lambda), tf.mul(tf.oneHot(mix.labels as tf.Tensor1D, classes), tf.sub(1, mix.lambda)));
  const targets = tf.add(tf.mul(oneHot, 1 - labelSmoothing), labelSmoothing / classes); // [B, C]
  const column = tf.reshape(weights, [-1, 1]);
  const loss = tf.customGrad((z, save) => {
    const input = z as tf.Tensor;
    const shifted = tf.sub(input, tf.max(input, -1, true));
    const exp = tf.exp(shifted);
    const sum = tf.sum(exp, -1, true);
    (save as tf.GradSaveFunc)([tf.mul(tf.sub(tf.div(exp, sum), targets), column)]);
    // targets add up to 1, so −Σ t·log p = Σ t·(log Σe − z)
    const perExample = tf.mul(targets, tf.sub(tf.log(sum), shifted));
    return {
      value: tf.sum(tf.mul(perExample, column)),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.mul(saved[0] as tf.Tensor, dy),
    };
  });
  return loss(logits);
}

/**
 * Weighted sum of τ² · KL(teacher ‖ student) of each example, both softened by a temperature τ (Hinton et al. 2015,
 * arXiv:1503.02531; the τ² keeps gradients of the same size).
 * @param logits  [B, C]; only they have a gradient
 * @param teacher [B, C]
 * @param weights [B]
 * @returns       scalar; its gradient with respect to the logits is w · τ · (softmax(logits / τ) − softmax(teacher /
 *   τ))
 */
export function distillationSum(
  logits: tf.Tensor,
  teacher: tf.Tensor,
  weights: tf.Tensor,
  temperature: number,
): tf.Tensor {
  const column = tf.reshape(weights, [-1, 1]);
  const loss = tf.customGrad((z, save) => {
    const ofTeacher = tf.logSoftmax(tf.div(teacher, temperature));
    const ofStudent = tf.logSoftmax(tf.div(z as tf.Tensor, temperature));
    const target = tf.exp(ofTeacher);
    (save as tf.GradSaveFunc)([tf.mul(tf.mul(tf.sub(tf.exp(ofStudent), target), column), temperature)]);
    return {
      value: tf.mul(tf.sum(tf.mul(tf.mul(target, tf.sub(ofTeacher, ofStudent)), column)), temperature ** 2),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.mul(saved[0] as tf.Tensor, dy),
    };
  });
  return loss(logits);
}

/** How features are compared. */
export type FeatureLoss = 'cosine' | 'l2';

/**
 * Weighted sum of how far the tokens' features are from the teacher's: the mean over an image's tokens of 1 − cosine,
 * or their squared distance in parts of the square of the teacher's.
 * @param features [B·N, D]; only they have a gradient
 * @param teacher  [B·N, D]
 * @param weights  [B]
 * @returns        scalar
 */
export function featureSum(features: tf.Tensor, teacher: tf.Tensor, weights: tf.Tensor, by: FeatureLoss): tf.Tensor {
  const batch = weights.shape[0] as number;
  const [ours, theirs] = [features, teacher].map((x) => tf.reshape(x, [batch, -1, x.shape[1] as number])) as [
    tf.Tensor,
    tf.Tensor,
  ];
  const square = (x: tf.Tensor): tf.Tensor => tf.sum(tf.square(x), 2); // [B, N]
  const cosine = (): tf.Tensor => {
    const length = (x: tf.Tensor): tf.Tensor => tf.sqrt(tf.add(square(x), 1e-12));
    const cosines = tf.div(tf.sum(tf.mul(ours, theirs), 2), tf.mul(length(ours), length(theirs)));
    return tf.sub(1, tf.mean(cosines, 1));
  };
  const l2 = (): tf.Tensor => tf.div(tf.sum(square(tf.sub(ours, theirs)), 1), tf.add(tf.sum(square(theirs), 1), 1e-12));
  return tf.sum(tf.mul({ cosine, l2 }[by](), weights));
}

/**
 * How many examples have their label among the first 1 and the first 5; the lower class index wins a tie, as in
 * arg-max.
 * @returns two scalars, weighted sums
 */
export function correctSums(
  logits: tf.Tensor,
  labels: tf.Tensor,
  weights: tf.Tensor,
): { top1: tf.Tensor; top5: tf.Tensor } {
  const classes = logits.shape[1] as number;
  const own = tf.reshape(tf.sum(tf.mul(logits, tf.oneHot(labels as tf.Tensor1D, classes)), -1), [-1, 1]); // [B, 1]
  const earlier = tf.less(tf.reshape(tf.range(0, classes, 1, 'int32'), [1, -1]), tf.reshape(labels, [-1, 1])); // [B, C]
  const before = tf.logicalOr(tf.greater(logits, own), tf.logicalAnd(tf.equal(logits, own), earlier));
  const rank = tf.sum(tf.cast(before, 'float32'), -1); // [B] classes ahead of the label
  const within = (k: number): tf.Tensor => tf.sum(tf.mul(tf.cast(tf.less(rank, k), 'float32'), weights));
  return { top1: within(1), top5: within(5) };
}

/** What evaluation adds up over a batch, as one tensor [4]: cross-entropy without smoothing, top-1, top-5, images. */
export function evaluationSums(logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor): tf.Tensor {
  const { top1, top5 } = correctSums(logits, labels, weights);
  return tf.stack([crossEntropySum(logits, labels, weights), top1, top5, tf.sum(weights)]);
}
