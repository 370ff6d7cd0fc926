/** What a refit of output projections is fitted to (convert/refit.ts). */
import * as tf from '@tensorflow/tfjs-core';
import type { Weighted } from '../convert/checkpoint.js';
import type { OutputSums } from '../convert/refit.js';
import { linear } from '../model/layers.js';
import { layerShape } from '../model/sizes.js';
import { variable } from '../trace/variable.js';
import { addedUp, type Feeding, type Loaded, observed, type Shown } from './added-up.js';
import type { TrainerMode } from './trainer.js';

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
