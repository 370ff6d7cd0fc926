/**
 * How long a run still takes: the images that it will train on and evaluate, each at the pace of those of its kind that
 * came last.
 */
import type { Counted, Progress } from '../run/progress.js';
import { type Experiment, isOnTest } from './experiment.js';
import type { RunState } from './run-state.js';

/** Images, by what is done with them. */
export interface Work {
  train: number;
  evaluate: number;
}

/**
 * Evaluation is the forward pass; training adds the backward one, of about twice the work. Where only one of them was
 * timed, it tells of the other.
 */
const EVALUATION_SHARE = 1 / 3;

type Start = (label: string, total: number, counted?: Counted) => Progress;

export interface RunClock {
  /**
   * Starts a bar of that kind of work, which then shows the time of the whole run too; what it measures is the pace
   * from then on.
   */
  timed(kind: keyof Work): Start;
  /** Seconds; null before anything was timed. */
  left(): number | null;
}

/** @param progress starts a bar. @param work of the whole run */
export function runClock(progress: Start, work: Work): RunClock {
  const left = { ...work };
  const pace: Record<keyof Work, number | null> = { train: null, evaluate: null };
  return {
    timed: (kind) => (label, total) => {
      left[kind] = Math.max(0, left[kind] - total);
      const bar = progress(label, total, { after: (each) => secondsOf(left, { ...pace, [kind]: each }) });
      const stop = (): void => {
        pace[kind] = bar.secondsEach() ?? pace[kind];
        bar.stop();
      };
      return { ...bar, stop };
    },
    left: () => secondsOf(left, pace),
  };
}

/** Images of the whole run, for what is left of it. */
export function workOf({ config, parts, built }: Experiment, epochs: number, { totalSteps, step }: RunState) {
  const { batchSize, gradAccumSteps } = config.train;
  const evaluations = (built.fromKvHeads === null || built.freshHead !== null ? 0 : 1) + epochs;
  return {
    train: Math.max(
      0,
      Math.min(epochs * parts.train.indices.length, totalSteps * batchSize * gradAccumSteps) -
        step * batchSize * gradAccumSteps,
    ),
    evaluate: evaluations * parts.selection.indices.length + (isOnTest(config) ? 0 : (parts.test?.indices.length ?? 0)),
  };
}

/** @param pace seconds an image */
function secondsOf(work: Work, pace: Record<keyof Work, number | null>): number | null {
  const train = pace.train ?? (pace.evaluate === null ? null : pace.evaluate / EVALUATION_SHARE);
  const evaluate = pace.evaluate ?? (train === null ? null : train * EVALUATION_SHARE);
  return train === null || evaluate === null ? null : work.train * train + work.evaluate * evaluate;
}
