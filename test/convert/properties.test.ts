/** What must hold of every way of grouping and merging, on a small model whose heads are far from alike. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { shareOut } from '../../src/convert/budget.js';
import type { Weighted } from '../../src/convert/checkpoint.js';
import { attentionOf, regroup, sharedGroups, sizesOf, valuesOf } from '../../src/convert/convert.js';
import { allocation } from '../../src/convert/groupings/key-norms.js';
import type { FoundGroups } from '../../src/convert/groupings/rule.js';
import { GROUPINGS } from '../../src/convert/groupings.js';
import { outputOf, projectionOf } from '../../src/convert/heads.js';
import { layerError } from '../../src/convert/layer-error.js';
import { dot, meanOf, multiply, plus } from '../../src/convert/matrix.js';
import { basisError } from '../../src/convert/merges/basis.js';
import { turnedKeys, turnedValues } from '../../src/convert/merges/rotated.js';
import { keySides, type Side, valueSides } from '../../src/convert/merges/sides.js';
import { MERGES } from '../../src/convert/merges.js';
import type { Metric } from '../../src/convert/metrics/metric.js';
import { activationCosine, activationError, weightError } from '../../src/convert/metrics/pooled.js';
import { basisResidual } from '../../src/convert/metrics/residual.js';
import { exact } from '../../src/convert/search/exact.js';
import { costOf, remembered } from '../../src/convert/search/partition.js';
import { stage1, stage2 } from '../../src/convert/search/qcqa.js';
import { randomPartition, swap } from '../../src/convert/search/swap.js';
import { type LayerStatistics, STATISTICS } from '../../src/convert/statistics.js';
import { allocate } from '../../src/model/allocate.js';
import { type Groups, groupSizes, kvHeadsOf, membersOf, neighbouring, neighbours } from '../../src/model/grouping.js';
import { initialModel } from '../../src/model/params.js';
import type { ModelShape } from '../../src/model/sizes.js';
import { startBackend } from '../../src/native/backend.js';
import { draws } from '../../src/random.js';
import { logitsOf } from '../../src/reference/logits.js';
import { gatherStatistics } from '../../src/train/statistics.js';

const HEADS = 6;
const SHAPE: ModelShape = {
  imageSize: 16,
  patchSize: 4,
  embedDim: 24,
  depth: 2,
  heads: HEADS,
  grouping: neighbours(2, HEADS, HEADS),
  mlpRatio: 2,
  numClasses: 5,
};
const IMAGES = 6;

let mha: Weighted;
let images: tf.Tensor;
let statistics: LayerStatistics[];
let logits: Float32Array;

before(async () => {
  await startBackend('auto');
  const values = initialModel(SHAPE, 'mha', 7);
  const from = draws(7, 'test/weights');
  for (const [name, each] of Object.entries(values))
    if (/attn\.(q|k|v|proj)/.test(name))
      values[name] = from.normals(each.length).map((x) => x * (name.endsWith('bias') ? 0.1 : 0.4));
  mha = { values, shape: SHAPE };
  const pixels = draws(8, 'test/images').normals(IMAGES * 16 * 16 * 3);
  images = tf.tensor(pixels, [IMAGES, 16, 16, 3]);
  const feeding = { batchSize: IMAGES, height: 16, width: 16, pixels: null };
  async function* all() {
    yield { pixels, weights: new Float32Array(IMAGES).fill(1), images: IMAGES };
  }
  statistics = await gatherStatistics(mha, STATISTICS, feeding, all(), 'eager');
  logits = logitsOf(mha, images, 'eager');
});

const furthest = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.max(...Array.from(a, (value, i) => Math.abs(value - (b[i] as number))));

const input = (index: number, apart = false) => ({
  index,
  sizes: sizesOf(SHAPE),
  weights: attentionOf(mha.values, index),
  statistics: statistics[index] as LayerStatistics,
  plan: { search: 'exact', apart, seed: 3 } as const,
});

const PERMUTED = [
  [0, 1, 0, 2, 2, 1],
  [1, 0, 0, 0, 1, 0],
];

for (const [name, merge] of Object.entries(MERGES)) {
  test(`${name}: as many KV heads as heads is the model itself`, () => {
    const { values } = regroup(mha.values, SHAPE, sharedGroups(SHAPE.grouping), merge, statistics);
    assert.deepEqual(values, mha.values);
  });

  test(`${name}: heads that are equal within groups convert without loss`, () => {
    // all heads of a group have the keys and values of its first
    const values = { ...mha.values };
    for (const [i, groups] of PERMUTED.entries())
      for (const part of ['k', 'v'] as const)
        for (const kind of ['weight', 'bias'] as const) {
          const key = `blocks.${i}.attn.${part}.${kind}`;
          const own = (values[key] as Float32Array).slice();
          const length = own.length / HEADS;
          for (const [h, group] of groups.entries()) {
            const first = groups.indexOf(group);
            own.copyWithin(h * length, first * length, (first + 1) * length);
          }
          values[key] = own;
        }
    const expected = logitsOf({ values, shape: SHAPE }, images, 'eager');
    const merged = regroup(values, SHAPE, sharedGroups(PERMUTED), merge, statistics);
    assert.ok(furthest(logitsOf(merged, images, 'eager'), expected) < 1e-4);
  });

  test(`${name}: how groups are named changes no logit`, () => {
    const other = PERMUTED.map((groups) => groups.map((group) => kvHeadsOf(groups) - 1 - group));
    const [a, b] = [PERMUTED, other].map((labels) =>
      logitsOf(regroup(mha.values, SHAPE, sharedGroups(labels), merge, statistics), images, 'eager'),
    ) as [Float32Array, Float32Array];
    // the first head of a group is where a rotation begins: named otherwise it is the same
    assert.ok(furthest(a, b) < 1e-4);
  });
}

const METRICS: Record<string, Metric> = { weightError, activationError, activationCosine, basisResidual };

for (const [name, metric] of Object.entries(METRICS)) {
  test(`${name}: relabelling changes nothing, and the searches come in order`, () => {
    for (const index of [0, 1]) {
      const { keys, values } = metric.of(attentionOf(mha.values, index), sizesOf(SHAPE), statistics[index] ?? null);
      const cost = remembered((members) => keys(members) + values(members), HEADS);
      assert.equal(costOf(cost, [0, 1, 0, 2, 2, 1]).toFixed(12), costOf(cost, [2, 0, 2, 1, 1, 0]).toFixed(12));
      for (const sizes of ['equal', 'free'] as const)
        for (const kvHeads of [2, 3]) {
          const first = neighbouring(HEADS, kvHeads);
          const from = draws(1, 'test/search', index, kvHeads);
          const best = exact(cost, HEADS, kvHeads, sizes);
          const searched = stage1(cost, first, sizes, from).find(({ groups }) => kvHeadsOf(groups) === kvHeads);
          const climbed = swap(cost, first, sizes, from);
          assert.equal(kvHeadsOf(best.groups), kvHeads);
          if (sizes === 'equal') assert.deepEqual(new Set(groupSizes(best.groups)).size, 1);
          assert.ok(Math.abs(best.error - costOf(cost, best.groups)) < 1e-9);
          for (const { error } of [searched ?? { error: Number.NaN }, climbed]) {
            assert.ok(best.error <= error + 1e-7, `${best.error} ${error}`);
            assert.ok(error <= costOf(cost, first) + 1e-7);
          }
        }
    }
  });
}

test('the exact search is that of all partitions, counted one by one', () => {
  const costs = draws(4, 'test/costs');
  const known = new Map<string, number>();
  const cost = (members: readonly number[]): number => {
    const key = [...members].sort().join();
    if (!known.has(key)) known.set(key, costs.uniform());
    return known.get(key) as number;
  };
  const all: number[][] = [[]];
  for (let h = 0; h < HEADS; h++)
    all.splice(
      0,
      all.length,
      ...all.flatMap((p) => Array.from({ length: Math.max(-1, ...p) + 2 }, (_, g) => [...p, g])),
    );
  for (let kvHeads = 1; kvHeads <= HEADS; kvHeads++) {
    const own = all.filter((groups) => kvHeadsOf(groups) === kvHeads);
    assert.equal(exact(cost, HEADS, kvHeads, 'free').error, Math.min(...own.map((groups) => costOf(cost, groups))));
  }
  assert.equal(all.length, 203); // Bell's number
});

test('turning heads changes no logit, before they are pooled', () => {
  for (const by of [null, 'activations']) {
    const turned = { ...mha.values };
    for (const [i, groups] of PERMUTED.entries()) {
      const weights = attentionOf(mha.values, i);
      const own = by === null ? null : (statistics[i] as LayerStatistics);
      const { q, k } = turnedKeys(weights, groups, sizesOf(SHAPE), own);
      const { v, o } = turnedValues(weights, groups, sizesOf(SHAPE), own);
      const layer = {
        q: projectionOf(q),
        k: projectionOf(k),
        v: projectionOf(v),
        proj: outputOf(o, weights.proj.bias),
      };
      Object.assign(turned, valuesOf(layer, i));
    }
    assert.ok(furthest(logitsOf({ values: turned, shape: SHAPE }, images, 'eager'), logits) < 1e-4);
  }
});

for (const name of ['basis', 'basis-weights', 'basis-attention'])
  test(`${name}: where E dimensions hold all of a group’s heads, nothing is lost`, async () => {
    const [headDim, half] = [4, 2];
    const values = { ...mha.values };
    for (const i of [0, 1])
      for (const part of ['k', 'v']) {
        const key = `blocks.${i}.attn.${part}.weight`;
        const own = (values[key] as Float32Array).slice();
        // of each head's four rows two are the others' sums: rank 2, so that two heads have rank 4
        for (let h = 0; h < HEADS; h++)
          for (let row = half; row < headDim; row++)
            for (let x = 0; x < 24; x++) {
              const at = (r: number): number => (h * headDim + r) * 24 + x;
              own[at(row)] = (own[at(0)] as number) + (row - 1) * (own[at(1)] as number);
            }
        values[key] = own;
      }
    const low = { values, shape: SHAPE };
    const pixels = (await images.data()) as Float32Array;
    async function* all() {
      yield { pixels, weights: new Float32Array(IMAGES).fill(1), images: IMAGES };
    }
    const feeding = { batchSize: IMAGES, height: 16, width: 16, pixels: null };
    const own = await gatherStatistics(low, STATISTICS, feeding, all(), 'eager');
    const pairs = sharedGroups([neighbouring(HEADS, 3), [0, 1, 2, 2, 1, 0]]);
    const merged = regroup(values, SHAPE, pairs, MERGES[name] ?? null, own);
    assert.ok(furthest(logitsOf(merged, images, 'eager'), logitsOf(low, images, 'eager')) < 2e-4);
  });

/** What mean pooling errs by in the measure of a shared basis: Σ_h tr(P_h (W_h − mean) C (W_h − mean)ᵀ). */
const errorWithMean = (sides: readonly Side[], groups: Groups): number =>
  membersOf(groups).reduce((total, members) => {
    const own = members.map((h) => sides[h] as Side);
    const mean = meanOf(own.map(({ weight }) => weight));
    return own.reduce((sum, { weight, importance, covariance }) => {
      const off = plus(weight, mean, -1);
      return sum + dot(multiply(importance, off), multiply(off, covariance));
    }, total);
  }, 0);

test('a shared basis errs less than any grouping’s mean in its own measure, and is best where it says it is', () => {
  for (const index of [0, 1]) {
    const weights = attentionOf(mha.values, index);
    const own = statistics[index] as LayerStatistics;
    for (const sides of [keySides(weights, sizesOf(SHAPE), own), valueSides(weights, sizesOf(SHAPE), own)])
      for (let i = 0; i < 20; i++) {
        const groups = randomPartition(HEADS, 1 + (i % 5), 'free', draws(5, 'test/groups', i));
        assert.ok(basisError(sides, groups) <= errorWithMean(sides, groups) + 1e-9);
      }
  }
});

test('the measure that all merges share: nothing for the model itself, less for a basis than for the mean', () => {
  for (const index of [0, 1]) {
    const before = attentionOf(mha.values, index);
    const own = statistics[index] as LayerStatistics;
    const alone = neighbouring(HEADS, HEADS);
    const errorOf = (name: string, groups = neighbouring(HEADS, 2)) => {
      const layers = [0, 1].map(() => ({ keys: groups, values: groups }));
      const { values } = regroup(mha.values, SHAPE, layers, MERGES[name] ?? null, statistics, false);
      return layerError(before, attentionOf(values, index), { keys: groups, values: groups }, sizesOf(SHAPE), own);
    };
    const none = errorOf('mean', alone);
    assert.ok(none.keys < 1e-12 && none.values < 1e-12);
    const [mean, basis] = [errorOf('mean'), errorOf('basis')];
    assert.ok(basis.keys < mean.keys && basis.values < mean.values, JSON.stringify({ mean, basis }));
    assert.ok(mean.keys > 0.05 && basis.keys > 0);
  }
});

for (const [name, rule] of Object.entries(GROUPINGS)) {
  test(`${name}: groups of as many KV heads as asked, the same again with the same seed; apart where wanted`, () => {
    for (const apart of [false, true])
      for (const kvHeads of [1, 2, 3, HEADS]) {
        const found = [0, 1].map(() => rule.layer(input(1, apart))(kvHeads, kvHeads) as FoundGroups);
        assert.deepEqual(found[0], found[1]);
        const { keys, values, searches } = found[0] as FoundGroups;
        assert.deepEqual([kvHeadsOf(keys), kvHeadsOf(values)], [kvHeads, kvHeads]);
        if (!apart) assert.equal(keys, values);
        for (const { error, others, neighbours: plain } of searches) {
          assert.ok(error <= (plain as number) + 1e-9);
          if (others.exact !== undefined) assert.ok(others.exact <= error + 1e-9);
        }
      }
  });
}

test('heads side by side are the same model, whatever keys and values have of groups', () => {
  const alone = neighbouring(HEADS, HEADS);
  const scattered = [0, 1, 0, 2, 1, 0];
  for (const [keys, values] of [
    [scattered, [1, 0, 0, 1, 2, 3]],
    [scattered, alone],
    [alone, scattered],
    [[5, 3, 1, 0, 2, 4], scattered],
    [scattered, [5, 3, 1, 0, 2, 4]],
  ] as const)
    for (const name of ['mean', 'basis']) {
      const layers = [0, 1].map(() => ({ keys, values }));
      const [side, asGiven] = [true, false].map((arrange) =>
        logitsOf(regroup(mha.values, SHAPE, layers, MERGES[name] ?? null, statistics, arrange), images, 'eager'),
      ) as [Float32Array, Float32Array];
      assert.ok(furthest(side, asGiven) < 1e-4, `${keys} ${values} ${name}`);
    }
});

test('QCQA’s choice of layers: with none grouped nothing is lost, with all the least is kept', () => {
  const layers = [0.4, 0.1, 0.3].map((error) => ({ kvHeads: 2, heads: 6, error }));
  const front = stage2(layers, draws(1, 'test/stage2'));
  assert.deepEqual(
    front.map(({ grouped }) => grouped.map(Number).join('')),
    ['111', '011', '010', '000'],
  );
});

test('a budget goes where the errors are, and is refused where it is too small', () => {
  const errors = [
    [null, 9, 4, 1, 0],
    [null, 1, 0.5, null, 0],
  ];
  assert.deepEqual(shareOut(errors, 4), [3, 1]);
  assert.deepEqual(shareOut(errors, 5), [4, 1]);
  assert.deepEqual(shareOut(errors, 8), [4, 4]);
  assert.equal(shareOut(errors, 1), null);
});

test('allocation on the host rounds as the step does', () => {
  for (let i = 0; i < 200; i++) {
    const from = draws(9, 'test/allocation', i);
    const scores = Array.from({ length: 1 + from.below(5) }, () => (from.below(4) === 0 ? 0 : from.uniform()));
    const found = tf.tidy(() => Array.from(allocate(tf.tensor1d(scores), HEADS).dataSync()));
    assert.deepEqual(allocation(scores.map(Math.fround), HEADS), found, `${scores}`);
  }
});
