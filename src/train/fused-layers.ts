/** The layers of model/layers.ts as fused operations, each with its gradient; where there are none, as they stand. */
import * as tf from '@tensorflow/tfjs-core';
import { type AttentionRows, headsRead, type Reading } from '../model/attend.js';
import { type Layers, PLAIN } from '../model/layers.js';
import { full, fused, isFused, low } from '../trace/fused.js';

/** For the function that is being recorded, or runs. */
export const layersInUse = (): Layers => (isFused() ? FUSED : PLAIN);

/** An operation and its gradient; tfjs types neither inputs nor what is saved. */
type Forward = (inputs: tf.Tensor[], save: (kept: tf.Tensor[]) => void) => tf.Tensor;
type Backward = (dy: tf.Tensor, kept: tf.Tensor[]) => tf.Tensor[];

const differentiable = (forward: Forward, backward: Backward) =>
  tf.customGrad((...given) => {
    const save = given.at(-1) as tf.GradSaveFunc;
    return {
      value: forward(given.slice(0, -1) as tf.Tensor[], save),
      gradFunc: (dy: tf.Tensor, kept: tf.Tensor[]) => backward(dy, kept),
    };
  });

const sizeOf = (x: tf.Tensor): number => x.shape.at(-1) as number;
const columnSums = (x: tf.Tensor): tf.Tensor =>
  fused('GqaColumnSums', [low(x)], [{ shape: [sizeOf(x)] }])[0] as tf.Tensor;

const normOp = (eps: number) => {
  const epsilon = { epsilon: { float: eps } };
  return differentiable(
    ([x, gain, bias], save) => {
      const rows = (x as tf.Tensor).size / sizeOf(x as tf.Tensor);
      const outputs = [{ shape: (x as tf.Tensor).shape, low: true as const }, { shape: [rows, 2] }];
      const [y, stats] = fused(
        'GqaNorm',
        [x, gain, bias].map((each) => full(each as tf.Tensor)),
        outputs,
        epsilon,
      );
      save([x, gain, stats] as tf.Tensor[]);
      return y as tf.Tensor;
    },
    (dy, kept) => {
      const [x, gain] = kept as [tf.Tensor, tf.Tensor];
      const outputs = [{ shape: x.shape }, { shape: gain.shape }, { shape: gain.shape }];
      return fused('GqaNormGrad', [low(dy), ...kept.map(full)], outputs);
    },
  );
};

const biasGelu = differentiable(
  ([z, bias], save) => {
    save([z, bias] as tf.Tensor[]);
    return fused(
      'GqaBiasGelu',
      [low(z as tf.Tensor), full(bias as tf.Tensor)],
      [{ shape: (z as tf.Tensor).shape, low: true }],
    )[0] as tf.Tensor;
  },
  (dy, kept) => {
    const [z, bias] = kept as [tf.Tensor, tf.Tensor];
    return fused(
      'GqaBiasGeluGrad',
      [low(dy), low(z), full(bias)],
      [{ shape: z.shape, low: true }, { shape: bias.shape }],
    );
  },
);

const residual = differentiable(
  ([x, r, bias]) =>
    fused(
      'GqaResidual',
      [full(x as tf.Tensor), low(r as tf.Tensor), full(bias as tf.Tensor)],
      [{ shape: (x as tf.Tensor).shape }],
    )[0] as tf.Tensor,
  (dy) => [dy, dy, columnSums(dy)],
);

function attention({ q, k, v, qBias, kBias, vBias, batch, width }: AttentionRows, reading: Reading): tf.Tensor {
  const [heads, keyHeads, valueHeads] = [q, k, v].map((rows) => sizeOf(rows) / width) as [number, number, number];
  const { keyHeadOf, valueHeadOf } = headsRead(reading);
  const attributes = {
    batch: { int: batch },
    heads: { int: heads },
    key_heads: { int: keyHeads },
    value_heads: { int: valueHeads },
  };
  const inputs = (rows: tf.Tensor[], biases: tf.Tensor[]) => [
    ...rows.map(low),
    ...[...biases, keyHeadOf, valueHeadOf].map(full),
  ];
  const attend = differentiable(
    (given, save) => {
      const [rows, biases] = [given.slice(0, 3), given.slice(3)];
      const outputs = [
        { shape: q.shape, low: true as const },
        { shape: [batch, heads, (q.shape[0] as number) / batch] },
      ];
      const [out, lse] = fused('GqaAttention', inputs(rows, biases), outputs, attributes) as [tf.Tensor, tf.Tensor];
      save([...given, out, lse]);
      return out;
    },
    (dy, kept) => {
      const [rows, biases, out, lse] = [kept.slice(0, 3), kept.slice(3, 6), kept[6] as tf.Tensor, kept[7] as tf.Tensor];
      const outputs = rows.map(({ shape }) => ({ shape, low: true as const }));
      const given = [low(dy), ...inputs(rows, biases), low(out), full(lse)];
      const [dq, dk, dv] = fused('GqaAttentionGrad', given, outputs, attributes) as [tf.Tensor, tf.Tensor, tf.Tensor];
      return [dq, dk, dv, columnSums(dq), tf.zerosLike(biases[1] as tf.Tensor), columnSums(dv)];
    },
  );
  return attend(q, k, v, qBias, kBias, vBias);
}

const FUSED: Layers = {
  norm: (x, gain, bias, eps) => normOp(eps)(x, gain, bias),
  biasGelu: (z, bias) => biasGelu(z, bias),
  residual: (x, r, bias) => residual(x, r, bias),
  attention,
};
