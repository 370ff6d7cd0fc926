/** How far models of MHA's form are from MHA, on calibration images: one program, into which one after another is loaded. */
import * as tf from '@tensorflow/tfjs-core';
import type { Distances, Weighted } from '../convert/checkpoint.js';
import { type Params, paramsFrom, type Values } from '../model/params.js';
import { normalise } from '../model/pixels.js';
import { forward } from '../model/vit.js';
import { bytes, float32, traced } from '../trace/function.js';
import { variable } from '../trace/variable.js';
import type { Feeding, Shown } from './added-up.js';
import { packed } from './packed.js';
import { MODES, type TrainerMode } from './trainer.js';
import { shapesOf } from './variables.js';

/**
 * @param batches called for each model
 * @returns `of`: Σ |f − f'|² / Σ |f|² over images, f the class token after the last norm of MHA, f' of the model
 */
export function openDistances(
  { values: mha, shape }: Weighted,
  { batchSize, height, width, pixels: scale }: Feeding,
  batches: () => AsyncIterable<Shown>,
  mode: TrainerMode,
): Distances {
  const names = Object.entries(shapesOf(shape, 'mha'));
  const specs = Object.fromEntries(names.map(([name, size]) => [name, float32(...size)]));
  const held = [0, 1].map((i) => packed(`model-${i}`, Object.fromEntries(names), mode === 'compiled'));
  const sums = variable('sums', [2]);
  const load = (i: number) =>
    traced(specs, (given) => {
      held[i]?.assign(given);
      sums.assign(tf.zeros([2]));
      return {};
    });
  const featuresOf = (params: Params, images: tf.Tensor, weights: tf.Tensor): tf.Tensor => {
    const pass = { shape, variant: 'mha', state: [], allocation: { by: 'state' as const }, noise: null, weights };
    const all = forward(params, images, { ...pass, features: true }).features as tf.Tensor;
    const byImage = tf.reshape(all, [batchSize, -1, shape.embedDim]);
    return tf.reshape(tf.slice(byImage, [0, 0, 0], [-1, 1, -1]), [batchSize, shape.embedDim]);
  };
  const program = MODES[mode](
    {
      loadMha: load(0),
      loadOther: load(1),
      observe: traced(
        { pixels: (scale === null ? float32 : bytes)(batchSize, height, width, 3), weights: float32(batchSize) },
        ({ pixels, weights }) => {
          const images = scale === null ? pixels : normalise(pixels, shape.imageSize, scale);
          const [of, other] = held.map((each) => featuresOf(each.read(), images, weights)) as [tf.Tensor, tf.Tensor];
          const square = (x: tf.Tensor): tf.Tensor => tf.sum(tf.mul(tf.sum(tf.square(x), 1), weights));
          sums.assignAdd(tf.stack([square(tf.sub(of, other)), square(of)]));
          return {};
        },
      ),
      read: traced({}, () => ({ sums: sums.read() })),
    },
    'float32',
  );
  const fill = (entry: 'loadMha' | 'loadOther', values: Values): void => {
    const tensors = paramsFrom(shape, (name) => values[name] as Float32Array, 'mha');
    program.run[entry](tensors);
    tf.dispose(tensors);
  };
  fill('loadMha', mha);
  return {
    async of(values) {
      fill('loadOther', values);
      for await (const { pixels, weights } of batches()) program.run.observe({ pixels, weights });
      const { sums: found } = program.run.read({});
      const [off, all] = Array.from(found.dataSync()) as [number, number];
      found.dispose();
      return off / all;
    },
    close: program.dispose,
  };
}
