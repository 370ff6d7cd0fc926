/**
 * Statistics of an MHA model on calibration images (convert/statistics.ts says which), added up on the device: one pass
 * over the images, and nothing is kept per token.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { LayerStatistics, StatisticName } from '../convert/statistics.js';
import type { Batch } from '../data/dataset.js';
import { paramsFrom, type Values } from '../model/params.js';
import { normalise, type PixelScale } from '../model/pixels.js';
import { type LayerShape, layerShapes, type ModelShape } from '../model/sizes.js';
import { forward, type Observed } from '../model/vit.js';
import { bytes, type Feed, float32, traced } from '../trace/function.js';
import { type Variable, variable } from '../trace/variable.js';
import { packed } from './packed.js';
import { MODES, type TrainerMode } from './trainer.js';
import { shapesOf } from './variables.js';

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

/** What batches are like, and how pixels become the model's input. */
export interface Feeding {
  batchSize: number;
  height: number;
  width: number;
  pixels: PixelScale;
}

/**
 * @param values of an MHA model of `shape`
 * @param names  the statistics that are wanted
 * @returns      one for each layer
 */
export async function gatherStatistics(
  values: Values,
  shape: ModelShape,
  names: readonly StatisticName[],
  { batchSize, height, width, pixels: scale }: Feeding,
  batches: AsyncIterable<Batch>,
  mode: TrainerMode,
): Promise<LayerStatistics[]> {
  const layers = layerShapes(shape);
  const params = packed('params', shapesOf(shape, 'mha'), mode === 'compiled');
  const sums = layers.map((layer) =>
    names.map((name): [StatisticName, Variable] => [
      name,
      variable(`statistics/${layer.index}/${name}`, RULES[name].shape(layer)),
    ]),
  );
  const loaded = Object.entries(shapesOf(shape, 'mha')).map(([name, size]) => [name, float32(...size)] as const);
  const program = MODES[mode](
    {
      load: traced(Object.fromEntries(loaded), (given) => {
        params.assign(given);
        for (const [, each] of sums.flat()) each.assign(tf.zeros([...each.shape]));
        return {};
      }),
      observe: traced(
        { pixels: bytes(batchSize, height, width, 3), weights: float32(batchSize) },
        ({ pixels, weights }) => {
          const observe = (i: number, seen: Observed): void => {
            for (const [name, each] of sums[i] ?? [])
              each.assignAdd(RULES[name].ofBatch(seen, weights, layers[i] as LayerShape));
          };
          const { logits } = forward(params.read(), normalise(pixels, shape.imageSize, scale), {
            ...{ shape, variant: 'mha', state: [], allocation: { by: 'state' }, noise: null, weights },
            observe,
          });
          return { logits }; // what nothing needs would not be computed
        },
      ),
      read: traced({}, () => Object.fromEntries(sums.flat().map(([, each]) => [each.name, each.read()]))),
    },
    'float32',
  );
  const run = program.run as unknown as Record<
    'load' | 'observe' | 'read',
    (feeds: Record<string, Feed>) => Record<string, tf.Tensor>
  >;
  try {
    const tensors = paramsFrom(shape, (name) => values[name] as Float32Array, 'mha');
    run.load(tensors);
    tf.dispose(tensors);
    let images = 0;
    for await (const batch of batches) {
      tf.dispose(run.observe({ pixels: batch.pixels, weights: batch.weights }));
      images += batch.images;
    }
    const found = run.read({});
    const statistics = sums.map(
      (layer, i): LayerStatistics => ({
        images,
        tokens: images * (layers[i] as LayerShape).tokens,
        ...Object.fromEntries(layer.map(([name, { name: held }]) => [name, found[held]?.dataSync() as Float32Array])),
      }),
    );
    tf.dispose(found);
    return statistics;
  } finally {
    program.dispose();
  }
}
