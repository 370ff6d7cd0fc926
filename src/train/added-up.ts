/** Sums over calibration images of what models work on, added up on the device. */
import * as tf from '@tensorflow/tfjs-core';
import type { Weighted } from '../convert/checkpoint.js';
import type { Params } from '../model/params.js';
import { normalise, type PixelScale } from '../model/pixels.js';
import type { ModelShape } from '../model/sizes.js';
import { forward, type Pass } from '../model/vit.js';
import { bytes, type Feed, float32, traced } from '../trace/function.js';
import type { Variable } from '../trace/variable.js';
import { loadable } from './loadable.js';
import { MODES, type TrainerMode } from './trainer.js';

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

/** A model as a traced function sees it. */
export interface Loaded {
  shape: ModelShape;
  params: Params;
}

export interface TracedBatch {
  images: tf.Tensor;
  /** [B] */
  weights: tf.Tensor;
}

export function observed({ shape, params }: Loaded, batch: TracedBatch, observe: NonNullable<Pass['observe']>): void {
  forward(params, batch.images, {
    ...{ shape, variant: 'mha', state: [], allocation: { by: 'state' }, noise: null },
    weights: batch.weights,
    observe,
  });
}

type Run = (feeds: Record<string, Feed>) => Record<string, tf.Tensor>;

/** Adds up variables over batches, in a program of its own: one pass, and nothing is kept per token. */
export async function addedUp(
  models: readonly Weighted[],
  sums: readonly Variable[],
  { batchSize, height, width, pixels: scale }: Feeding,
  batches: AsyncIterable<Shown>,
  mode: TrainerMode,
  { observe }: { observe(models: readonly Loaded[], batch: TracedBatch): void },
): Promise<{ images: number; found: Record<string, Float32Array> }> {
  const held = models.map(({ shape }, i) => loadable(`model-${i}`, shape, 'mha', mode));
  const program = MODES[mode](
    {
      ...Object.fromEntries(held.map(({ load }, i) => [`load-${i}`, load])),
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
            held.map(({ shape, read }) => ({ shape, params: read() })),
            { images, weights },
          );
          return {};
        },
      ),
      read: traced({}, () => Object.fromEntries(sums.map((each) => [each.name, each.read()]))),
    },
    'float32',
  );
  const run = program.run as unknown as Record<string, Run>;
  try {
    for (const [i, { values }] of models.entries()) held[i]?.fill(run[`load-${i}`] as Run, values);
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
