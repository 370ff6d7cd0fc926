/** Sums over calibration images of what models work on, added up on the device. */
import * as tf from '@tensorflow/tfjs-core';
import type { Weighted } from '../convert/checkpoint.js';
import { type Params, paramsFrom } from '../model/params.js';
import { normalise, type PixelScale } from '../model/pixels.js';
import type { ModelShape } from '../model/sizes.js';
import { forward, type Pass } from '../model/vit.js';
import { bytes, type Feed, float32, traced } from '../trace/function.js';
import type { Variable } from '../trace/variable.js';
import { packed } from './packed.js';
import { MODES, type TrainerMode } from './trainer.js';
import { shapesOf } from './variables.js';

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

/** Adds up variables over batches, in a program of its own: one pass, and nothing is kept per token. */
export async function addedUp(
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
