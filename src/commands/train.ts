/** `gqa train`: one run, from a config to a run folder with its results, or on from where it was stopped. */
import os from 'node:os';
import path from 'node:path';
import { resolvedTeacher, resolvePreprocessing } from '../checkpoint/preprocessing.js';
import { requireEffect } from '../config/idle.js';
import { type ReadConfig, readConfig } from '../config/load.js';
import { deviceOverride } from '../config/overrides.js';
import { absolutePaths } from '../config/paths.js';
import { preprocessingOf } from '../config/preprocessing.js';
import type { Config } from '../config/schema.js';
import { counted } from '../counted.js';
import type { Dataset } from '../data/dataset.js';
import { fingerprint } from '../data/fingerprint.js';
import type { Pipeline } from '../data/pipeline/pipeline.js';
import { GqaError, withAfterthought } from '../errors.js';
import { requireFree } from '../files/space.js';
import { command } from '../invocation.js';
import { sharingInWords, sharingRecord } from '../model/grouping.js';
import { countParameters } from '../model/params.js';
import { checkpointsIn, statesOf } from '../run/checkpoints.js';
import { conversionRecord } from '../run/conversion.js';
import { epochLine, lossAndTop1 } from '../run/epoch-line.js';
import { columnsOf } from '../run/fit.js';
import { isInterruption, type Stop } from '../run/interrupt.js';
import { readMeta } from '../run/meta.js';
import { progress } from '../run/progress.js';
import { checkRun, continueRun, createRun, type LoggedLine, type RunFolder, type RunPlace } from '../run/run-folder.js';
import { type Experiment, runExperiment, type Watch } from '../train/experiment.js';
import { builtFrom, type KeptRun } from '../train/kept-state.js';
import { type BuiltModel, buildModel, conversionPlan } from '../train/model.js';
import { splitParts } from '../train/parts.js';
import { planFindings, planOf, requireWarmupEnds } from '../train/plan.js';
import { gatherOn } from '../train/ready.js';
import type { RunState } from '../train/run-state.js';
import { buildTeacher } from '../train/teacher.js';
import { changesInData } from './changes.js';
import { type Prepared, prepare } from './data-and-backend.js';
import { keepFlawed, sayFlawed } from './flawed-images.js';
import { requirePaths } from './require-paths.js';
import { type Again, deviceOf, runToResume, stateIn } from './resume.js';
import { listen, say, sayShorter, warn } from './say.js';
import { describe, type TrainReport } from './train-report.js';

export interface TrainOptions {
  /** Left out: `resume` names a run, which has its own. */
  config?: string;
  /** A run folder, or `auto`. */
  resume?: string;
  set: string[];
  runName?: string;
  runsDir: string;
  device?: string;
  /** Operation by operation instead of compiled. */
  eager: boolean;
  json: boolean;
}

/** What is said from now on is kept: by the run's log once there is a run, before that for the run to begin with. */
function keepLines(): { said: LoggedLine[]; into(run: RunFolder): void; release(): void } {
  const said: LoggedLine[] = [];
  let hear = (text: string): void => void said.push({ at: new Date(), text });
  const release = listen((text) => hear(text));
  return {
    said,
    into(run) {
      hear = run.log;
    },
    release,
  };
}

export async function train(options: TrainOptions, stop: Stop): Promise<TrainReport> {
  const kept = keepLines();
  try {
    return await trainLogged(options, stop, kept);
  } finally {
    kept.release();
  }
}

async function trainLogged(
  options: TrainOptions,
  stop: Stop,
  kept: ReturnType<typeof keepLines>,
): Promise<TrainReport> {
  const sets = [...options.set, ...deviceOverride(options.device)];
  const again = options.resume === undefined ? null : runToResume({ ...options, resume: options.resume }, sets);
  if (again !== null) {
    try {
      return await goOn(options, again, stop, kept);
    } finally {
      again.lock.release();
    }
  }
  if (options.config === undefined) throw new GqaError('usage', "required option '--config <file>' not specified");
  const read = readConfig(options.config, sets);
  const ofConfig = [...read.notices, ...requireEffect(options.config, [read], 'train')];
  ofConfig.forEach(say);
  const place = { runsDir: options.runsDir, name: read.config.name, runName: options.runName };
  checkRun(place);
  const from = { read, file: options.config, notices: ofConfig };
  return fresh(options, from, stop, kept, (made) => createRun({ ...place, ...made }));
}

type Made = Omit<Parameters<typeof createRun>[0], keyof RunPlace>;

/**
 * A run from its beginning.
 * @param file of the config, for messages
 * @param make the run's folder
 */
async function fresh(
  options: TrainOptions,
  { read, file, notices: ofConfig }: { read: ReadConfig; file: string; notices: readonly string[] },
  stop: Stop,
  kept: ReturnType<typeof keepLines>,
  make: (made: Made) => RunFolder,
): Promise<TrainReport> {
  await requirePaths(file, read, ['data.root', 'model.pretrained', 'model.grouping', 'train.distill_from']);
  conversionPlan(read.config); // names of groupings and merges, before data is opened
  const { config, notices, warnings: doubts } = resolvePreprocessing(read.config, read.config.model.pretrained);
  const students = preprocessingOf(config.data);
  const { distillFrom } = config.train;
  const teachers = distillFrom === null ? null : resolvedTeacher(distillFrom, config.model.embedDim, students);
  const { dataset, backend, mode, pipeline } = await prepare(config, options.eager, stop);
  try {
    const { variant, pretrained } = config.model;
    const parts = splitParts(config, dataset);
    requireWarmupEnds(config, parts.train.indices.length);
    const gather = gatherOn(config, pipeline, parts.train, mode, { progress, stop });
    const built = await buildModel(pretrained, config, dataset.classes, gather);
    const { shape } = built.model;
    requireSomethingToMeasure(config, built);
    await stop.check();
    const teacher =
      distillFrom === null || teachers === null
        ? null
        : buildTeacher(distillFrom, built.model.shape, dataset.classes, { own: teachers, students });
    await stop.check();
    // What the run was made of, wherever it is repeated or evaluated from.
    const found = absolutePaths({ ...config, data: { ...config.data, root: dataset.from } });
    const findings = planFindings(config, parts, dataset.classes, built);
    const warnings = [
      ...changesInData(file, dataset),
      ...built.warnings,
      ...doubts,
      ...(teacher?.warnings ?? []),
      ...findings.warnings,
    ];
    const { parameters, kvParameters, trainedKvParameters } = countParameters(shape, variant);
    const about = {
      parameters,
      kvParameters,
      trainedKvParameters,
      grouping: shape.grouping,
      valueGrouping: shape.valueGrouping ?? null,
      headOrder: built.order,
      notices: [
        ...ofConfig,
        ...notices,
        ...(backend.notice === null ? [] : [backend.notice]),
        ...built.notices,
        ...(teacher?.notices ?? []),
        ...findings.notices,
      ],
    };
    requireFree(options.runsDir, bytesOfState(parameters, config.train), 'a checkpoint');
    const run = make({
      config: found,
      device: backend,
      data: fingerprint(dataset),
      about,
      warnings,
      said: kept.said,
      conversion: conversionRecord(built.layers, built.layerChoices),
    });
    kept.into(run);
    say(
      `run ${run.path}: ${variant}, ${sharingInWords(shape)} of ${shape.heads}, ${parameters} parameters, ${backend.name} ${backend.version} on the ${backend.device}`,
    );
    [...built.notices, ...findings.notices].forEach(say);
    notices.forEach(say);
    warnings.forEach(warn);
    if (teacher !== null)
      [`distilling from ${distillFrom}`, ...(teachers?.notices ?? []), ...teacher.notices].forEach(say);
    const experiment = { config, classes: dataset.classes, parts, pipeline, built, mode };
    return await conduct(
      run,
      { ...experiment, teacher: teacher?.values ?? null },
      { backend, warnings },
      stop,
      options,
    );
  } finally {
    await pipeline.close();
  }
}

/** Bytes of what a run goes on from: parameters, two moments, averages, gradients, a teacher. */
function bytesOfState(parameters: number, { emaDecay, gradAccumSteps, distillFrom }: Config['train']): number {
  const copies = 3 + [emaDecay !== null, gradAccumSteps > 1, distillFrom !== null].filter(Boolean).length;
  return 4 * parameters * copies;
}

/** A run from where it was stopped. */
async function goOn(
  options: TrainOptions,
  again: Again,
  stop: Stop,
  kept: ReturnType<typeof keepLines>,
): Promise<TrainReport> {
  const { folder, read, changes, lock, report } = again;
  if (report !== null && !changes.some((change) => /^train\.(epochs|steps):/.test(change))) {
    say(`run ${folder} is done; for more epochs: ${command(`train --resume ${folder} --set train.epochs=N`)}`);
    process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : describe(report, read.config.train.protocol));
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
  const { dataset, backend, mode, pipeline } = await prepare(config, options.eager, stop);
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

/** Trains in a folder that is open, and tells what came of it. */
async function conduct(
  run: RunFolder,
  experiment: Omit<Experiment, 'watch'>,
  { backend, warnings }: { backend: Prepared['backend']; warnings: readonly string[] },
  stop: Stop,
  options: TrainOptions,
): Promise<TrainReport> {
  const { config, pipeline, built, mode } = experiment;
  const { shape, variant } = built.model;
  const selection = config.train.protocol === 'paper' ? 'test' : 'validation';
  try {
    const outcome = await runExperiment({ ...experiment, watch: watchOf(run, pipeline, stop, selection) });
    await run.settled();
    keepFlawed(pipeline, run);
    sayFlawed(pipeline, run.path);
    const { converted, best, test, trainImagesPerSecond, stepsLeftOut, rollbacks } = outcome;
    if (test !== null)
      say(`test, best epoch (${best.epoch}) · ${lossAndTop1(test)} · ${counted(test.images, 'image')}`);
    const { parameters, kvParameters } = countParameters(shape, variant);
    const report: TrainReport = {
      run: run.path,
      variant,
      ...sharingRecord(shape),
      seed: config.seed,
      parameters,
      kv_parameters: kvParameters,
      device: `${backend.name} ${backend.device} ${mode}`,
      converted,
      fresh_head: built.freshHead !== null,
      best,
      test,
      train_images_per_s: trainImagesPerSecond,
      warnings: [
        ...warnings,
        ...rollbacks.map(
          ({ step, to }) => `the loss was not finite at step ${step}: back to the weights after step ${to}`,
        ),
      ],
      steps_left_out: stepsLeftOut,
    };
    // before a disk that is full can lose it
    process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : describe(report, config.train.protocol));
    run.testDone({ epoch: outcome.best.epoch, step: outcome.best.step, test: outcome.test });
    run.writeReport(report);
    run.setStatus('done');
    run.close();
    return report;
  } catch (error) {
    throw await closedEarly(run, error);
  }
}

/** What the experiment finds goes to the terminal and into the run's folder. */
function watchOf(run: RunFolder, pipeline: Pipeline, stop: Stop, selection: 'validation' | 'test'): Watch {
  return {
    notice: say,
    progress,
    stop,
    reached: run.reached,
    checkpoint: (which, content) => run.writeCheckpoint(which, 'model.safetensors', content),
    keep({ step, bytes, content, run: record }, beside) {
      keepFlawed(pipeline, run);
      return run.keepState(step, bytes, content, { ...record }, beside);
    },
    async kept() {
      const good = await run.keptState();
      return good === null ? null : { file: path.join(good.folder, 'state.safetensors'), step: good.manifest.step };
    },
    logged({ epoch, step, lr, loss, top1, imagesPerSecond, dataWait, float16 }) {
      const scaling = float16 === null ? {} : { steps_left_out: float16.leftOut, loss_scale: float16.scale };
      run.logStep({
        epoch,
        step,
        lr,
        train_loss: loss,
        train_top1: top1,
        images_per_s: imagesPerSecond,
        data_wait: dataWait,
        ...scaling,
      });
    },
    epochDone(result, end) {
      const line = (columns?: number): string => epochLine(result, end, selection, columns);
      sayShorter(line(), line(columnsOf(process.stderr)));
      run.epochDone(result);
      keepFlawed(pipeline, run);
    },
  };
}

/** A head that was drawn afresh and is not trained measures nothing. */
function requireSomethingToMeasure({ train, model }: Config, { freshHead }: BuiltModel): void {
  if (freshHead === null || train.epochs > 0) return;
  throw new GqaError(
    'usage',
    `train.epochs is 0, and the head would be a fresh one: ${freshHead} (${model.pretrained})`,
    {
      hint: 'Train it for an epoch or more, or give a checkpoint with a head for these classes.',
    },
  );
}

/** Notes in the run's log and status why it ended. @returns the error, with what went wrong besides */
async function closedEarly(run: RunFolder, error: unknown): Promise<unknown> {
  let told = error;
  await run.settled().catch((second: Error) => {
    told = second.message === (error as Error).message ? error : withAfterthought(error, second.message);
  });
  if (!(error instanceof GqaError && error.code === 'training') && checkpointsIn(statesOf(run.path)).length > 0)
    told = withAfterthought(told, `To go on: ${command(`train --resume ${run.path}`)}`);
  run.log(describeError(told));
  try {
    run.setStatus(isInterruption(error) ? 'interrupted' : 'failed');
    run.close();
    return told;
  } catch (second) {
    return withAfterthought(told, second instanceof Error ? second.message : String(second));
  }
}

/** As the command line tells it at the end. */
function describeError(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return `${message}${error instanceof GqaError && error.hint !== undefined ? `\n${error.hint}` : ''}`;
}
