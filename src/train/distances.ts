/** How far models of MHA's form are from MHA, on calibration images: one program, into which one after another is loaded. */
import * as tf from '@tensorflow/tfjs-core';
import type { Distances, Weighted } from '../convert/checkpoint.js';
import type { Params } from '../model/params.js';
import { normalise } from '../model/pixels.js';
import { forward } from '../model/vit.js';
import { bytes, float32, traced } from '../trace/function.js';
import { variable } from '../trace/variable.js';
import type { Feeding, Shown } from './added-up.js';
import { type Loadable, loadable } from './loadable.js';
import { MODES, type TrainerMode } from './trainer.js';

/**
 * @param batches called for each model
 * @returns `of`: Σ |f − f'|² / Σ |f|² over images, f what the head of MHA reads (the class token after the last norm), f' of the model
 */
export function openDistances(
  { values: mha, shape }: Weighted,
  { batchSize, height, width, pixels: scale }: Feeding,
  batches: () => AsyncIterable<Shown>,
  mode: TrainerMode,
): Distances {
  const [own, other] = ['mha', 'other'].map((name) => loadable(name, shape, 'mha', mode)) as [Loadable, Loadable];
  const sums = variable('sums', [2]);
  const featuresOf = (params: Params, images: tf.Tensor, weights: tf.Tensor): tf.Tensor => {
    const pass = { shape, variant: 'mha', state: [], allocation: { by: 'state' as const }, noise: null, weights };
    return forward(params, images, pass).pooled;
  };
  const program = MODES[mode](
    {
      loadMha: own.load,
      loadOther: other.load,
      begin: traced({}, () => {
        sums.assign(tf.zeros([2]));
        return {};
      }),
      observe: traced(
        { pixels: (scale === null ? float32 : bytes)(batchSize, height, width, 3), weights: float32(batchSize) },
        ({ pixels, weights }) => {
          const images = scale === null ? pixels : normalise(pixels, shape.imageSize, scale);
          const [of, moved] = [own, other].map(({ read }) => featuresOf(read(), images, weights)) as [
            tf.Tensor,
            tf.Tensor,
          ];
          const square = (x: tf.Tensor): tf.Tensor => tf.sum(tf.mul(tf.sum(tf.square(x), 1), weights));
          sums.assignAdd(tf.stack([square(tf.sub(of, moved)), square(of)]));
          return {};
        },
      ),
      read: traced({}, () => ({ sums: sums.read() })),
    },
    'float32',
  );
  own.fill(program.run.loadMha, mha);
  return {
    async of(values) {
      other.fill(program.run.loadOther, values);
      program.run.begin({});
      for await (const { pixels, weights } of batches()) program.run.observe({ pixels, weights });
      const { sums: found } = program.run.read({});
      const [off, all] = Array.from(found.dataSync()) as [number, number];
      found.dispose();
      return off / all;
    },
    close: program.dispose,
  };
}
