/** `gqa train --resume`: a run from where it was stopped. */
import os from 'node:os';
import path from 'node:path';
import type { Config } from '../config/schema.js';
import type { Dataset } from '../data/dataset.js';
import { GqaError } from '../errors.js';
import { requireFree } from '../files/space.js';
import { command } from '../invocation.js';
import { countParameters } from '../model/params.js';
import { continueRun } from '../run/continue-run.js';
import type { Stop } from '../run/interrupt.js';
import { readMeta } from '../run/meta.js';
import type { RunFolder } from '../run/open-run.js';
import { builtFrom, type KeptRun } from '../train/kept-state.js';
import { splitParts } from '../train/parts.js';
import { planOf } from '../train/plan.js';
import type { RunState } from '../train/run-state.js';
import { changesInData } from './changes.js';
import { bytesOfState, conduct, type keepLines, type TrainOptions } from './conduct.js';
import { prepare } from './data-and-backend.js';
import { requirePaths } from './require-paths.js';
import { type Again, deviceOf, stateIn } from './resume.js';
import { say, sayNext, warn } from './say.js';
import { describe, type TrainReport } from './train-report.js';

/** Begins a run in a folder that is there already. */
export type Begin = (
  options: TrainOptions,
  from: { read: Again['read']; file: string; notices: readonly string[] },
  stop: Stop,
  kept: ReturnType<typeof keepLines>,
  make: (made: { config: Config }) => RunFolder,
) => Promise<TrainReport>;

/** A run from where it was stopped. @param fresh for one that never came to a checkpoint */
export async function goOn(
  options: TrainOptions,
  again: Again,
  stop: Stop,
  kept: ReturnType<typeof keepLines>,
  fresh: Begin,
): Promise<TrainReport> {
  const { folder, read, changes, lock, report } = again;
  if (report !== null && !changes.some((change) => /^train\.(epochs|steps):/.test(change))) {
    say(`run ${folder} is done; for more epochs: ${command(`train --resume ${folder} --set train.epochs=N`)}`);
    process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : describe(report, read.config.train.protocol));
    if (!options.json) sayNext(`runs show ${report.run}`);
    return report;
  }
  for (const line of again.kept?.passedOver ?? []) warn(`a checkpoint is passed over: ${line}`);
  for (const line of changes) say(`changed: ${line}`);
  const { takenFrom } = lock;
  if (takenFrom !== null)
    say(
      `process ${takenFrom.pid}${takenFrom.host === null ? '' : ` on ${takenFrom.host}`}, which worked on ${folder}, is gone`,
    );
  const note = (from: number | null) => ({
    ...{ at: new Date().toISOString(), from_step: from, changes, argv: process.argv.slice(2) },
    host: os.hostname(),
  });
  const file = path.join(folder, 'config.yaml');
  if (again.kept === null) {
    say(`run ${folder} was stopped before its first checkpoint: it begins anew`);
    return fresh(options, { read, file, notices: [] }, stop, kept, ({ config }) =>
      continueRun(folder, config, null, lock, note(null)),
    );
  }
  const good = again.kept;
  const record = good.manifest.run as unknown as KeptRun;
  const { config } = read;
  await requirePaths(file, read, ['data.root']);
  const { dataset, backend, mode, pipeline } = await prepare(config, options.eager || record.mode === 'eager', stop);
  try {
    requireSameData(file, dataset, folder);
    const parts = splitParts(config, dataset);
    const state = stateIn(folder, good);
    requireMore(config, parts.train.indices.length, state, folder);
    const built = builtFrom(record);
    const before = deviceOf(folder);
    const now = `${backend.name} on the ${backend.device}`;
    if (before !== null && (before !== now || record.mode !== mode))
      warn(
        `the run began with ${before} (${record.mode}) and goes on with ${now} (${mode}): not to the last digit as it would have`,
      );
    requireFree(
      folder,
      bytesOfState(countParameters(built.model.shape, built.model.variant).parameters, config.train),
      'a checkpoint',
    );
    const run = continueRun(folder, config, good, lock, note(state.step));
    kept.into(run);
    say(`run ${folder} goes on after step ${state.step} (epoch ${state.epoch})`);
    const experiment = { config, classes: dataset.classes, parts, pipeline, built, mode, teacher: null };
    const from = { state, file: path.join(good.folder, 'state.safetensors') };
    return await conduct(run, { ...experiment, from }, { backend, warnings: warningsIn(folder) }, stop, options);
  } finally {
    await pipeline.close();
  }
}

/** A run goes on with the images that it began with. */
function requireSameData(file: string, dataset: Dataset, folder: string): void {
  const [change] = changesInData(file, dataset);
  if (change !== undefined)
    throw new GqaError('data', `run ${folder} cannot go on: ${change}`, {
      hint: 'Give the same data back, or start a new run.',
    });
}

/** More epochs or steps are possible, fewer than are done are not. */
function requireMore(config: Config, images: number, { step, totalSteps, phase }: RunState, folder: string): void {
  const plan = planOf(config.train, images);
  if (plan.totalSteps < step || (plan.totalSteps === step && totalSteps > step && phase === 'training'))
    throw new GqaError('usage', `run ${folder} has done ${step} steps already; the config wants ${plan.totalSteps}`);
  if (plan.totalSteps !== totalSteps && config.train.schedule !== 'constant')
    warn(
      `train.schedule is ${config.train.schedule}: from step ${step} on the learning rate is that of ${plan.totalSteps} steps, before it was that of ${totalSteps}`,
    );
}

const warningsIn = (folder: string): string[] => {
  const warnings = readMeta(folder)?.warnings;
  return Array.isArray(warnings) ? warnings.map(String) : [];
};
