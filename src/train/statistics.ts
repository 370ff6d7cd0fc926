/**
 * Statistics of an MHA model on calibration images (convert/statistics.ts says which), added up on the device: one pass
 * over the images, and nothing is kept per token.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Weighted } from '../convert/checkpoint.js';
import type { LayerStatistics, StatisticName } from '../convert/statistics.js';
import { type LayerShape, layerShapes } from '../model/sizes.js';
import type { Observed } from '../model/vit.js';
import { type Variable, variable } from '../trace/variable.js';
import { addedUp, type Feeding, type Loaded, observed, type Shown } from './added-up.js';
import type { TrainerMode } from './trainer.js';

/** How a statistic is made from a batch of what attention works on; `weights` [B] is 0 for padding. */
interface Rule {
  shape(layer: LayerShape): number[];
  ofBatch(seen: Observed, weights: tf.Tensor, layer: LayerShape): tf.Tensor;
}

/** X [B, N, D], padding 0. */
function realInputs({ x }: Observed, weights: tf.Tensor, { tokens, embedDim }: LayerShape): tf.Tensor {
  return tf.mul(tf.reshape(x, [-1, tokens, embedDim]), tf.reshape(weights, [-1, 1, 1]));
}

/** [X 1], padding 0. */
function withOnes(seen: Observed, weights: tf.Tensor, layer: LayerShape): tf.Tensor {
  const inputs = realInputs(seen, weights, layer);
  const [batch, tokens] = inputs.shape as [number, number, number];
  return tf.concat([inputs, tf.mul(tf.ones([batch, tokens, 1]), tf.reshape(weights, [-1, 1, 1]))], 2);
}

/** Σ x xᵀ over all rows of [..., D]. */
function gram(x: tf.Tensor): tf.Tensor {
  const rows = tf.reshape(x, [-1, x.shape.at(-1) as number]);
  return tf.matMul(rows as tf.Tensor2D, rows as tf.Tensor2D, true, false);
}

/** The softmax of head h, [B, N, N]. */
function attentionOf({ q, k }: Observed, h: number): tf.Tensor {
  const head = (x: tf.Tensor): tf.Tensor => tf.squeeze(tf.slice(x, [0, h, 0, 0], [-1, 1, -1, -1]), [1]);
  return tf.softmax(tf.matMul(head(q), head(k), false, true));
}

const byHead = ({ heads }: LayerShape, of: (h: number) => tf.Tensor): tf.Tensor =>
  tf.stack(Array.from({ length: heads }, (_, h) => of(h)));

const RULES: Record<StatisticName, Rule> = {
  inputs: {
    shape: ({ embedDim: d }) => [d + 1, d + 1],
    ofBatch: (seen, weights, layer) => gram(withOnes(seen, weights, layer)),
  },
  imageMeans: {
    shape: ({ embedDim: d }) => [d, d],
    ofBatch: (seen, weights, layer) => tf.mul(gram(tf.mean(realInputs(seen, weights, layer), 1)), layer.tokens),
  },
  queries: {
    shape: ({ heads, headDim: e }) => [heads, e, e],
    ofBatch({ q }, weights, layer) {
      const real = tf.mul(tf.mul(q, Math.sqrt(layer.headDim)), tf.reshape(weights, [-1, 1, 1, 1]));
      return byHead(layer, (h) => gram(tf.slice(real, [0, h, 0, 0], [-1, 1, -1, -1])));
    },
  },
  attended: {
    shape: ({ heads, embedDim: d }) => [heads, d + 1, d + 1],
    ofBatch(seen, weights, layer) {
      const inputs = withOnes(seen, weights, layer);
      return byHead(layer, (h) => gram(tf.matMul(attentionOf(seen, h), inputs)));
    },
  },
  keyed: {
    shape: ({ heads, embedDim: d }) => [heads, d, d],
    ofBatch(seen, weights, layer) {
      const inputs = realInputs(seen, weights, layer);
      return byHead(layer, (h) => {
        const read = tf.expandDims(tf.sum(attentionOf(seen, h), 1), 2); // how much each token is read, [B, N, 1]
        const rows = (x: tf.Tensor): tf.Tensor2D => tf.reshape(x, [-1, layer.embedDim]);
        return tf.matMul(rows(tf.mul(inputs, read)), rows(inputs), true, false);
      });
    },
  },
};

/**
 * @param model of MHA in the layers that are looked at
 * @param names the statistics that are wanted
 * @param only  the layer that is wanted; null: all
 * @returns     one for each layer that is wanted
 */
export async function gatherStatistics(
  model: Weighted,
  names: readonly StatisticName[],
  feeding: Feeding,
  batches: AsyncIterable<Shown>,
  mode: TrainerMode,
  only: number | null = null,
): Promise<LayerStatistics[]> {
  const layers = layerShapes(model.shape).filter(({ index }) => only === null || index === only);
  const sums = layers.map((layer) =>
    names.map((name): [StatisticName, Variable] => [
      name,
      variable(`statistics/${layer.index}/${name}`, RULES[name].shape(layer)),
    ]),
  );
  const { images, found } = await addedUp(
    [model],
    sums.flat().map(([, each]) => each),
    feeding,
    batches,
    mode,
    {
      observe([of], batch) {
        observed(of as Loaded, batch, (i, seen) => {
          const at = layers.findIndex(({ index }) => index === i);
          for (const [name, each] of sums[at] ?? [])
            each.assignAdd(RULES[name].ofBatch(seen, batch.weights, layers[at] as LayerShape));
        });
      },
    },
  );
  return sums.map(
    (layer, i): LayerStatistics => ({
      images,
      tokens: images * (layers[i] as LayerShape).tokens,
      ...Object.fromEntries(layer.map(([name, { name: held }]) => [name, found[held]])),
    }),
  );
}
