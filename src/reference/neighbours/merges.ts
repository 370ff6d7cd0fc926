/** Rotation, and the shared basis in its two forms. */
import path from 'node:path';
import { openSafetensors, readTensor } from '../../checkpoint/safetensors.js';
import { attentionOf, regroup, sharedGroups, sizesOf, valuesOf } from '../../convert/convert.js';
import { type Head, outputOf, projectionOf, withBias } from '../../convert/heads.js';
import { dot, type Matrix, meanOf, multiply, plus } from '../../convert/matrix.js';
import { basisError, leading } from '../../convert/merges/basis.js';
import { refined } from '../../convert/merges/refined.js';
import { turnedKeys, turnedValues } from '../../convert/merges/rotated.js';
import { keySides, type Side, valueSides } from '../../convert/merges/sides.js';
import { MERGES } from '../../convert/merges.js';
import { attendedMoments, attentionCovariances, inputProducts, withoutOnes } from '../../convert/moments.js';
import type { LayerStatistics } from '../../convert/statistics.js';
import { type Groups, membersOf } from '../../model/grouping.js';
import { compared } from '../../train/divergence.js';
import type { Check } from '../case.js';
import { elementwiseDeviation, largestDifference, relativeDeviation } from '../deviation.js';
import { logitsOf } from '../logits.js';
import type { NeighboursIndex } from '../neighbours-index.js';
import { productNorms, type Vectors } from './vectors.js';

/** Rounding of the model itself moves logits by 2e-6. */
const LOGITS = 2e-4;

export function compareRotation(of: Vectors, expected: NeighboursIndex['rotation'][number]): Check[] {
  const { dir, mha, images, mode, mhaLogits } = of;
  const { name, labels, metric, errorBefore, errorAfter } = expected;
  const file = openSafetensors(path.join(dir, 'rotation.safetensors'));
  const tensor = (what: string): Float32Array => readTensor(file, `${name}.${what}`);
  const sizes = sizesOf(mha.shape);
  const turned = { ...mha, values: { ...mha.values } };
  const [before, after]: [number[], number[]] = [[], []];
  for (const [i, groups] of labels.entries()) {
    const weights = attentionOf(mha.values, i);
    const statistics = metric === 'weights' ? null : (of.statistics[i] as LayerStatistics);
    const plain = {
      k: turnedKeys(weights, alone(groups), sizes, null).k,
      v: turnedValues(weights, alone(groups), sizes, null).v,
    };
    const keys = turnedKeys(weights, groups, sizes, statistics);
    const values = turnedValues(weights, groups, sizes, statistics);
    const proj = outputOf(values.o, weights.proj.bias);
    const layer = { q: projectionOf(keys.q), k: projectionOf(keys.k), v: projectionOf(values.v), proj };
    Object.assign(turned.values, valuesOf(layer, i));
    for (const [to, k, v] of [
      [before, plain.k, plain.v],
      [after, keys.k, values.v],
    ] as const)
      to.push(...errorsOf(k, v, groups, statistics, sizes));
  }
  const rule = MERGES[metric === 'weights' ? 'rotated-weights' : 'rotated'];
  const merged = regroup(mha.values, mha.shape, sharedGroups(labels), rule ?? null, of.statistics, false);
  const norms = productNorms(merged, labels);
  return [
    { what: 'error before', deviation: elementwiseDeviation(before, errorBefore.flat()), tolerance: 1e-4 },
    { what: 'error after', deviation: elementwiseDeviation(after, errorAfter.flat()), tolerance: 1e-4 },
    {
      what: 'turned logits',
      deviation: largestDifference(logitsOf(turned, images, mode), mhaLogits),
      tolerance: LOGITS,
    },
    {
      what: 'logits',
      deviation: largestDifference(logitsOf(merged, images, mode), tensor('merged_logits')),
      tolerance: LOGITS,
    },
    { what: 'QK', deviation: relativeDeviation(norms.qk, tensor('qk_norm')), tolerance: LOGITS },
    { what: 'OV', deviation: relativeDeviation(norms.ov, tensor('ov_norm')), tolerance: LOGITS },
  ];
}

const alone = (groups: Groups): Groups => groups.map((_, head) => head);

/** Σ_g Σ_h |A_h − mean_g|² in the metric, of keys and of values. */
function errorsOf(
  k: readonly Head[],
  v: readonly Head[],
  groups: Groups,
  statistics: LayerStatistics | null,
  sizes: ReturnType<typeof sizesOf>,
): number[] {
  const products = statistics === null ? null : inputProducts(statistics, sizes);
  const sum = (heads: readonly Matrix[], metric: Matrix | null): number =>
    membersOf(groups).reduce((total, members) => {
      const own = members.map((h) => heads[h] as Matrix);
      const mean = meanOf(own);
      return own.reduce((all, each) => {
        const off = plus(each, mean, -1);
        return all + dot(metric === null ? off : multiply(off, metric), off);
      }, total);
    }, 0);
  const keys = k.map(({ weight }) => weight);
  return products === null
    ? [
        sum(keys, null),
        sum(
          v.map(({ weight }) => weight),
          null,
        ),
      ]
    : [sum(keys, withoutOnes(products)), sum(v.map(withBias), products)];
}

export function compareBasis(of: Vectors, expected: NeighboursIndex['sharedBasis'][number]): Check[] {
  const { dir, mha, images, mode } = of;
  const { name, labels, metric, error } = expected;
  const file = openSafetensors(path.join(dir, 'shared_basis.safetensors'));
  const tensor = (what: string): Float32Array => readTensor(file, `${name}.${what}`);
  const sizes = sizesOf(mha.shape);
  const errors = labels.flatMap((groups, i) => {
    const statistics = metric === 'weights' ? null : (of.statistics[i] as LayerStatistics);
    const weights = attentionOf(mha.values, i);
    return [
      basisError(keySides(weights, sizes, statistics), groups),
      basisError(valueSides(weights, sizes, statistics), groups),
    ];
  });
  const merge = MERGES[metric === 'weights' ? 'basis-weights' : 'basis'] ?? null;
  const merged = regroup(mha.values, mha.shape, sharedGroups(labels), merge, of.statistics, false);
  const norms = productNorms(merged, labels);
  return [
    { what: 'error', deviation: scaledDeviation(errors, error.flat()), tolerance: 1e-4 },
    {
      what: 'logits',
      deviation: largestDifference(logitsOf(merged, images, mode), tensor('logits')),
      tolerance: LOGITS,
    },
    { what: 'QK', deviation: relativeDeviation(norms.qk, tensor('qk_norm')), tolerance: LOGITS },
    { what: 'OV', deviation: relativeDeviation(norms.ov, tensor('ov_norm')), tolerance: LOGITS },
  ];
}

/** Largest difference in parts of the error itself; of errors that are 0, in parts of 1. */
const scaledDeviation = (ours: readonly number[], reference: readonly number[]): number =>
  Math.max(...ours.map((value, i) => Math.abs(value - (reference[i] as number)) / Math.max(reference[i] as number, 1)));

export function compareAttentionBasis(of: Vectors, expected: NeighboursIndex['sharedBasisAttention'][number]): Check[] {
  const { mha, images, mode, mhaLogits } = of;
  const { labels, error, kl } = expected;
  const sizes = sizesOf(mha.shape);
  const checks: Check[] = [];
  for (const [i, groups] of labels.entries()) {
    const statistics = of.statistics[i] as LayerStatistics;
    const weights = attentionOf(mha.values, i);
    const sum = (sides: readonly Side[], covariances: readonly Matrix[]): { before: number; after: number } =>
      membersOf(groups).reduce(
        (total, members) => {
          const plain = leading(members.map((h) => sides[h] as Side));
          const own = members.map((h) => ({ ...(sides[h] as Side), covariance: covariances[h] as Matrix }));
          const { before, after } = refined(own, plain.shared);
          return { before: total.before + before, after: total.after + after };
        },
        { before: 0, after: 0 },
      );
    const keys = sum(keySides(weights, sizes, statistics), attentionCovariances(statistics, sizes));
    const attended = attendedMoments(statistics, sizes).map(({ covariance }) => covariance);
    const values = sum(valueSides(weights, sizes, statistics), attended);
    const wanted = error[i] as (typeof error)[number];
    checks.push(
      {
        what: 'start',
        deviation: scaledDeviation([keys.before, values.before], [wanted.keysStart, wanted.valuesStart]),
        tolerance: 1e-4,
      },
      {
        what: 'above the end',
        deviation: Math.max(keys.after / Math.max(wanted.keys, 1e-3), values.after / Math.max(wanted.values, 1e-3)) - 1,
        tolerance: 0.01,
      },
    );
  }
  const merged = regroup(
    mha.values,
    mha.shape,
    sharedGroups(labels),
    MERGES['basis-attention'] ?? null,
    of.statistics,
    false,
  );
  const ours = compared(mhaLogits, logitsOf(merged, images, mode), mha.shape.numClasses).divergence;
  return [
    ...checks,
    { what: 'KL above theirs', deviation: Math.max(0, ours - kl) / Math.max(kl, 1e-3), tolerance: 0.05 },
  ];
}
