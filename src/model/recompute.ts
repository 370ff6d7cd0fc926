/**
 * Memory for time: a function whose inner values are computed again when its gradient is needed, instead of being kept
 * until then. Traceable.
 */
import * as tf from '@tensorflow/tfjs-core';

/**
 * The value of `f`; the backward pass runs `f` a second time on the same inputs.
 * Source: Chen et al. 2016, arXiv:1604.06174; torch.utils.checkpoint.
 *
 * @param f      of the inputs alone, and without a side effect that could not happen twice
 * @param inputs the first one is what everything in `f` that is worth forgetting depends on
 * @param after  (x, ready) → x, but not before `ready` is there: in a graph, whose optimizer would otherwise see that
 *   both runs compute the same and keep the values of the first
 */
export function recomputed(
  f: (inputs: tf.Tensor[]) => tf.Tensor,
  inputs: tf.Tensor[],
  after: (x: tf.Tensor, ready: tf.Tensor) => tf.Tensor,
): tf.Tensor {
  const op = tf.customGrad((...given) => {
    const xs = given.slice(0, -1) as tf.Tensor[];
    (given.at(-1) as tf.GradSaveFunc)(xs);
    return {
      value: f(xs),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [first, ...rest] = saved as [tf.Tensor, ...tf.Tensor[]];
        return onTapeOfItsOwn(() => tf.grads((...again: tf.Tensor[]) => f(again))([after(first, dy), ...rest], dy));
      },
    };
  });
  return op(...inputs);
}

/**
 * TensorFlow.js begins a new tape for a gradient inside a backward pass, and forgets the one that is being played back.
 */
function onTapeOfItsOwn<T>(body: () => T): T {
  const { state } = tf.engine();
  const outer = state.activeTape;
  try {
    return body();
  } finally {
    state.activeTape = outer;
  }
}
