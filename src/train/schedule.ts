/** Learning rates over a run. */

export type ScheduleName = 'constant' | 'cosine' | 'linear';

/** Fraction of the peak after warm-up; `progress` from 0 to 1. */
const SHAPES = {
  constant: () => 1,
  cosine: (progress) => 0.5 * (1 + Math.cos(Math.PI * progress)),
  linear: (progress) => 1 - progress,
} as const satisfies Record<ScheduleName, (progress: number) => number>;

/**
 * The learning rate of an optimizer step: a linear warm-up that reaches the peak after `warmupSteps`, then the schedule
 * down to the end of the run.
 * @param step       from 0
 * @param totalSteps of the run, warm-up included
 */
export function learningRate(
  schedule: ScheduleName,
  peak: number,
  step: number,
  totalSteps: number,
  warmupSteps: number,
): number {
  if (step < warmupSteps) return (peak * (step + 1)) / warmupSteps;
  const progress = Math.min(1, (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
  return peak * SHAPES[schedule](progress);
}
