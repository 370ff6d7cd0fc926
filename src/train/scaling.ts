/** When a run in float16 ends because of what scaling its loss left out (update.ts does the scaling). */
import { GqaError } from '../errors.js';

const HINT = 'Use train.precision: bfloat16 or float32, or lower train.lr.';

/**
 * A scale that falls to it comes from gradients that are not finite whatever it is. fairseq ends a run there too
 * (`--min-loss-scale`).
 */
const SMALLEST_SCALE = 1e-4;

/** @throws GqaError `training` when hardly a gradient would outlive the scale */
export function requireScale(scale: number, step: number): void {
  if (scale >= SMALLEST_SCALE) return;
  throw new GqaError(
    'training',
    `float16: the loss scale has fallen to ${scale} by step ${step}: gradients are not finite whatever it is`,
    {
      hint: HINT,
    },
  );
}

/**
 * @throws GqaError `training` when more than half of the steps were left out: what came of the others does not stand
 *   for the run that was asked for
 */
export function requireMostSteps(leftOut: number, steps: number): void {
  if (leftOut <= steps / 2) return;
  throw new GqaError(
    'training',
    `float16: ${leftOut} of ${steps} steps were left out, since their gradients do not fit into that type; the test split was not measured`,
    { hint: `${HINT} The first steps find the scale: a longer run leaves out a smaller part.` },
  );
}
