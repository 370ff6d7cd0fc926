/**
 * Moving averages of the parameters, as timm's ModelEmaV3 keeps them: a ← decay · a + (1 − decay) · parameter after
 * every optimizer step, those included that float16 leaves out. With a warm-up (its `use_warmup`) the decay rises from
 * 0, so that nothing of what training began with stays in the averages of a short run.
 */

export interface AverageOptions {
  /** Weight of the old average, 0 < decay < 1; with a warm-up the largest one. */
  decay: number;
  warmup: boolean;
}

/** timm's `warmup_power`, with its `warmup_gamma` of 1. */
const WARMUP_POWER = 2 / 3;

/**
 * Weight of the old average in the update after a step. With a warm-up: 1 − step^(−2/3), up to `decay`; 0 after the
 * first step. Source: `ModelEmaV3.get_decay` of timm 1.0.31, called with the number of steps done, as its train.py
 * does.
 * @param step optimizer steps done, from 1
 */
export const decayAfter = (step: number, { decay, warmup }: AverageOptions): number =>
  warmup ? Math.min(decay, 1 - step ** -WARMUP_POWER) : decay;

/** Weight of the new parameters. */
export const rateAfter = (step: number, options: AverageOptions): number => 1 - decayAfter(step, options);

/** What is left in the averages, after some steps, of the parameters that training began with: a fraction, 0 to 1. */
export const shareOfStart = (steps: number, { decay, warmup }: AverageOptions): number =>
  warmup && steps > 0 ? 0 : decay ** steps;
