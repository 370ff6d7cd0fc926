/** How far a run is: plain numbers and text, which can be written as JSON and gone on from. */
import type { Metrics } from './evaluate.js';

export interface RunState {
  /** `epoch 3`, `epoch 3/10 validation`, `test, best epoch (2)`: for what is reported when the run ends early. */
  doing: string;
  /** `between`: nothing of the next epoch was done; `training`: in the middle of it; `measuring`: it was trained. */
  phase: 'between' | 'training' | 'measuring';
  /** The epoch of that phase, or the last one done, from 1; 0: none. */
  epoch: number;
  /** Optimizer steps done, and those of the whole run. */
  step: number;
  totalSteps: number;
  /** Batches of the epoch that were trained on. */
  batch: number;
  /** Sums of the epoch, as they were read at its log lines. */
  inEpoch: EpochSums;
  /** As converted; null: from scratch, a fresh head, or not measured yet. */
  converted: Metrics | null;
  best: { epoch: number; step: number; selection: Metrics; path: string } | null;
  /** Training alone, without evaluation. */
  trained: { images: number; seconds: number };
  /** Optimizer steps that float16 left out; null with other precisions. */
  stepsLeftOut: number | null;
  /** Models that are on the disk. */
  saved: { last: SavedModel | null; best: SavedModel | null };
  /** Why the model as it is was not saved. */
  notSaved: string | null;
  /** Steps whose loss was not finite, and from which the run went back to the weights of a checkpoint. */
  rollbacks: { step: number; to: number }[];
}

export interface EpochSums {
  loss: number;
  top1: number;
  images: number;
  seconds: number;
  /** Seconds that steps waited for images. */
  waited: number;
  stepsLeftOut: number | null;
}

export interface SavedModel {
  step: number;
  path: string;
}

/** @param scaled with float16, whose left-out steps are counted */
export const emptySums = (scaled: boolean): EpochSums => ({
  ...{ loss: 0, top1: 0, images: 0, seconds: 0, waited: 0 },
  stepsLeftOut: scaled ? 0 : null,
});

/** Before anything was done. */
export const freshState = (totalSteps: number, scaled: boolean): RunState => ({
  doing: 'before the first step',
  phase: 'between',
  epoch: 0,
  step: 0,
  totalSteps,
  batch: 0,
  inEpoch: emptySums(scaled),
  converted: null,
  best: null,
  trained: { images: 0, seconds: 0 },
  stepsLeftOut: scaled ? 0 : null,
  saved: { last: null, best: null },
  notSaved: null,
  rollbacks: [],
});

/** True whatever ended the run: which model lies where. */
export function savedModels({ step, saved, notSaved }: RunState): string {
  const lacking = notSaved === null ? [] : [`The model after step ${step} was not saved: ${notSaved}`];
  const places = [saved.last, saved.best]
    .filter((model) => model !== null)
    .map(({ step, path }, i) =>
      i === 0 ? `The model after step ${step} is in ${path}` : `the best one, after step ${step}, in ${path}`,
    );
  return [...lacking, places.length === 0 ? 'No model was saved.' : `${places.join('; ')}.`].join('\n');
}
