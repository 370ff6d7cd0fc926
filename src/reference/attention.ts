/**
 * Compares conversion, logits, losses, gradients, AdamW steps, allocations, caches and PGQA's noise with numbers that
 * the paper's PyTorch code gave, in the form that test/reference/README.md describes. The model runs through the same
 * functions as `gqa train`.
 */
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { openSafetensors, readTensor, type Safetensors } from '../checkpoint/safetensors.js';
import { convertCheckpoint } from '../convert/checkpoint.js';
import { GqaError } from '../errors.js';
import { type AttentionValues, initialAttention } from '../model/attention-state.js';
import { subtractNoise } from '../model/variants/pgqa.js';
import type { VariantName } from '../model/variants.js';
import { plain, type StepOptions } from '../train/step.js';
import type { TrainerMode } from '../train/trainer.js';
import { attempt, type CaseResult, type Check, run } from './case.js';
import {
  elementwiseDeviation,
  largest,
  largestDifference,
  largestMagnitude,
  relativeDeviation,
  worse,
  zerosLike,
} from './deviation.js';
import { type Case, type Index, readIndex } from './index.js';
import { imagesOf, shapeOf } from './inputs.js';
import { openStepper, type Seen, type Stepper } from './stepper.js';

/** The paper's names of the schemes → ours. */
const SCHEMES: Record<string, VariantName> = {
  mhsa: 'mha',
  gqa: 'gqa',
  kdgqa: 'kdgqa',
  dgqa_diff: 'dgqa-diff',
  dgqa_ema: 'dgqa-ema',
};

/**
 * Runs every case of a directory, compiled or operation by operation.
 * @throws GqaError when there is nothing to compare
 */
export function* compareAttention(dir: string, mode: TrainerMode): Generator<CaseResult> {
  const index = readIndex(path.join(dir, 'index.json'));
  if (index.cases.length === 0) throw new GqaError('data', `${path.join(dir, 'index.json')}: names no case`);
  const checkpoint = path.join(dir, 'mha_timm.safetensors');
  const inputs = attempt('inputs', () => readInputs(path.join(dir, 'inputs.safetensors'), index));
  if ('detail' in inputs) {
    yield inputs;
    return;
  }
  yield run('timm_mha', () => compareTimm(checkpoint, inputs.value, index, mode));
  for (const of of index.cases) yield run(of.name, () => compareCase(dir, checkpoint, of, inputs.value, index, mode));
  yield run('pgqa_noise', () => comparePgqaNoise(path.join(dir, 'pgqa_noise.safetensors')));
  inputs.value.images.dispose();
}

interface Inputs {
  /** [batch · steps, S, S, 3], normalised. */
  images: tf.Tensor;
  labels: Float32Array;
  timmLogits: Float32Array;
}

function readInputs(file: string, index: Index): Inputs {
  const tensors = openSafetensors(file);
  const images = imagesOf(tensors, index, index.batch * index.steps);
  return { images, labels: readTensor(tensors, 'labels'), timmLogits: readTensor(tensors, 'timm_mha_logits') };
}

/** Of a case that takes no step. */
const NO_STEP = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0 };

/** timm's own logits of the unconverted checkpoint. */
function compareTimm(checkpoint: string, inputs: Inputs, index: Index, mode: TrainerMode): Check[] {
  const shape = shapeOf(index, index.model.numHeads);
  const { values } = convertCheckpoint(checkpoint, shape, 0);
  const options: StepOptions = { shape, variant: 'mha', windowSize: 1, labelSmoothing: 0, adamw: NO_STEP, ...plain };
  const stepper = openStepper(options, values, initialAttention(shape, 'mha'), index.batch, mode);
  const logits = stepper.evaluate(inputs.images, 'state');
  stepper.dispose();
  return [{ what: 'logits', deviation: relativeDeviation(logits, inputs.timmLogits), tolerance: 1e-4 }];
}

function compareCase(
  dir: string,
  checkpoint: string,
  of: Case,
  inputs: Inputs,
  index: Index,
  mode: TrainerMode,
): Check[] {
  const variant = SCHEMES[of.scheme];
  if (variant === undefined)
    throw new GqaError('usage', `the scheme “${of.scheme}” is unknown; known: ${Object.keys(SCHEMES).join(', ')}`);
  const expected = openSafetensors(path.join(dir, `${of.name}.safetensors`));
  const shape = shapeOf(index, of.kvHeads);
  const { values } = convertCheckpoint(checkpoint, shape, 0);
  const converted = compareConverted(values, expected);
  if (!of.deterministic) return [{ ...converted, what: 'converted only' }];

  const { lr, betas, eps, weightDecay } = index.adamw;
  const options: StepOptions = {
    shape,
    variant,
    windowSize: index.windowSize,
    labelSmoothing: 0,
    adamw: { beta1: betas[0], beta2: betas[1], eps, weightDecay },
    ...plain,
  };
  const checks = [converted];
  const begin = initialAttention(shape, variant);
  const stepper = openStepper(options, values, begin, index.batch, mode);
  checks.push(...compareEvaluation(stepper, inputs, expected, index)); // of the converted weights

  const seen: Seen[] = [];
  for (let step = 0; step < index.steps; step++) {
    const images = tf.slice(inputs.images, [step * index.batch, 0, 0, 0], [index.batch, -1, -1, -1]);
    const labels = Int32Array.from(inputs.labels.subarray(step * index.batch, (step + 1) * index.batch));
    seen.push(stepper.step({ images, labels, lr, step, refresh: step % index.windowSize === 0 }));
    images.dispose();
  }
  const trained = seen.flatMap(({ logits }) => Array.from(logits));
  checks.push({
    what: 'train logits',
    deviation: relativeDeviation(trained, readTensor(expected, 'train_logits')),
    tolerance: 1e-4,
  });
  checks.push({
    what: 'losses',
    deviation: largestDifference(
      seen.map(({ loss }) => loss),
      of.losses,
    ),
    tolerance: 2e-4,
  });
  checks.push(...compareGradients(seen[0]?.gradients ?? {}, expected));
  checks.push(...compareAfter(stepper.params(), expected));
  if (of.splits)
    checks.push({
      what: 'splits',
      deviation: largestDifference(
        seen.flatMap(({ counts }) => counts.flat()),
        of.splits.flat(2),
      ),
      tolerance: 0,
    });
  if (of.knorms)
    checks.push({
      what: 'key norms',
      deviation: elementwiseDeviation(summedNorms(seen, begin, index.batch), of.knorms.flat(2)),
      tolerance: 1e-4,
    });
  if (of.caches) {
    const caches = seen.flatMap(({ attention }) => attention.flatMap((block) => block.cache ?? []));
    checks.push({ what: 'caches', deviation: elementwiseDeviation(caches, of.caches.flat(2)), tolerance: 1e-4 });
  }
  stepper.dispose();
  return checks;
}

/** KDGQA's running mean takes a tenth of each batch's mean: the batch's sum is what it grew by. */
function summedNorms(seen: Seen[], begin: AttentionValues, batch: number): number[] {
  return seen.flatMap(({ attention }, step) => {
    const before = seen[step - 1]?.attention ?? begin;
    return attention.flatMap((block, i) =>
      (block.norms ?? []).map((mean, g) => 10 * batch * (mean - 0.9 * (before[i]?.norms?.[g] as number))),
    );
  });
}

function compareConverted(values: Record<string, Float32Array>, expected: Safetensors): Check {
  const deviations = prefixed(expected, 'converted.').map((name) =>
    // A DGQA cache is a buffer that begins at 0, in the paper's code and in ours.
    largestDifference(
      values[name] ?? (name.endsWith('.cache') ? zerosLike(readTensor(expected, `converted.${name}`)) : []),
      readTensor(expected, `converted.${name}`),
    ),
  );
  return { what: 'converted', deviation: largest(deviations), tolerance: 1e-6 };
}

/**
 * To a thousandth of each tensor's largest magnitude, where that is above 1e-4 (the key bias has no gradient but
 * noise).
 */
function compareGradients(gradients: Record<string, Float32Array>, expected: Safetensors): Check[] {
  const deviations = prefixed(expected, 'grad.').flatMap((name) => {
    const reference = readTensor(expected, `grad.${name}`);
    return largestMagnitude(reference) > 1e-4 ? [relativeDeviation(gradients[name] ?? [], reference)] : [];
  });
  return deviations.length === 0 ? [] : [{ what: 'gradients', deviation: largest(deviations), tolerance: 1e-3 }];
}

/**
 * 5e-5 wherever the gradient of step 0 exceeds 1e-3. AdamW turns the sign of noise into a full step, so that elsewhere
 * 0.5 % of the case's values may be off by more than 1e-4: in these vectors nearly all of them are key biases, whose
 * gradient is rounding noise in torch and 0 here (model/vit.ts).
 */
function compareAfter(params: Record<string, Float32Array>, expected: Safetensors): Check[] {
  let determined = 0;
  let values = 0;
  let off = 0;
  for (const name of prefixed(expected, 'after.')) {
    const reference = readTensor(expected, `after.${name}`);
    const gradient = expected.tensors.has(`grad.${name}`) ? readTensor(expected, `grad.${name}`) : zerosLike(reference);
    const ours = params[name] ?? new Float32Array(0);
    if (ours.length !== reference.length)
      return [{ what: `after AdamW: size of ${name}`, deviation: Number.NaN, tolerance: 0 }];
    values += reference.length;
    for (let i = 0; i < reference.length; i++) {
      const difference = Math.abs((ours[i] as number) - (reference[i] as number));
      if (Math.abs(gradient[i] as number) > 1e-3) determined = worse(determined, difference);
      else if (!(difference <= 1e-4)) off++;
    }
  }
  return [
    { what: 'after AdamW', deviation: determined, tolerance: 5e-5 },
    { what: 'share off', deviation: off / values, tolerance: 0.005 },
  ];
}

function compareEvaluation(stepper: Stepper, inputs: Inputs, expected: Safetensors, index: Index): Check[] {
  const checks: Check[] = [];
  const compare = (tensor: string, logits: () => ArrayLike<number>): void => {
    if (expected.tensors.has(tensor))
      checks.push({
        what: 'eval logits',
        deviation: relativeDeviation(logits(), readTensor(expected, tensor)),
        tolerance: 1e-4,
      });
  };
  compare('eval_logits', () => stepper.evaluate(inputs.images, 'state'));
  compare('eval_logits_per_batch', () =>
    Array.from({ length: index.steps }, (_, step) => {
      const images = tf.slice(inputs.images, [step * index.batch, 0, 0, 0], [index.batch, -1, -1, -1]);
      const logits = Array.from(stepper.evaluate(images, 'batch'));
      images.dispose();
      return logits;
    }).flat(),
  );
  return checks;
}

/** The noise made of a given uniform draw, and what is left of the attention output. */
function comparePgqaNoise(file: string): Check[] {
  const tensors = openSafetensors(file);
  const [batch, groupSize, row] = tensors.tensors.get('attention_out')?.shape ?? [];
  if (batch === undefined || groupSize === undefined || row === undefined)
    throw new GqaError('data', `${file}: attention_out is missing or not [B, Q, P·d]`);
  const output = readTensor(tensors, 'attention_out');
  const result = tf.tidy(() => {
    // One KV group of Q heads; N·E stays one axis, since the rows are over both.
    const heads = tf.tensor(output, [batch, groupSize, row, 1]);
    return subtractNoise(heads, tf.tensor(readTensor(tensors, 'uniform'), [1, groupSize, row])).dataSync();
  });
  const noise = output.map((value, i) => value - (result[i] as number));
  return [
    { what: 'noise', deviation: relativeDeviation(noise, readTensor(tensors, 'noise')), tolerance: 1e-4 },
    { what: 'result', deviation: relativeDeviation(result, readTensor(tensors, 'result')), tolerance: 1e-4 },
  ];
}

const prefixed = (file: Safetensors, prefix: string): string[] =>
  [...file.tensors.keys()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
