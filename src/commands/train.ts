/** `gqa train`: one run, from a config to a run folder with its results. */
import { resolvedTeacher, resolvePreprocessing } from '../checkpoint/preprocessing.js';
import { requireEffect } from '../config/idle.js';
import { readConfig } from '../config/load.js';
import { deviceOverride } from '../config/overrides.js';
import { absolutePaths } from '../config/paths.js';
import { preprocessingOf } from '../config/preprocessing.js';
import type { Config } from '../config/schema.js';
import { counted } from '../counted.js';
import { fingerprint } from '../data/fingerprint.js';
import type { Pipeline } from '../data/pipeline/pipeline.js';
import { GqaError, withAfterthought } from '../errors.js';
import { sharingInWords, sharingRecord } from '../model/grouping.js';
import { countParameters } from '../model/params.js';
import { conversionRecord } from '../run/conversion.js';
import { epochLine, lossAndTop1 } from '../run/epoch-line.js';
import { columnsOf } from '../run/fit.js';
import { isInterruption, type Stop } from '../run/interrupt.js';
import { progress } from '../run/progress.js';
import { checkRun, createRun, type LoggedLine, type RunFolder } from '../run/run-folder.js';
import { runExperiment, type Watch } from '../train/experiment.js';
import { type BuiltModel, buildModel, conversionPlan } from '../train/model.js';
import { splitParts } from '../train/parts.js';
import { planFindings, requireWarmupEnds } from '../train/plan.js';
import { gatherOn } from '../train/ready.js';
import { buildTeacher } from '../train/teacher.js';
import { changesInData } from './changes.js';
import { prepare } from './data-and-backend.js';
import { keepFlawed, sayFlawed } from './flawed-images.js';
import { requirePaths } from './require-paths.js';
import { listen, say, sayShorter, warn } from './say.js';
import { describe, type TrainReport } from './train-report.js';

export interface TrainOptions {
  config: string;
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
  const read = readConfig(options.config, [...options.set, ...deviceOverride(options.device)]);
  const ofConfig = [...read.notices, ...requireEffect(options.config, [read], 'train')];
  ofConfig.forEach(say);
  const place = { runsDir: options.runsDir, name: read.config.name, runName: options.runName };
  checkRun(place);
  await requirePaths(options.config, read, ['data.root', 'model.pretrained', 'model.grouping', 'train.distill_from']);
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
      ...changesInData(options.config, dataset),
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
    const run = createRun({
      ...place,
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
    const selection = config.train.protocol === 'paper' ? 'test' : 'validation';
    try {
      const outcome = await runExperiment({
        config,
        classes: dataset.classes,
        parts,
        pipeline,
        built,
        teacher: teacher?.values ?? null,
        mode,
        watch: watchOf(run, pipeline, stop, selection),
      });
      keepFlawed(pipeline, run);
      sayFlawed(pipeline, run.path);
      const { converted, best, test, trainImagesPerSecond, stepsLeftOut } = outcome;
      if (test !== null)
        say(`test, best epoch (${best.epoch}) · ${lossAndTop1(test)} · ${counted(test.images, 'image')}`);
      const device = `${backend.name} ${backend.device} ${mode}`;
      const report: TrainReport = {
        run: run.path,
        variant,
        ...sharingRecord(shape),
        seed: config.seed,
        parameters,
        kv_parameters: kvParameters,
        device,
        converted,
        fresh_head: built.freshHead !== null,
        best,
        test,
        train_images_per_s: trainImagesPerSecond,
        warnings,
        steps_left_out: stepsLeftOut,
      };
      // before a disk that is full can lose it
      process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : describe(report, config.train.protocol));
      run.testDone({ epoch: outcome.best.epoch, step: outcome.best.step, test: outcome.test });
      run.setStatus('done');
      run.close();
      return report;
    } catch (error) {
      throw closedEarly(run, error);
    }
  } finally {
    await pipeline.close();
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
function closedEarly(run: RunFolder, error: unknown): unknown {
  run.log(describeError(error));
  try {
    run.setStatus(isInterruption(error) ? 'interrupted' : 'failed');
    run.close();
    return error;
  } catch (second) {
    return withAfterthought(error, second instanceof Error ? second.message : String(second));
  }
}

/** As the command line tells it at the end. */
function describeError(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return `${message}${error instanceof GqaError && error.hint !== undefined ? `\n${error.hint}` : ''}`;
}
