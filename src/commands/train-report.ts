/** What `gqa train` found, as `--json` prints it and in words. */
import { counted } from '../counted.js';
import { figureInWords } from '../model/grouping.js';
import { percent } from '../run/table.js';
import type { Metrics } from '../train/evaluate.js';
import { warningLine } from './say.js';

/** What `--json` prints, and what a sweep reads. Fractions 0 to 1. */
export interface TrainReport {
  run: string;
  variant: string;
  kv_heads: number | number[];
  /** Where values are grouped apart. */
  value_heads?: number | number[];
  seed: number;
  parameters: number;
  kv_parameters: number;
  /** Keys and values of one image, over all layers: how many numbers. */
  kv_activations: number;
  /** Of one image's forward pass, two for each multiply-add. */
  gflops_per_image: number;
  device: string;
  /**
   * On the selection part (validation; the test split under protocol `paper`); null when trained from scratch, and with
   * a fresh head.
   */
  converted: Metrics | null;
  /** The checkpoint's head was not taken over, so that “as converted” is no measurement. */
  fresh_head: boolean;
  best: { epoch: number; step: number; top1: number; loss: number };
  /** null: the data set has no test split. */
  test: Metrics | null;
  train_images_per_s: number | null;
  /** What may make these figures wrong, a line each; meta.json keeps them too. */
  warnings: string[];
  /** Optimizer steps that float16 left out; null with other precisions. */
  steps_left_out: number | null;
}

export function describe(
  {
    run,
    variant,
    kv_heads,
    value_heads,
    converted,
    fresh_head,
    best,
    test,
    train_images_per_s,
    steps_left_out,
    warnings,
  }: TrainReport,
  protocol: 'validation' | 'paper',
): string {
  const selection = protocol === 'paper' ? 'test' : 'validation';
  return [
    `${variant}, ${value_heads === undefined ? '' : 'keys of '}${figureInWords(kv_heads)}${value_heads === undefined ? '' : `, values of ${figureInWords(value_heads)}`}: ${run}`,
    ...(converted ? [`  as converted, ${selection}: top-1 ${percent(converted.top1)}`] : []),
    ...(fresh_head ? [`  as converted, ${selection}: – (fresh head)`] : []),
    `  best epoch (${best.epoch}), ${selection}: top-1 ${percent(best.top1)}`,
    test === null
      ? '  no test split: no test figures'
      : `  its test: top-1 ${percent(test.top1)}, top-5 ${percent(test.top5)}, loss ${test.loss.toFixed(4)}, ${counted(test.images, 'image')}`,
    ...(train_images_per_s === null ? [] : [`  training: ${train_images_per_s.toFixed(1)} images/s`]),
    ...(steps_left_out ? [`  float16 left out ${counted(steps_left_out, 'step')}`] : []),
    ...warnings.map(warningLine),
    '',
  ].join('\n');
}
