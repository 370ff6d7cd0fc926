/**
 * `gqa bench step`: what a step of a config's model costs, on synthetic images; with `--compare eager` both ways of
 * running it, taking turns.
 */
import * as tf from '@tensorflow/tfjs-core';
import { requireEffect } from '../config/idle.js';
import { type FoundWeights, type ReadConfig, readConfig } from '../config/load.js';
import { deviceOverride, hasFixedKvHeads, variantOverride } from '../config/overrides.js';
import type { Config } from '../config/schema.js';
import { GqaError } from '../errors.js';
import { npmRun } from '../invocation.js';
import { forwardFlops } from '../model/flops.js';
import { sharingRecord } from '../model/grouping.js';
import { countParameters } from '../model/params.js';
import type { VariantName } from '../model/variants.js';
import { startBackend } from '../native/backend.js';
import { columnsOf } from '../run/fit.js';
import type { Stop } from '../run/interrupt.js';
import { progress } from '../run/progress.js';
import { formatTable } from '../run/table.js';
import { scratchShape } from '../train/model.js';
import type { TrainerMode } from '../train/trainer.js';
import { modeOf, stepName } from './data-and-backend.js';
import { say } from './say.js';
import { CLASSES, openStepBench, type StepBench } from './step-bench.js';
import { sizesWhereLeftOut } from './weights.js';

export interface BenchOptions {
  config: string;
  set: string[];
  batchSize?: number;
  /** Steps of a round. */
  steps: number;
  /** Rounds after the warm-up; the modes take turns in each. */
  rounds: number;
  /**
   * Measured too, taking turns: the same operation by operation, or of TensorFlow's own operations alone, or another
   * variant, with as many KV heads where it has a choice.
   */
  compare?: 'eager' | 'plain' | VariantName;
  /** Where the time of a compiled step goes, by kind of operation. */
  profile: boolean;
  device?: string;
  eager: boolean;
  json: boolean;
}

/** Times in ms or s, sizes in 10⁶ bytes. */
interface Figures {
  mode: TrainerMode;
  variant: VariantName;
  kv_heads: number | number[];
  parameters: number;
  kv_parameters: number;
  gflops_per_image: number;
  /** Building the trainer. */
  start_s: number;
  /** Under XLA compiling is a part of it. */
  first_step_s: number;
  /** Parts of a step that XLA compiled; left out without it. */
  xla_clusters?: number;
  /** Of the best round. */
  train_images_per_s: number;
  train_ms_per_step: number;
  /** Of the median round. */
  train_ms_per_step_median: number;
  eval_images_per_s: number;
  /** Of the process, after this mode's last round: with --compare it holds both. */
  peak_rss_mb: number;
  /** Tensors alive and memory grown between the first and the last round. */
  tensors_grown: number;
  rss_grown_mb: number;
}

/** Ways of running a step that `--compare` knows. */
const COMPARED_MODES: Record<string, TrainerMode> = { eager: 'eager', plain: 'compiled' };

/** What the model is, apart from what it takes: reported in a line of its own. */
const SIZES: (keyof Figures)[] = ['variant', 'kv_heads', 'parameters', 'kv_parameters', 'gflops_per_image'];

const inLine = (values: Record<string, string | number | number[]>): string =>
  Object.entries(values)
    .map(([key, value]) => `${key} ${value}`)
    .join(' · ');

export async function benchStep(options: BenchOptions, stop: Stop): Promise<void> {
  const sets = [...options.set, ...deviceOverride(options.device)];
  const { compare } = options;
  const found = await sizesWhereLeftOut(options.config, sets, stop);
  const read = readConfig(options.config, sets, found);
  const { config } = read;
  const other =
    compare === undefined || compare in COMPARED_MODES
      ? null
      : comparedConfig(options.config, sets, found, compare as VariantName, config);
  [...read.notices, ...requireEffect(options.config, other === null ? [read] : [read, other], 'bench step')].forEach(
    say,
  );
  const backend = await startBackend(config.device, config.train.compiler);
  if (backend.notice !== null) say(backend.notice);
  const first = modeOf(backend, config.train.compiler, options.eager);
  const second = COMPARED_MODES[compare ?? ''];
  if (second !== undefined && (first === 'eager' || first === second))
    throw new GqaError(
      'usage',
      `--compare ${compare} needs another step to compare with: ${second === 'eager' ? 'the native runtime, and no --eager' : 'the fused operations (gqa doctor tells whether they are there), and train.compiler: auto'}`,
    );
  const ways = [{ mode: first, config }];
  if (second !== undefined) ways.push({ mode: second, config });
  if (other !== null) ways.push({ mode: first, config: other.config });
  if (options.profile && first === 'eager')
    throw new GqaError('usage', '--profile needs the compiled step: the native runtime, and no --eager');

  const batchSize = options.batchSize ?? config.train.batchSize;
  const runs = [];
  for (const { mode, config } of ways) {
    await stop.check();
    const bench = await openStepBench(config, mode, batchSize, stop);
    const measured = {
      train: [] as number[],
      evaluate: [] as number[],
      rss: [] as number[],
      tensors: [] as number[],
      peakMb: 0,
    };
    runs.push({ mode, variant: config.model.variant, shape: scratchShape(config, CLASSES), bench, ...measured });
  }
  for (const { bench } of runs) {
    await bench.train(2);
    await bench.evaluate(1);
  }
  const bar = progress('measuring', options.rounds * runs.length);
  try {
    for (let round = 0; round < options.rounds; round++) {
      for (const [i, run] of runs.entries()) {
        run.train.push(await run.bench.train(options.steps));
        run.evaluate.push(await run.bench.evaluate(Math.ceil(options.steps / 2)));
        run.rss.push(process.memoryUsage.rss() / 1e6);
        run.tensors.push(tf.memory().numTensors);
        run.peakMb = process.resourceUsage().maxRSS / 1e3;
        bar.tick(round * runs.length + i + 1);
      }
    }
  } finally {
    bar.stop();
  }
  const figures = runs.map(({ mode, variant, shape, bench, train, evaluate, rss, tensors, peakMb }): Figures => {
    const best = Math.min(...train);
    const { parameters, kvParameters } = countParameters(shape, variant);
    return {
      mode: stepName(mode),
      variant,
      ...sharingRecord(shape),
      parameters,
      kv_parameters: kvParameters,
      gflops_per_image: rounded(forwardFlops(shape) / 1e9),
      start_s: rounded(bench.startMs / 1000),
      first_step_s: rounded(bench.firstStepMs / 1000),
      ...(config.train.compiler === 'xla' ? { xla_clusters: clustersOf(bench) } : {}),
      train_images_per_s: rounded((1000 * batchSize) / best),
      train_ms_per_step: rounded(best),
      train_ms_per_step_median: rounded(median(train)),
      eval_images_per_s: rounded((1000 * batchSize) / Math.min(...evaluate)),
      peak_rss_mb: rounded(peakMb),
      tensors_grown: (tensors.at(-1) ?? 0) - (tensors[0] ?? 0),
      rss_grown_mb: rounded((rss.at(-1) ?? 0) - (rss[0] ?? 0)),
    };
  });
  const profile = options.profile ? profileOf(runs[0]?.bench as StepBench) : null;
  for (const { bench } of runs) bench.dispose();

  const about = { device: `${backend.name} ${backend.version} ${backend.device}`, batch_size: batchSize };
  const [times, otherTimes] = runs.map(({ train }) => train);
  const ratio =
    times && otherTimes ? rounded(median(otherTimes.map((time, round) => time / (times[round] as number)))) : null;
  if (options.json) {
    const [measured, other] = figures;
    const compared = other && compare !== undefined ? { [compare]: other, ratio } : {};
    process.stdout.write(
      `${JSON.stringify({ ...about, ...measured, ...compared, ...(profile ? { profile } : {}) })}\n`,
    );
    return;
  }
  const sizes = figures.map((row) =>
    inLine(Object.fromEntries(SIZES.map((key) => [key, row[key] as string | number | number[]]))),
  );
  process.stdout.write(`${[inLine(about), ...new Set(sizes)].join('\n')}\n`);
  const keys = (Object.keys(figures[0] ?? {}) as (keyof Figures)[]).filter(
    (key) => key === 'variant' || !SIZES.includes(key),
  );
  process.stdout.write(
    formatTable(
      keys.map((title) => ({ title, align: 'right' as const })),
      figures.map((row) => keys.map((key) => String(row[key]))),
      columnsOf(process.stdout),
    ),
  );
  if (ratio !== null)
    process.stdout.write(`training time of the second by that of the first, median of the rounds: ${ratio}\n`);
  if (profile !== null) process.stdout.write(`\n${profileTable(profile)}`);
}

const clustersOf = (bench: StepBench): number => bench.profile()?.filter(({ op }) => op === '_XlaRun').length ?? 0;

/** The config with another variant. @throws GqaError `usage` when it does not fit the rest of the config */
function comparedConfig(
  file: string,
  sets: string[],
  found: FoundWeights,
  variant: VariantName,
  { model }: Config,
): ReadConfig {
  try {
    return readConfig(file, [...sets, ...variantOverride(variant)], found);
  } catch (error) {
    if (!(error instanceof GqaError) || error.code !== 'usage') throw error;
    const hint = hasFixedKvHeads(model.variant)
      ? `${model.variant} gives no number of KV heads to take over: begin with a config of ${variant} and compare with ${model.variant}.`
      : error.hint;
    throw new GqaError('usage', `--compare ${variant}: ${error.message}`, {
      ...(hint === undefined ? {} : { hint }),
      cause: error,
    });
  }
}

/** Operations of a kind in one step. */
interface KindTime {
  op: string;
  operations: number;
  /** Kernels alone; those that ran at the same time are counted each. */
  ms: number;
}

function profileOf(bench: StepBench): KindTime[] {
  const operations = bench.profile();
  if (operations === null) {
    throw new GqaError('environment', 'the addon in place does not record operations', {
      hint: `${npmRun('setup')} builds the one that does.`,
    });
  }
  const kinds = new Map<string, KindTime>();
  for (const { op, duration } of operations) {
    const kind = kinds.get(op) ?? { op, operations: 0, ms: 0 };
    kinds.set(op, { op, operations: kind.operations + 1, ms: kind.ms + duration / 1000 });
  }
  return [...kinds.values()].sort((a, b) => b.ms - a.ms).map((kind) => ({ ...kind, ms: rounded(kind.ms) }));
}

function profileTable(kinds: KindTime[]): string {
  const total = kinds.reduce((sum, { ms }) => sum + ms, 0);
  const count = kinds.reduce((sum, { operations }) => sum + operations, 0);
  const right = (title: string) => ({ title, align: 'right' as const });
  return formatTable(
    [{ title: 'kind of operation', align: 'left' }, right('in a step'), right('ms'), right('share')],
    [...kinds, { op: 'all', operations: count, ms: rounded(total) }].map(({ op, operations, ms }) => [
      op,
      String(operations),
      String(ms),
      `${((100 * ms) / total).toFixed(1)} %`,
    ]),
    columnsOf(process.stdout),
  );
}

const median = (values: number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
const rounded = (value: number): number => Number(value.toPrecision(4));
