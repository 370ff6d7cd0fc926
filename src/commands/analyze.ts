/**
 * `gqa analyze`: what an MHA checkpoint's heads say before anything is trained: similarity, effective dimension, the
 * error of every grouping and merge at each number of KV heads, and with `accuracy` the top-1 as converted.
 */
import path from 'node:path';
import { resolvePreprocessing } from '../checkpoint/preprocessing.js';
import { requireEffect } from '../config/idle.js';
import { deviceOverride } from '../config/overrides.js';
import type { Config } from '../config/schema.js';
import { analyseLayer, type LayerAnalysis } from '../convert/analysis.js';
import type { Gather, LayerRecord, Weighted } from '../convert/checkpoint.js';
import { convertMha } from '../convert/checkpoint.js';
import type { Wanted } from '../convert/convert.js';
import { searchingOnce } from '../convert/groupings/rule.js';
import { groupingRule } from '../convert/groupings.js';
import { ERROR_NEEDS } from '../convert/layer-error.js';
import { mergeRule } from '../convert/merges.js';
import type { LayerStatistics, StatisticName } from '../convert/statistics.js';
import { counted } from '../counted.js';
import type { Pipeline } from '../data/pipeline/pipeline.js';
import { GqaError } from '../errors.js';
import { makeFolder, writeFileAtomic } from '../files/atomic.js';
import { divisorsOf, kvHeadsInWords, sharesNothing } from '../model/grouping.js';
import { layerRecords } from '../run/conversion.js';
import type { Stop } from '../run/interrupt.js';
import { progress } from '../run/progress.js';
import { percent } from '../run/table.js';
import { compared } from '../train/divergence.js';
import { type BuiltModel, buildModel, conversionPlan } from '../train/model.js';
import { type Parts, splitParts } from '../train/parts.js';
import { evaluateWithProgress, gatherOn, readyTrainer } from '../train/ready.js';
import type { Trainer, TrainerMode } from '../train/trainer.js';
import { type Accuracy, analysisTables, type CombinationRow, wantedInWords } from './analysis-tables.js';
import { prepare } from './data-and-backend.js';
import { heatMaps } from './heat-map.js';
import { say } from './say.js';
import { foundSource, readConfigAndWeights } from './weights.js';

export interface AnalyzeOptions {
  /** A run folder; or `checkpoint` and `config`. */
  run?: string;
  checkpoint?: string;
  config?: string;
  set: string[];
  kvHeads?: number[];
  /** KV heads of all layers together, as model.kv_budget. */
  budgets: number[];
  groupings: string[];
  /** A name of the table; with `+refit`, output projections are fitted again (top-1 only). */
  merges: string[];
  /** The share of logits and outputs that shall be kept. */
  keep: number;
  /** Whether top-1 as converted is measured, on the config's test images. */
  accuracy: boolean;
  /** Folder for analysis.json and heat maps. */
  out?: string;
  device?: string;
  json: boolean;
}

export async function analyze(options: AnalyzeOptions, stop: Stop): Promise<void> {
  const source = await foundSource(options, 'analyze');
  const sets = [...options.set, 'model.variant=mha', 'model.kv_heads=null', ...deviceOverride(options.device)];
  const read = await readConfigAndWeights(source.config, sets, stop, source.checkpoint);
  [...read.notices, ...requireEffect(source.config, [read], 'analyze')].forEach(say);
  const { config } = resolvePreprocessing(read.config, source.checkpoint);
  const { dataset, mode, pipeline } = await prepare(config, false, stop);
  try {
    const parts = splitParts(config, dataset);
    const gather = gatherOn(config, pipeline, parts.train, mode, { progress, stop });
    const built = await buildModel(source.checkpoint, config, dataset.classes, NO_GATHER);
    const { shape, values } = built.model;
    if (!sharesNothing(shape))
      throw new GqaError(
        'usage',
        `${source.checkpoint} has ${kvHeadsInWords(shape.grouping)}: nothing is left to group`,
        {
          hint: 'Give an MHA checkpoint.',
        },
      );
    const mha: Weighted = { values, shape };
    const counts = options.kvHeads ?? divisorsOf(shape.heads).slice(0, -1).reverse();
    const merges = options.merges.map(mergeOf);
    const rules = options.groupings.map((name) => ({ name, rule: searchingOnce(groupingRule(name, shape.depth)) }));
    const needs = new Set<StatisticName>([
      ...ERROR_NEEDS,
      ...rules.flatMap(({ rule }) => rule.needs ?? []),
      ...merges.flatMap(({ rule }) => rule.needs ?? []),
    ]);
    const statistics = await gather.statistics(mha, [...needs], null);
    say(`${counted(statistics[0]?.images ?? 0, 'calibration image')}`);
    const layers: LayerAnalysis[] = [];
    for (const i of shape.grouping.keys()) {
      await stop.check();
      layers.push(analyseLayer(values, shape, i, statistics[i] as LayerStatistics, counts));
    }
    const measure = options.accuracy ? measurer(config, built, pipeline, parts, mode, stop) : null;
    const baseline = measure === null ? null : await measure.of(mha, 'MHA');
    if (baseline !== null) say(`MHA: top-1 ${percent(baseline.top1)}`);
    const amounts: Wanted[] = [
      ...counts.map((each) => ({ each })),
      ...options.budgets.map((together) => ({ together })),
    ];
    const combinations: CombinationRow[] = [];
    for (const { name: grouping, rule } of rules)
      for (const wanted of amounts) {
        const kvHeads = wantedInWords(wanted);
        for (const { name: merge, rule: mergeRule, refit } of merges) {
          await stop.check();
          const row = `${grouping}, ${merge}, KV heads ${kvHeads}`;
          const began = performance.now();
          const plan = { ...conversionPlan(config), variant: 'gqa', wanted, grouping: rule, merge: mergeRule, refit };
          const fromMemory: Gather = {
            ...gather,
            statistics: async (of, names, layer) => (layer === null ? statistics : gather.statistics(of, names, layer)),
          };
          const converted = await convertMha(mha, plan, fromMemory, statistics).catch((error: unknown) => {
            if (!(error instanceof GqaError) || error.code !== 'usage') throw error;
            say(`${row}: ${error.message}`); // no such groups; the others go on
            return null;
          });
          if (converted === null) continue;
          const seconds = (performance.now() - began) / 1000;
          const accuracy = measure === null ? null : await measure.of(converted, `${grouping}, ${merge}, ${kvHeads}`);
          const layers = converted.layers as LayerRecord[];
          combinations.push({ grouping, merge, wanted, accuracy, seconds, layers });
          if (accuracy !== null) say(`${row}: ${inWords(accuracy)}`);
        }
      }
    measure?.dispose();
    const images = { calibration: statistics[0]?.images ?? 0, test: measure?.images ?? null };
    const report = reportOf(source.checkpoint, images, layers, combinations, baseline);
    if (options.out !== undefined) writeAll(options.out, report, layers);
    process.stdout.write(
      options.json ? `${JSON.stringify(report)}\n` : analysisTables(layers, combinations, baseline, options.keep),
    );
  } finally {
    await pipeline.close();
  }
}

const NO_GATHER: Gather = {
  statistics: () => Promise.reject(new Error('an MHA model asks for no statistics')),
  outputs: () => Promise.reject(new Error('an MHA model is not fitted again')),
  distances: () => {
    throw new Error('an MHA model has no budget');
  },
};

function mergeOf(name: string) {
  const refit = name.endsWith('+refit');
  return { name, refit, rule: mergeRule(refit ? name.slice(0, -'+refit'.length) : name) };
}

/** `top-1 64.90 %, KL from MHA 0.241, the same class for 77.3 %` */
const inWords = ({ top1, divergence, same }: Accuracy): string =>
  `top-1 ${percent(top1)}, KL from MHA ${divergence.toFixed(3)}, the same class for ${percent(same)}`;

/**
 * Figures on the test images of models of one size, the first of which the others are compared with; trainers are kept,
 * since equal groups make one shape.
 */
function measurer(
  config: Config,
  built: BuiltModel,
  pipeline: Pipeline,
  parts: Parts,
  mode: TrainerMode,
  stop: Stop,
): { of(model: Weighted, label: string): Promise<Accuracy>; images: number; dispose(): void } {
  const part = parts.test ?? parts.selection;
  const kept: { shape: string; trainer: Trainer }[] = [];
  let first: Float32Array | null = null;
  return {
    images: part.indices.length,
    async of({ values, shape }, label) {
      const key = JSON.stringify([shape.grouping, shape.valueGrouping]);
      const model = { values, shape, variant: 'gqa', attention: shape.grouping.map(() => ({})) };
      let trainer = kept.find((each) => each.shape === key)?.trainer;
      if (trainer === undefined) {
        if (kept.length >= 2) kept.shift()?.trainer.dispose();
        trainer = await readyTrainer(config, { ...built, model }, pipeline, null, part, mode, { progress, stop });
        kept.push({ shape: key, trainer });
      } else trainer.begin(model);
      const logits: Float32Array[] = [];
      const onLogits = (of: Float32Array): void => void logits.push(of.slice());
      const watch = { progress, stop };
      const { numClasses } = shape;
      const { top1 } = await evaluateWithProgress(config, trainer, numClasses, pipeline, part, label, watch, onLogits);
      const all = Float32Array.from(logits.flatMap((each) => Array.from(each)));
      first ??= all;
      return { top1, ...compared(first, all, numClasses) };
    },
    dispose: () => kept.forEach(({ trainer }) => void trainer.dispose()),
  };
}

function reportOf(
  checkpoint: string,
  images: { calibration: number; test: number | null },
  layers: readonly LayerAnalysis[],
  combinations: readonly CombinationRow[],
  baseline: Accuracy | null,
) {
  return {
    checkpoint,
    calibration_images: images.calibration,
    test_images: images.test,
    top1_mha: baseline?.top1 ?? null,
    layers: layers.map(({ similarity, dimensions, allocations }, layer) => ({
      layer,
      similarity,
      dimensions,
      allocations: allocations.map(({ kvHeads, ...of }) => ({ kv_heads: kvHeads, ...of })),
    })),
    combinations: combinations.map(({ wanted, accuracy, layers, ...of }) => ({
      ...of,
      kv_heads: wantedInWords(wanted),
      ...(accuracy ?? {}),
      layers: layerRecords(layers),
    })),
  };
}

function writeAll(out: string, report: unknown, layers: readonly LayerAnalysis[]): void {
  makeFolder(out);
  writeFileAtomic(path.join(out, 'analysis.json'), `${JSON.stringify(report)}\n`);
  for (const by of ['weights', 'activations'] as const) {
    const panels = layers.flatMap(({ similarity }, i) =>
      (['keys', 'values'] as const).map((of) => ({ title: `layer ${i}, ${of}`, values: similarity[by][of] })),
    );
    writeFileAtomic(path.join(out, `similarity-${by}.svg`), heatMaps(`Cosine of heads, by ${by}`, panels, 6));
  }
  say(`${out}: analysis.json, similarity-weights.svg, similarity-activations.svg`);
}
