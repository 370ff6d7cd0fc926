/** All that a run goes on from, on its way to the disk and back: what the trainer holds, how far it is, what its model is. */
import { openSafetensors, readTensor } from '../checkpoint/safetensors.js';
import { writeSafetensors } from '../checkpoint/write-safetensors.js';
import type { VariantName } from '../model/variants.js';
import type { Running } from './experiment.js';
import { allFinite, type BuiltModel, finite } from './model.js';
import type { RunState } from './run-state.js';
import type { Given } from './snapshot.js';
import type { Trainer } from './trainer.js';

/** What is kept of how a run's model came to be, since the checkpoint that it began with is not read again. */
type KeptModel = Pick<BuiltModel, 'fromKvHeads' | 'freshHead' | 'order' | 'warnings'> & {
  variant: VariantName;
  shape: BuiltModel['model']['shape'];
};

/** As JSON. */
export interface KeptRun {
  state: RunState;
  model: KeptModel;
  /** Names. */
  classes: string[];
  mode: Running['mode'];
}

/**
 * Keeps the run as it is.
 * @param beside whether training may go on before it is on the disk
 * @throws GqaError `io`; `training` when a parameter is not finite: such a state must not take a good one's place
 */
export async function keepState(run: Running, state: RunState, beside: boolean): Promise<void> {
  const { trainer, built, classes, watch, mode, kept } = run;
  if (badStepOf(trainer) > 0) return; // the loss was not finite: the next log line tells
  const snapshot = trainer.snapshot();
  try {
    const tensors = snapshot.values.map(({ name, shape, data }) => {
      const parameter = name.startsWith('params/') ? name.slice('params/'.length) : null;
      return { name, shape, data: () => (parameter === null ? data() : finite(parameter, data(), state.step)) };
    });
    const bytes = 4 * tensors.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
    const { fromKvHeads, freshHead, order, warnings } = built;
    const { shape, variant } = built.model;
    const model = { fromKvHeads, freshHead, order, warnings, shape, variant };
    const record: KeptRun = { state, model, classes, mode };
    await watch.keep(
      { step: state.step, bytes, content: (write) => writeSafetensors(write, tensors), run: record },
      beside,
    );
    Object.assign(kept, { step: state.step, at: performance.now() });
  } finally {
    snapshot.dispose();
  }
}

/** The first parameter, in the model's order, that is not finite; null: all are (host sync). */
export function firstNotFinite(trainer: Trainer): string | null {
  const snapshot = trainer.snapshot(['params']);
  try {
    return snapshot.values.find(({ data }) => !allFinite(data()))?.name.slice('params/'.length) ?? null;
  } finally {
    snapshot.dispose();
  }
}

/** Left unread, so that the sums go on where they are (host sync). */
export function badStepOf(trainer: Trainer): number {
  const snapshot = trainer.snapshot(['sums']);
  try {
    return snapshot.values[0]?.data()[3] ?? 0;
  } finally {
    snapshot.dispose();
  }
}

/** A kept state as `restore` takes it. @param file state.safetensors */
export function entriesIn(file: string): Given[] {
  const opened = openSafetensors(file);
  return [...opened.tensors.keys()].map((name) => ({ name, data: () => readTensor(opened, name) }));
}

/** The model of a kept run; its values are the trainer's. */
export function builtFrom({ model, classes }: KeptRun): BuiltModel {
  const { shape, variant, ...others } = model;
  return {
    ...others,
    model: { shape, variant, values: {}, attention: [] },
    attentionSaved: true,
    classes,
    card: null,
    layers: null,
    layerChoices: null,
    notices: [],
  };
}

/** Kinds that belong to an optimizer step or a log line that is left out. */
const OF_THE_STEP = new Set(['sums', 'gradients', 'gradient-images']);

/** The same state, without what was gathered of a step: the run goes on with other images. */
export const withoutStep = (entries: readonly Given[]): Given[] =>
  entries.map(({ name, data }) =>
    OF_THE_STEP.has(name.split('/', 1)[0] as string)
      ? { name, data: () => new Float32Array(data().length) }
      : { name, data },
  );
