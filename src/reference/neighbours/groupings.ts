/** Errors of groupings, their exact optima, what NSGA-II makes of them, and choices across layers. */
import path from 'node:path';
import { openSafetensors, readTensor } from '../../checkpoint/safetensors.js';
import { attentionOf, sizesOf } from '../../convert/convert.js';
import { bothOf } from '../../convert/metrics/metric.js';
import {
  activationCosine,
  activationError,
  activationGrams,
  cosinesOf,
  weightError,
} from '../../convert/metrics/pooled.js';
import { exact } from '../../convert/search/exact.js';
import { costOf, type GroupCost } from '../../convert/search/partition.js';
import { frontOf, judgeLayers, stage1, stage2 } from '../../convert/search/qcqa.js';
import type { LayerStatistics } from '../../convert/statistics.js';
import { kvHeadsOf, neighbouring } from '../../model/grouping.js';
import { draws } from '../../random.js';
import type { Check } from '../case.js';
import { largest, elementwiseDeviation as relative, relativeDeviation } from '../deviation.js';
import type { Vectors } from './vectors.js';

const TOLERANCE = 1e-4;

/** NSGA-II draws, so that it is compared with what it promises: the optimum of so few heads. */
const SEED = 1234;

export function compareQcqa({ mha, index }: Vectors, layer: number): Check[] {
  const expected = index.qcqa.layers[layer] as (typeof index.qcqa.layers)[number];
  const { heads } = mha.shape;
  const costs = weightError.of(attentionOf(mha.values, layer), sizesOf(mha.shape), null);
  const cost = bothOf(costs);
  const { groupings, best } = expected;
  const ours = best.map(({ kvHeads, sizes }) =>
    sizes === 'neighbours' ? costOf(cost, neighbouring(heads, kvHeads)) : exact(cost, heads, kvHeads, sizes).error,
  );
  const found = best.flatMap(({ kvHeads, sizes, wse }) => {
    if (sizes === 'neighbours' || kvHeads === 1 || kvHeads === heads) return [];
    const front = stage1(cost, neighbouring(heads, kvHeads), sizes, draws(SEED, 'reference', layer, kvHeads));
    const own = front.find(({ groups }) => kvHeadsOf(groups) === kvHeads);
    return [((own?.error ?? Number.NaN) - wse) / wse];
  });
  return [
    {
      what: 'keys',
      deviation: relative(
        groupings.map(({ labels }) => costOf(costs.keys, labels)),
        groupings.map(({ wseK }) => wseK),
      ),
      tolerance: TOLERANCE,
    },
    {
      what: 'values',
      deviation: relative(
        groupings.map(({ labels }) => costOf(costs.values, labels)),
        groupings.map(({ wseV }) => wseV),
      ),
      tolerance: TOLERANCE,
    },
    {
      what: 'KV cache',
      deviation: relative(
        groupings.map(({ labels }) => kvHeadsOf(labels) / heads),
        groupings.map(({ kv }) => kv),
      ),
      tolerance: TOLERANCE,
    },
    {
      what: 'optima',
      deviation: relative(
        ours,
        best.map(({ wse }) => wse),
      ),
      tolerance: TOLERANCE,
    },
    { what: 'NSGA-II above the optimum', deviation: largest(found), tolerance: 0.005 },
  ];
}

export function compareStage2({ mha, index }: Vectors): Check[] {
  const { depth, heads } = mha.shape;
  return index.qcqa.stage2.flatMap((expected) => {
    const layers = Array.from({ length: depth }, (_, i) => {
      const cost = bothOf(weightError.of(attentionOf(mha.values, i), sizesOf(mha.shape), null));
      const best = exact(cost, heads, expected.kvHeads, 'free');
      return { kvHeads: expected.kvHeads, heads, error: best.error };
    });
    const choices = expected.layersGrouped.map((grouped) =>
      judgeLayers(
        layers,
        grouped.map((one) => one === 1),
      ),
    );
    const front = expected.front.map((i) => choices[i]).sort((a, b) => (a?.kvCache ?? 0) - (b?.kvCache ?? 0));
    const searched = stage2(layers, draws(SEED, 'reference/stage2'));
    return [
      {
        what: 'KV cache',
        deviation: relative(
          choices.map(({ kvCache }) => kvCache),
          expected.kvCache,
        ),
        tolerance: TOLERANCE,
      },
      {
        what: 'errors',
        deviation: relative(
          choices.map(({ error }) => error),
          expected.wse,
        ),
        tolerance: TOLERANCE,
      },
      { what: 'front', deviation: `${frontOf(choices)}` === `${expected.front}` ? 0 : Number.NaN, tolerance: 0 },
      {
        what: 'NSGA-II’s front',
        deviation: relative(
          searched.map(({ error }) => error),
          front.map((choice) => choice?.error ?? Number.NaN),
        ),
        tolerance: TOLERANCE,
      },
    ];
  });
}

export function compareAsym({ mha, index, dir, statistics }: Vectors, layer: number): Check[] {
  const { groupings, best } = index.asymgqa.layers[layer] as (typeof index.asymgqa.layers)[number];
  const { heads } = mha.shape;
  const weights = attentionOf(mha.values, layer);
  const sizes = sizesOf(mha.shape);
  const own = statistics[layer] as LayerStatistics;
  const file = openSafetensors(path.join(dir, 'asymgqa.safetensors'));
  const expected = (name: string): Float32Array => readTensor(file, `blocks.${layer}.${name}`);
  const grams = activationGrams(weights, sizes, own);
  const [ofKeys, ofValues] = [cosinesOf(grams.keys), cosinesOf(grams.values)];
  const similarity = ofKeys.data.map((value, i) => (value + (ofValues.data[i] as number)) / 2);
  const squared = bothOf(activationError.of(weights, sizes, own));
  const cosine = bothOf(activationCosine.of(weights, sizes, own));
  const optima = (cost: GroupCost, sign: number): number[] =>
    best.map(({ kvHeads, sizes }) => sign * exact(cost, heads, kvHeads, sizes).error);
  return [
    { what: 'gram', deviation: relativeDeviation(own.inputs ?? [], expected('gram')), tolerance: TOLERANCE },
    { what: 'key gram', deviation: relativeDeviation(grams.keys.data, expected('key_gram')), tolerance: TOLERANCE },
    {
      what: 'value gram',
      deviation: relativeDeviation(grams.values.data, expected('value_gram')),
      tolerance: TOLERANCE,
    },
    { what: 'similarity', deviation: relativeDeviation(similarity, expected('similarity')), tolerance: TOLERANCE },
    {
      what: 'act-mse',
      deviation: relative(
        groupings.map(({ labels }) => costOf(squared, labels)),
        groupings.map(({ actMse }) => actMse),
      ),
      tolerance: TOLERANCE,
    },
    {
      what: 'act-cos',
      deviation: relative(
        groupings.map(({ labels }) => -costOf(cosine, labels)),
        groupings.map(({ actCos }) => actCos),
      ),
      tolerance: TOLERANCE,
    },
    {
      what: 'optima of act-mse',
      deviation: relative(
        optima(squared, 1),
        best.map(({ actMse }) => actMse),
      ),
      tolerance: TOLERANCE,
    },
    {
      what: 'optima of act-cos',
      deviation: relative(
        optima(cosine, -1),
        best.map(({ actCos }) => actCos),
      ),
      tolerance: TOLERANCE,
    },
  ];
}
