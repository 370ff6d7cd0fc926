/** WGQA: logits, gradients, steps of AdamW, folding. */
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { openSafetensors, readTensor } from '../../checkpoint/safetensors.js';
import { folded } from '../../convert/fold.js';
import type { AttentionValues } from '../../model/attention-state.js';
import { initialValues, parameterSpecs, type Values } from '../../model/params.js';
import { plain, type StepOptions } from '../../train/step.js';
import type { Check } from '../case.js';
import { largest, largestDifference, relativeDeviation } from '../deviation.js';
import { logitsOf } from '../logits.js';
import type { NeighboursIndex } from '../neighbours-index.js';
import { openStepper, type Seen } from '../stepper.js';
import type { Vectors } from './vectors.js';

const VARIANTS = { scalar: 'wgqa', out: 'wgqa-out', in: 'wgqa-in' } as const;

/** Their names of the weights → ours. */
const ours = (name: string): string => name.replace(/\.wk$/, '.k_merge').replace(/\.wv$/, '.v_merge');

export function compareWgqa(of: Vectors, { name, form, labels, losses }: NeighboursIndex['wgqa'][number]): Check[] {
  const { dir, index, mha, images, mode } = of;
  const file = openSafetensors(path.join(dir, `wgqa_${name}.safetensors`));
  const under = (prefix: string): [string, Float32Array][] =>
    [...file.tensors.keys()]
      .filter((tensor) => tensor.startsWith(prefix))
      .map((tensor) => [ours(tensor.slice(prefix.length)), readTensor(file, tensor)]);
  const variant = VARIANTS[form];
  const shape = { ...mha.shape, grouping: labels };
  const begin: Values = Object.fromEntries(
    Object.keys(parameterSpecs(shape, variant)).map((each) => [
      each,
      mha.values[each] ?? initialValues(each, shape, 0, variant),
    ]),
  );
  const { lr, betas, eps, weightDecay } = index.adamw;
  const options: StepOptions = {
    shape,
    variant,
    windowSize: 1,
    labelSmoothing: 0,
    adamw: { beta1: betas[0], beta2: betas[1], eps, weightDecay },
    ...plain,
  };
  const none: AttentionValues = shape.grouping.map(() => ({}));
  const stepper = openStepper(options, begin, none, index.batch, mode);
  const seen: Seen[] = [];
  for (let step = 0; step < index.steps; step++) {
    const own = tf.slice(images, [step * index.batch, 0, 0, 0], [index.batch, -1, -1, -1]);
    const ofBatch = of.labels.subarray(step * index.batch, (step + 1) * index.batch);
    seen.push(stepper.step({ images: own, labels: Int32Array.from(ofBatch), lr, step, refresh: false }));
    own.dispose();
  }
  const after = stepper.params();
  const evaluated = stepper.evaluate(images, 'state');
  stepper.dispose();
  const fold = folded(after, shape, variant);
  const random = { ...begin, ...Object.fromEntries(under('random.blocks.').map(([n, v]) => [`blocks.${n}`, v])) };
  const logits = seen.map((each, step) => largestDifference(each.logits, readTensor(file, `train_logits.${step}`)));
  const gradients = under('grad.').map(([n, v]) => relativeDeviation(seen[0]?.gradients[n] ?? [], v));
  const moved = under('after.').map(([n, v]) => movedBy(after[n] ?? new Float32Array(0), v));
  const values = moved.reduce((sum, { count }) => sum + count, 0);
  return [
    { what: 'train logits', deviation: largest(logits), tolerance: 1e-3 },
    {
      what: 'losses',
      deviation: largestDifference(
        seen.map(({ loss }) => loss),
        losses,
      ),
      tolerance: 1e-3,
    },
    { what: 'gradients', deviation: largest(gradients), tolerance: 1e-4 },
    { what: 'share off', deviation: moved.reduce((sum, { off }) => sum + off, 0) / values, tolerance: 0.005 },
    { what: 'after AdamW', deviation: largest(moved.map(({ largest }) => largest)), tolerance: 2 * lr * index.steps },
    {
      what: 'folded',
      deviation: largest(under('folded.').map(([n, v]) => largestDifference(fold[n] ?? [], v))),
      tolerance: 1e-3,
    },
    { what: 'eval logits', deviation: largestDifference(evaluated, readTensor(file, 'eval_logits')), tolerance: 1e-3 },
    {
      what: 'logits of folded',
      deviation: largestDifference(logitsOf({ values: fold, shape }, images, mode), evaluated),
      tolerance: 1e-4,
    },
    {
      what: 'random weights',
      deviation: largestDifference(
        logitsOf({ values: folded(random, shape, variant), shape }, images, mode),
        readTensor(file, 'random.logits'),
      ),
      tolerance: 1e-3,
    },
  ];
}

/**
 * Where a gradient is about 0, AdamW's direction is chance: how many entries are off by more than 1e-4, and by how
 * much.
 */
function movedBy(a: Float32Array, b: Float32Array): { count: number; off: number; largest: number } {
  if (a.length !== b.length) return { count: 1, off: 1, largest: Number.NaN };
  const differences = Array.from(b, (value, i) => Math.abs(value - (a[i] as number)));
  return { count: b.length, off: differences.filter((each) => each > 1e-4).length, largest: largest(differences) };
}
