/** What a trainer keeps between calls: variables of its program, each with a name. */
import * as tf from '@tensorflow/tfjs-core';
import { type Params, parameterSpecs } from '../model/params.js';
import { layerShapes, type ModelShape } from '../model/sizes.js';
import { type VariantName, variantOf } from '../model/variants.js';
import { float32, type TensorSpec } from '../trace/function.js';
import { type Variable, variable } from '../trace/variable.js';
import { type FreezeName, isTrained } from './freeze.js';
import { type Held, type Packed, packed } from './packed.js';
import { teacherShape } from './teacher.js';
import type { TrainerOptions } from './trainer.js';

/** Variables by the name of what they hold. */
export type Named = Record<string, Variable>;

export interface TrainingVariables {
  /** Parameters that are trained, and the others. */
  trained: Packed;
  frozen: Packed;
  /** Moments and moving averages of those that are trained; averages are null where none are kept. */
  first: Packed;
  second: Packed;
  ema: Packed | null;
  /** Sums of the gradients of an optimizer step so far, and of its images; null without accumulation. */
  gradients: { sums: Packed; images: Variable } | null;
  /** Parameters of the teacher; null without distillation. */
  teacher: Packed | null;
  /**
   * With float16, [4]: what the loss is multiplied by, the steps since that changed, how many were left out, and how
   * many of these were reported.
   */
  lossScale: Variable | null;
  /** One for each block. */
  attention: Named[];
  /** Key-driven variants: query heads for each key head [K], as the last step allocated them, for each block. */
  counts: Variable[];
  /** [4] Loss, top-1, images, first step whose loss was not finite. */
  sums: Variable;
  /**
   * Of an evaluation: loss, top-1, top-5, images [4]; batches so far, where each has noise of its own; and the
   * attention state that it changes.
   */
  evaluation: { sums: Variable; batches: Variable | null; attention: Named[] };
}

/** @param together see `packed` */
export function declareVariables(options: TrainerOptions, together: boolean): TrainingVariables {
  const { shape, variant, evalAllocation, evalNoise, freeze, ema, gradAccumSteps, distill, precision } = options;
  const rule = variantOf(variant).allocate;
  const { trained, frozen } = shapesBy(freeze, shape, variant);
  const likeAttention = (kind: string): Named[] =>
    layerShapes(shape).map(({ index, groups, kvHeads }) =>
      Object.fromEntries(
        Object.keys(rule?.initialState(groups) ?? {}).map((name) => [
          name,
          variable(`${kind}/${index}/${name}`, [kvHeads]),
        ]),
      ),
    );
  const likeTrained = (kind: string, inProducts = false): Packed => packed(kind, trained, together, inProducts);
  return {
    trained: likeTrained('params', true),
    frozen: packed('frozen', frozen, together, true, 'params'),
    first: likeTrained('first'),
    second: likeTrained('second'),
    ema: ema === null ? null : likeTrained('ema', true),
    gradients:
      gradAccumSteps === 1 ? null : { sums: likeTrained('gradients'), images: variable('gradient-images', []) },
    teacher: distill === null ? null : packed('teacher', shapesOf(teacherShape(shape), 'mha'), together, true),
    lossScale: precision === 'float16' ? variable('loss-scale', [4]) : null,
    attention: likeAttention('attention'),
    counts:
      rule === undefined ? [] : layerShapes(shape).map(({ index, kvHeads }) => variable(`counts/${index}`, [kvHeads])),
    sums: variable('sums', [4]),
    evaluation: {
      sums: variable('eval-sums', [4]),
      batches: evalNoise === 'paper' ? variable('eval-batches', []) : null,
      attention: evalAllocation === 'batch' ? likeAttention('eval-attention') : [],
    },
  };
}

/**
 * Everything that a later step depends on, in groups that are read and filled together. Evaluation's own variables
 * are not among them: each evaluation begins with fresh ones.
 */
export function heldGroups(of: TrainingVariables): Record<string, Held[]> {
  const alone = (each: Variable): Held => ({ variable: each, tensors: [{ name: each.name, shape: each.shape }] });
  const packs = {
    params: [of.trained, of.frozen],
    first: [of.first],
    second: [of.second],
    ema: [of.ema],
    gradients: [of.gradients?.sums],
    teacher: [of.teacher],
  };
  const single = {
    'gradient-images': [of.gradients?.images],
    'loss-scale': [of.lossScale],
    attention: of.attention.flatMap((block) => Object.values(block)),
    counts: of.counts,
    sums: [of.sums],
  };
  const present = <T>(values: (T | null | undefined)[]): T[] => values.filter((value) => value != null) as T[];
  return Object.fromEntries(
    [
      ...Object.entries(packs).map(([kind, list]) => [kind, present(list).flatMap(({ held }) => held)] as const),
      ...Object.entries(single).map(([kind, list]) => [kind, present(list).map(alone)] as const),
    ].filter(([, held]) => held.length > 0),
  );
}

export const shapesOf = (shape: ModelShape, variant: VariantName): Record<string, number[]> =>
  Object.fromEntries(Object.entries(parameterSpecs(shape, variant)).map(([name, spec]) => [name, spec.shape]));

function shapesBy(
  freeze: FreezeName,
  shape: ModelShape,
  variant: VariantName,
): { trained: Record<string, number[]>; frozen: Record<string, number[]> } {
  const entries = Object.entries(parameterSpecs(shape, variant));
  const pick = (wanted: boolean): Record<string, number[]> =>
    Object.fromEntries(
      entries.flatMap(([name, spec]) => (isTrained(spec, freeze) === wanted ? [[name, spec.shape]] : [])),
    );
  return { trained: pick(true), frozen: pick(false) };
}

/** What evaluation reads. */
export const evaluatedParams = ({ trained, frozen, ema }: TrainingVariables): Params => ({
  ...(ema ?? trained).read(),
  ...frozen.read(),
});

export const accumulators = ({ gradients }: TrainingVariables): Variable[] =>
  gradients === null ? [] : [...gradients.sums.variables, gradients.images];

export function clear(variables: Variable[]): Record<string, never> {
  for (const each of variables) each.assign(tf.fill([...each.shape], 0));
  return {};
}

export const specsOf = (variables: Variable[]): Record<string, TensorSpec> =>
  Object.fromEntries(variables.map(({ name, shape }) => [name, float32(...shape)]));

export const readAll = (variables: Variable[]): Record<string, tf.Tensor> =>
  Object.fromEntries(variables.map((each) => [each.name, each.read()]));

export function assignAll(variables: Variable[], values: Record<string, tf.Tensor>): Record<string, never> {
  for (const each of variables) each.assign(values[each.name] as tf.Tensor);
  return {};
}

/** What the variables hold, under the names of what they stand for. */
export const valuesOf = (variables: Named): Params =>
  Object.fromEntries(Object.entries(variables).map(([key, each]) => [key, each.read()]));

/** Puts values, under the names of what they stand for, into the variables. */
export function assignNamed(variables: Named, values: Params): void {
  for (const [key, each] of Object.entries(variables)) each.assign(values[key] as tf.Tensor);
}
