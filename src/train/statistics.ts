/**
 * Statistics of an MHA model on calibration images (convert/statistics.ts says which), added up on the device: one pass
 * over the images, and nothing is kept per token.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Weighted } from '../convert/checkpoint.js';
import type { OutputSums } from '../convert/refit.js';
import type { LayerStatistics, StatisticName } from '../convert/statistics.js';
import { linear } from '../model/layers.js';
import { type Params, paramsFrom } from '../model/params.js';
import { normalise, type PixelScale } from '../model/pixels.js';
import { type LayerShape, layerShape, layerShapes, type ModelShape } from '../model/sizes.js';
import { forward, type Observed, type Pass } from '../model/vit.js';
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
  /** Null: images come as the model's input, in float32. */
  pixels: PixelScale | null;
}

/** Of a batch what is looked at; `pixels` are bytes, or float32 as `Feeding.pixels` says. */
export interface Shown {
  pixels: Uint8Array | Float32Array;
  weights: Float32Array;
  /** Real ones. */
  images: number;
}

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

/** A quarter of the images chooses the ridge of a refit. */
const HELD_OUT = 4;

/**
 * What a layer's output projection reads in the converted model, and what it should give so that the residual stream
 * after it is MHA's: sums over the tokens of the images that are fitted to, and of every fourth, which are held out.
 */
export async function gatherOutputs(
  mha: Weighted,
  converted: Weighted,
  layer: number,
  feeding: Feeding,
  batches: AsyncIterable<Shown>,
  mode: TrainerMode,
): Promise<{ fit: OutputSums; held: OutputSums }> {
  const { embedDim, tokens } = layerShape(mha.shape, layer);
  const parts = ['fit', 'held'] as const;
  const sums = parts.map((part) => ({
    products: variable(`${part}/products`, [embedDim + 1, embedDim + 1]),
    targets: variable(`${part}/targets`, [embedDim + 1, embedDim]),
    energy: variable(`${part}/energy`, []),
  }));
  const { found } = await addedUp(
    [mha, converted],
    sums.flatMap((each) => Object.values(each)),
    feeding,
    batches,
    mode,
    {
      observe([ofMha, ofConverted], batch) {
        let wanted: tf.Tensor | null = null;
        const at = `blocks.${layer}.attn.proj`;
        observed(ofMha as Loaded, batch, (i, { stream, joined }) => {
          const { params } = ofMha as Loaded;
          if (i === layer)
            wanted = tf.add(
              stream,
              linear(joined, params[`${at}.weight`] as tf.Tensor, params[`${at}.bias`] as tf.Tensor),
            );
        });
        observed(ofConverted as Loaded, batch, (i, { stream, joined }) => {
          if (i !== layer) return;
          const rows = joined.shape[0] as number;
          const read = tf.concat([joined, tf.ones([rows, 1])], 1);
          const target = tf.sub(wanted as unknown as tf.Tensor, stream);
          const places = tf.range(0, batch.weights.size, 1, 'int32');
          const isHeld = tf.cast(tf.equal(tf.mod(places, HELD_OUT), HELD_OUT - 1), 'float32');
          const shares = [tf.sub(1, isHeld), isHeld];
          for (const [p, { products, targets, energy }] of sums.entries()) {
            const ofImage = tf.mul(batch.weights, shares[p] as tf.Tensor);
            const weights = tf.reshape(tf.tile(tf.reshape(ofImage, [-1, 1]), [1, tokens]), [-1, 1]);
            const counted = tf.mul(read, weights);
            products.assignAdd(tf.matMul(counted as tf.Tensor2D, read as tf.Tensor2D, true, false));
            targets.assignAdd(tf.matMul(counted as tf.Tensor2D, target as tf.Tensor2D, true, false));
            energy.assignAdd(tf.sum(tf.mul(tf.square(target), weights)));
          }
        });
      },
    },
  );
  const [fit, held] = sums.map(({ products, targets, energy }) => ({
    products: found[products.name] as Float32Array,
    targets: found[targets.name] as Float32Array,
    energy: found[energy.name]?.[0] as number,
  }));
  return { fit: fit as OutputSums, held: held as OutputSums };
}

/** A model as a traced function sees it. */
interface Loaded {
  shape: ModelShape;
  params: Params;
}

interface TracedBatch {
  images: tf.Tensor;
  /** [B] */
  weights: tf.Tensor;
}

function observed({ shape, params }: Loaded, batch: TracedBatch, observe: NonNullable<Pass['observe']>): void {
  forward(params, batch.images, {
    ...{ shape, variant: 'mha', state: [], allocation: { by: 'state' }, noise: null },
    weights: batch.weights,
    observe,
  });
}

/** Adds up variables over batches, in a program of its own. */
async function addedUp(
  models: readonly Weighted[],
  sums: readonly Variable[],
  { batchSize, height, width, pixels: scale }: Feeding,
  batches: AsyncIterable<Shown>,
  mode: TrainerMode,
  { observe }: { observe(models: readonly Loaded[], batch: TracedBatch): void },
): Promise<{ images: number; found: Record<string, Float32Array> }> {
  const held = models.map(({ shape }, i) => packed(`model-${i}`, shapesOf(shape, 'mha'), mode === 'compiled'));
  const load = Object.fromEntries(
    models.map(({ shape }, i) => {
      const specs = Object.entries(shapesOf(shape, 'mha')).map(([name, size]) => [name, float32(...size)] as const);
      return [
        `load-${i}`,
        traced(Object.fromEntries(specs), (given) => {
          held[i]?.assign(given);
          return {};
        }),
      ];
    }),
  );
  const program = MODES[mode](
    {
      ...load,
      begin: traced({}, () => {
        for (const each of sums) each.assign(tf.zeros([...each.shape]));
        return {};
      }),
      observe: traced(
        { pixels: (scale === null ? float32 : bytes)(batchSize, height, width, 3), weights: float32(batchSize) },
        ({ pixels, weights }) => {
          const { imageSize } = (models[0] as Weighted).shape;
          const images = scale === null ? pixels : normalise(pixels, imageSize, scale);
          observe(
            models.map(({ shape }, i) => ({ shape, params: (held[i] as (typeof held)[number]).read() })),
            { images, weights },
          );
          return {};
        },
      ),
      read: traced({}, () => Object.fromEntries(sums.map((each) => [each.name, each.read()]))),
    },
    'float32',
  );
  const run = program.run as unknown as Record<string, (feeds: Record<string, Feed>) => Record<string, tf.Tensor>>;
  try {
    for (const [i, { shape, values }] of models.entries()) {
      const tensors = paramsFrom(shape, (name) => values[name] as Float32Array, 'mha');
      run[`load-${i}`]?.(tensors);
      tf.dispose(tensors);
    }
    run.begin?.({});
    let images = 0;
    for await (const { pixels, weights, images: count } of batches) {
      run.observe?.({ pixels, weights });
      images += count;
    }
    const found = run.read?.({}) ?? {};
    const values = Object.fromEntries(
      Object.entries(found).map(([name, tensor]) => [name, (tensor.dataSync() as Float32Array).slice()]),
    );
    tf.dispose(found);
    return { images, found: values };
  } finally {
    program.dispose();
  }
}
