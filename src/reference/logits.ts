/** Logits of a model on images that are normalised already, by the functions that train and evaluate. */
import * as tf from '@tensorflow/tfjs-core';
import type { Weighted } from '../convert/checkpoint.js';
import type { VariantName } from '../model/variants.js';
import { forward } from '../model/vit.js';
import { float32, traced } from '../trace/function.js';
import { layersInUse } from '../train/fused-layers.js';
import { loadable } from '../train/loadable.js';
import { MODES, type TrainerMode } from '../train/trainer.js';

/** @param images [B, S, S, 3]. @returns [B, C] */
export function logitsOf(
  { values, shape }: Weighted,
  images: tf.Tensor,
  mode: TrainerMode,
  variant: VariantName = 'gqa',
): Float32Array {
  const params = loadable('params', shape, variant, mode);
  const program = MODES[mode](
    {
      load: params.load,
      logits: traced({ images: float32(...(images.shape as number[])) }, ({ images }) => ({
        logits: forward(params.read(), images, {
          ...{ shape, variant, state: [], allocation: { by: 'state' }, noise: null },
          weights: tf.ones([images.shape[0] as number]),
          layers: layersInUse(),
        }).logits,
      })),
    },
    'float32',
  );
  try {
    params.fill(program.run.load, values);
    const { logits } = program.run.logits({ images });
    const found = logits.dataSync() as Float32Array;
    logits.dispose();
    return found;
  } finally {
    program.dispose();
  }
}
