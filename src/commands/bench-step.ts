/** `gqa bench step`: what a step of a config's model costs, on synthetic pictures; with `--compare eager` both ways of running it, taking turns. */
import * as tf from '@tensorflow/tfjs-core';
import { readConfig } from '../config/load.js';
import { deviceOverride } from '../config/overrides.js';
import type { Config } from '../config/schema.js';
import type { Batch } from '../data/dataset.js';
import { GqaError } from '../errors.js';
import { forwardFlops } from '../model/flops.js';
import { countParameters, initialParams } from '../model/params.js';
import { startBackend } from '../native/backend.js';
import { draws } from '../random.js';
import { formatTable } from '../run/table.js';
import { shapeOf } from '../train/model.js';
import { initialAttention } from '../train/state.js';
import { TRAINERS, type TrainerMode } from '../train/trainer.js';
import { say } from './say.js';

export interface BenchOptions {
  config: string;
  set: string[];
  batchSize?: number;
  /** Steps of a round. */
  steps: number;
  /** Rounds after the warm-up; the modes take turns in each. */
  rounds: number;
  compare?: 'eager';
  device?: string;
  eager: boolean;
  json: boolean;
}

/** Times in ms or s, sizes in 10⁶ bytes. */
interface Figures {
  mode: TrainerMode;
  /** Building the trainer and its first step. */
  compile_s: number;
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

/** A head of ten classes; the picture size is the model's. */
const CLASSES = 10;

export async function benchStep(options: BenchOptions): Promise<void> {
  const { config } = readConfig(options.config, [...options.set, ...deviceOverride(options.device)]);
  const backend = await startBackend(config.device);
  if (backend.notice !== null) say(backend.notice);
  const first: TrainerMode = backend.name === 'tensorflow' && !options.eager ? 'compiled' : 'eager';
  if (options.compare !== undefined && first === 'eager')
    throw new GqaError('usage', '--compare eager needs the compiled step to compare with: the native runtime, and no --eager');
  const modes: TrainerMode[] = options.compare === undefined ? [first] : ['compiled', 'eager'];

  const { variant } = config.model;
  const batchSize = options.batchSize ?? config.train.batchSize;
  const runs = modes.map((mode) => ({
    mode,
    bench: openStepBench(config, mode, batchSize),
    train: [] as number[],
    evaluate: [] as number[],
    rss: [] as number[],
    tensors: [] as number[],
    peakMb: 0,
  }));
  for (const { bench } of runs) {
    bench.train(2);
    bench.evaluate(1);
  }
  for (let round = 0; round < options.rounds; round++) {
    for (const run of runs) {
      run.train.push(run.bench.train(options.steps));
      run.evaluate.push(run.bench.evaluate(Math.ceil(options.steps / 2)));
      run.rss.push(process.memoryUsage.rss() / 1e6);
      run.tensors.push(tf.memory().numTensors);
      run.peakMb = process.resourceUsage().maxRSS / 1e3;
    }
  }
  const figures = runs.map(({ mode, bench, train, evaluate, rss, tensors, peakMb }): Figures => {
    const best = Math.min(...train);
    return {
      mode,
      compile_s: rounded(bench.compileMs / 1000),
      train_images_per_s: rounded((1000 * batchSize) / best),
      train_ms_per_step: rounded(best),
      train_ms_per_step_median: rounded(median(train)),
      eval_images_per_s: rounded((1000 * batchSize) / Math.min(...evaluate)),
      peak_rss_mb: rounded(peakMb),
      tensors_grown: (tensors.at(-1) ?? 0) - (tensors[0] ?? 0),
      rss_grown_mb: rounded((rss.at(-1) ?? 0) - (rss[0] ?? 0)),
    };
  });
  for (const { bench } of runs) bench.dispose();

  const shape = shapeOf(config.model, CLASSES);
  const { parameters, kvParameters } = countParameters(shape);
  const about = {
    device: `${backend.name} ${backend.version} ${backend.device}`,
    variant,
    kv_heads: shape.kvHeads,
    batch_size: batchSize,
    parameters,
    kv_parameters: kvParameters,
    gflops_per_image: rounded(forwardFlops(shape) / 1e9),
  };
  if (options.json) {
    const [compiled, eager] = figures;
    const ratio = compiled && eager ? { ratio: rounded(eager.train_ms_per_step_median / compiled.train_ms_per_step_median) } : {};
    process.stdout.write(`${JSON.stringify({ ...about, ...compiled, ...(eager ? { eager } : {}), ...ratio })}\n`);
    return;
  }
  process.stdout.write(
    `${Object.entries(about)
      .map(([key, value]) => `${key} ${value}`)
      .join(' · ')}\n`,
  );
  const keys = Object.keys(figures[0] ?? {}) as (keyof Figures)[];
  process.stdout.write(
    formatTable(
      keys.map((title) => ({ title, align: 'right' as const })),
      figures.map((row) => keys.map((key) => String(row[key]))),
    ),
  );
}

export interface StepBench {
  /** Building the trainer, fresh weights and the first step. */
  compileMs: number;
  /** Milliseconds of a step; the sums are read at the end, as at a log line. */
  train(steps: number): number;
  /** Milliseconds of a batch. */
  evaluate(batches: number): number;
  dispose(): void;
}

/** A config's model on random pictures of its own size, ready to be timed: one step is done. The backend is started. */
export function openStepBench(config: Config, mode: TrainerMode, batchSize: number): StepBench {
  const started = performance.now();
  const { variant, windowSize, evalNoise } = config.model;
  const shape = shapeOf(config.model, CLASSES);
  const batch = syntheticBatch(batchSize, shape.imageSize, config.seed);
  const trainer = TRAINERS[mode]({
    shape,
    variant,
    windowSize,
    labelSmoothing: 0,
    adamw: config.train,
    seed: config.seed,
    batchSize,
    evalBatchSize: batchSize,
    height: shape.imageSize,
    width: shape.imageSize,
    evalAllocation: 'frozen',
    evalNoise,
  });
  const params = initialParams(shape, config.seed);
  const attention = initialAttention(shape, variant);
  trainer.load({ params, attention }, null);
  tf.dispose([params, attention]);
  let step = 0;
  const train = (steps: number): number => {
    const begun = performance.now();
    for (const end = step + steps; step < end; step++) trainer.train(batch, { step, lr: 1e-5, refresh: step % 10 === 0 });
    trainer.readSums();
    return (performance.now() - begun) / steps;
  };
  train(1);
  return {
    compileMs: performance.now() - started,
    train,
    evaluate(batches) {
      const begun = performance.now();
      trainer.beginEvaluation();
      for (let i = 0; i < batches; i++) trainer.evaluate(batch).dispose();
      trainer.readEvaluation();
      return (performance.now() - begun) / batches;
    },
    dispose: trainer.dispose,
  };
}

/** Random bytes, as the device gets them. */
function syntheticBatch(batchSize: number, side: number, seed: number): Batch {
  const from = draws(seed, 'bench');
  return {
    pixels: Uint8Array.from({ length: batchSize * side * side * 3 }, () => from.bits() & 255),
    height: side,
    width: side,
    labels: Int32Array.from({ length: batchSize }, () => from.below(CLASSES)),
    weights: new Float32Array(batchSize).fill(1),
    images: batchSize,
  };
}

const median = (values: number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
const rounded = (value: number): number => Number(value.toPrecision(4));
