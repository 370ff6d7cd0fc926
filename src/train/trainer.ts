/**
 * What trains and evaluates a model, with its state inside: the loop's view of a step, whether it runs compiled
 * (compiled.ts) or operation by operation (eager.ts).
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { Config } from '../config/schema.js';
import type { Batch } from '../data/dataset.js';
import type { Params } from '../model/params.js';
import type { PixelScale } from '../model/pixels.js';
import type { BlockState } from '../model/variants/key-driven.js';
import type { Moments } from './adamw.js';
import type { Mix } from './mix.js';
import type { Model } from './model.js';
import type { StepOptions } from './step.js';

/** Fixed for a trainer's life. */
export interface TrainerOptions extends StepOptions {
  /** What PGQA's noise is keyed by, with step and layer. */
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
  /** Query heads for each key head, by block, as the last step allocated them (host sync); null for other variants. */
  readCounts(): number[][] | null;
  /** Sums of evaluation start at 0, and allocation batch by batch at the trained state. */
  beginEvaluation(): void;
  /** @returns logits [B, C], padding included; the caller owns them */
  evaluate(batch: Batch): tf.Tensor;
  /** Sums since `beginEvaluation` (host sync). */
  readEvaluation(): EvaluationSums;
  /**
   * Mean norms of a batch's key heads, [depth][K], query heads split as the state says, real images only (host sync).
   * Key-driven variants only.
   */
  keyNorms(batch: Batch): number[][];
  /** Replaces the attention state by copies. Key-driven variants only. */
  loadAttention(attention: BlockState[]): void;
  /**
   * What evaluation reads: parameters (their moving averages where they are kept) and attention state; the caller owns
   * the tensors.
   */
  model(): Model;
  /** Of the parameters that are trained; the caller owns the tensors. */
  moments(): Moments;
  /** Takes copies; moving averages begin at the parameters. @param moments null: zeros, as before any training */
  load(model: Pick<Model, 'params' | 'attention'>, moments: Moments | null): void;
  /** With distillation: the teacher's parameters, an MHA model of the same sizes. Takes copies. */
  loadTeacher(params: Params): void;
  dispose(): void;
}

/** How a step runs: trainers.ts has a maker for each. */
export type TrainerMode = 'compiled' | 'eager';
