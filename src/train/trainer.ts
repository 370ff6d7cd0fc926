/**
 * What trains and evaluates a model, with its state inside: the loop's view of a step. There is one, whether its
 * functions are compiled into a graph or run operation by operation; state is named variables, which `snapshot` reads
 * and `restore` fills.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { Config } from '../config/schema.js';
import type { Batch } from '../data/dataset.js';
import type { PixelScale } from '../model/pixels.js';
import { compile } from '../trace/compile.js';
import type { Feed, Functions, Program } from '../trace/function.js';
import { interpret } from '../trace/interpret.js';
import { stepSizeValues } from './adamw.js';
import { rateAfter } from './average.js';
import { entryPoints, writeEntryPoints } from './entry-points.js';
import { type Mix, mixValues, UNMIXED } from './mix.js';
import type { Model } from './model.js';
import { requirePrecision } from './precision.js';
import { fill, type Given, modelEntries, type Snapshot, snapshotOf } from './snapshot.js';
import type { StepOptions } from './step.js';
import { declareVariables, heldGroups } from './variables.js';

/** Fixed for a trainer's life. */
export interface TrainerOptions extends StepOptions {
  /** What noise is keyed by, with step and layer. */
  seed: number;
  /** Images a batch, padding included. */
  batchSize: number;
  evalBatchSize: number;
  /** Size in pixels at which images come. */
  height: number;
  width: number;
  /** How bytes become the model's input. */
  pixels: PixelScale;
  /** Batches an optimizer step, at most. */
  gradAccumSteps: number;
  /** Whether training batches are mixed; if not, a step has no trace of it. */
  mix: boolean;
  /** Of matrix products; other than float32 compiled only. */
  precision: Config['train']['precision'];
  evalAllocation: Config['model']['evalAllocation'];
  evalNoise: Config['model']['evalNoise'];
}

/** What changes from step to step besides the batch. */
export interface StepPlan {
  /** Optimizer steps before this one, in all. */
  step: number;
  lr: number;
  /** Whether a DGQA window begins with this batch. */
  refresh: boolean;
  /** With accumulation: whether the optimizer step ends with this batch. Left out: it does. */
  last?: boolean;
  /** With `mix`: how this batch is mixed. Left out: it is not. */
  mix?: Mix;
}

/** Sums over real images, to be divided by `images` once. */
export interface TrainSums {
  loss: number;
  top1: number;
  images: number;
  /** The first step, counted from 1, whose loss was not finite; 0 when all were. */
  badStep: number;
  /** What scaling the loss did; null but with float16. */
  float16: LossScaling | null;
}

export interface LossScaling {
  /** Optimizer steps that were left out since the sums were read before, since a gradient of theirs was not finite. */
  leftOut: number;
  /** What the loss is multiplied by in the next step. */
  scale: number;
}

export interface EvaluationSums {
  loss: number;
  top1: number;
  top5: number;
  images: number;
}

export interface Trainer {
  /** One optimizer step, or with accumulation a batch of one; returns before its numbers are read. */
  train(batch: Batch, plan: StepPlan): void;
  /** Sums since they were read before (host sync). */
  readSums(): TrainSums;
  /**
   * Query heads for each key head, by block, as the last step allocated them (host sync); null for variants that do
   * not allocate.
   */
  readCounts(): number[][] | null;
  /** Sums of evaluation start at 0, and allocation batch by batch at the trained state. */
  beginEvaluation(): void;
  /** @returns logits [B, C], padding included; the caller owns them */
  evaluate(batch: Batch): tf.Tensor;
  /** Sums since `beginEvaluation` (host sync). */
  readEvaluation(): EvaluationSums;
  /**
   * Mean norms of a batch's key heads, [depth][K], query heads split as the state says, real images only (host sync);
   * empty for variants that do not allocate.
   */
  keyNorms(batch: Batch): number[][];
  /** This model; everything else as before any training: moments 0, averages at the parameters, sums 0. */
  begin(model: Pick<Model, 'values' | 'attention'>): void;
  /**
   * Everything that a later step depends on, by name, or what belongs to some kinds of it (`params`, `ema`, …). To be
   * disposed.
   */
  snapshot(kinds?: readonly string[]): Snapshot;
  /**
   * Fills variables. What a kind has (`params/…`, `first/…`, `attention/…`) comes as a whole; kinds that are left out
   * keep their values.
   */
  restore(values: Iterable<Given>): void;
  /** What compiling took. */
  phases: Program<never>['phases'];
  dispose(): void;
}

/**
 * How a step runs. `compiled` needs the native runtime; `fused`, the same with this project's own operations in the
 * graph, their addon too; `fused-openblas`, whose products are by OpenBLAS, that library.
 */
export const MODES = {
  fused: <F extends Functions>(functions: F, precision: TrainerOptions['precision']): Program<F> =>
    compile(functions, { precision, fused: true }),
  'fused-openblas': <F extends Functions>(functions: F, precision: TrainerOptions['precision']): Program<F> =>
    compile(functions, { precision, fused: true, openblas: true }),
  compiled: <F extends Functions>(functions: F, precision: TrainerOptions['precision']): Program<F> =>
    compile(functions, { precision }),
  eager: <F extends Functions>(functions: F): Program<F> => interpret(functions),
};
export type TrainerMode = keyof typeof MODES;

/**
 * Has no values until `begin` or `restore`.
 * @throws TraceError for `compiled` without the native backend; GqaError for a precision that the mode or device lacks
 */
export function createTrainer(options: TrainerOptions, mode: TrainerMode): Trainer {
  const { adamw, ema } = options;
  requirePrecision(options.precision, mode);
  const variables = declareVariables(options, mode !== 'eager');
  const writers = writeEntryPoints(variables);
  const program = MODES[mode]({ ...entryPoints(options, variables), ...writers }, options.precision);
  const run = program.run as unknown as Runs;
  /**
   * Zeros come when they are first needed: evaluation alone goes without their memory, which is twice that of the
   * parameters.
   */
  let hasMoments = false;
  const setMoments = (): void => {
    if (!hasMoments) run.clearMoments({});
    hasMoments = true;
  };
  const restore: Trainer['restore'] = (values) => {
    const kinds = fill(writers, run, values);
    if (kinds.has('first') !== kinds.has('second')) throw new Error('both moments must be restored, or none');
    hasMoments ||= kinds.has('first');
  };
  return {
    phases: program.phases,
    train(batch, { step, lr, refresh, last = true, mix = UNMIXED }) {
      setMoments();
      const sizes = {
        ...stepSizeValues(lr, step + 1, adamw),
        ...(ema === null ? {} : { emaRate: rateAfter(step + 1, ema) }),
        ...(variables.lossScale === null ? {} : { done: step + 1 }),
      };
      const mixing = options.mix ? mixValues(mix, batch.weights) : {};
      const pass = { ...feedsOf(batch), refresh: refresh ? 1 : 0, step, ...mixing };
      if (run.train !== undefined) run.train({ ...pass, ...sizes });
      else {
        run.accumulate({ ...pass });
        if (last) run.finish(sizes);
      }
    },
    readSums() {
      const [loss, top1, images, badStep, scale, , leftOut, reported] = numbersOf(run.readSums({}).sums);
      const float16 = scale === undefined ? null : { scale, leftOut: (leftOut as number) - (reported as number) };
      return {
        loss: loss as number,
        top1: top1 as number,
        images: images as number,
        badStep: badStep as number,
        float16,
      };
    },
    readCounts() {
      if (variables.counts.length === 0) return null;
      const found = run.readCounts({});
      return variables.counts.map(({ name }) => numbersOf(found[name]));
    },
    beginEvaluation: () => void run.beginEvaluation({}),
    evaluate: (batch) => run.evaluate(feedsOf(batch)).logits as tf.Tensor,
    readEvaluation() {
      const [loss, top1, top5, images] = numbersOf(run.readEvaluation({}).sums) as [number, number, number, number];
      return { loss, top1, top5, images };
    },
    keyNorms: (batch) => Object.values(run.keyNorms(feedsOf(batch))).map(numbersOf),
    begin({ values, attention }) {
      restore(modelEntries({ values, attention }));
      run.begin({});
      hasMoments = false;
    },
    snapshot(kinds) {
      const groups = Object.entries(heldGroups(variables)).filter(([kind]) => kinds?.includes(kind) ?? true);
      if (groups.some(([kind]) => kind === 'first' || kind === 'second')) setMoments();
      const found = groups.map(([kind]) => run[`read/${kind}`]?.({}));
      return snapshotOf(Object.fromEntries(groups), Object.assign({}, ...found));
    },
    restore,
    dispose: program.dispose,
  };
}

type Run = (feeds: Record<string, Feed>) => Record<string, tf.Tensor>;

/** The entry points by name: `train`, or `accumulate` and `finish`, and the others. */
type Runs = Record<string, Run> & { train?: Run } & Record<Exclude<keyof ReturnType<typeof entryPoints>, 'train'>, Run>;

const feedsOf = ({ pixels, labels, weights }: Batch): Record<string, Feed> => ({ pixels, labels, weights });

/** Reads a result back and frees it. */
function numbersOf(result: tf.Tensor | undefined): number[] {
  const tensor = result as tf.Tensor;
  const values = Array.from(tensor.dataSync());
  tensor.dispose();
  return values;
}
