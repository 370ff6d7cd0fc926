/** `gqa train`: one run, from a config to a run folder with its results; go-on.ts goes on with one that was stopped. */
import { resolvedTeacher, resolvePreprocessing } from '../checkpoint/preprocessing.js';
import { requireEffect } from '../config/idle.js';
import type { ReadConfig } from '../config/load.js';
import { deviceOverride } from '../config/overrides.js';
import { absolutePaths } from '../config/paths.js';
import { preprocessingOf } from '../config/preprocessing.js';
import type { Config } from '../config/schema.js';
import { fingerprint } from '../data/fingerprint.js';
import { GqaError } from '../errors.js';
import { requireFree } from '../files/space.js';
import { sharingInWords } from '../model/grouping.js';
import { countParameters } from '../model/params.js';
import { conversionRecord } from '../run/conversion.js';
import type { Stop } from '../run/interrupt.js';
import type { RunFolder } from '../run/open-run.js';
import { progress } from '../run/progress.js';
import { checkRun, createRun, type RunPlace } from '../run/run-folder.js';
import { type BuiltModel, buildModel, conversionPlan } from '../train/model.js';
import { splitParts } from '../train/parts.js';
import { planFindings, requireWarmupEnds } from '../train/plan.js';
import { gatherOn } from '../train/ready.js';
import { buildTeacher } from '../train/teacher.js';
import { changesInData } from './changes.js';
import { bytesOfState, conduct, keepLines, type TrainOptions } from './conduct.js';
import { prepare } from './data-and-backend.js';
import { goOn } from './go-on.js';
import { requirePaths } from './require-paths.js';
import { runToResume } from './resume.js';
import { say, warn } from './say.js';
import type { TrainReport } from './train-report.js';
import { readConfigAndWeights } from './weights.js';

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
  const again = options.resume === undefined ? null : await runToResume({ ...options, resume: options.resume }, sets);
  if (again !== null) {
    try {
      return await goOn(options, again, stop, kept, fresh);
    } finally {
      again.lock.release();
    }
  }
  if (options.config === undefined) throw new GqaError('usage', "required option '--config <file>' not specified");
  const read = await readConfigAndWeights(options.config, sets, stop);
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
