/** `gqa train`: one run, from a config to a run folder with its results. */
import path from 'node:path';
import { settledTeacher, settlePreprocessing } from '../checkpoint/preprocessing.js';
import { readConfig } from '../config/load.js';
import { deviceOverride } from '../config/overrides.js';
import { preprocessingOf } from '../config/preprocessing.js';
import { ExitCode, GqaError } from '../errors.js';
import { countParameters } from '../model/params.js';
import { progress } from '../run/progress.js';
import { checkRun, createRun } from '../run/run-folder.js';
import { percent } from '../run/table.js';
import type { Metrics } from '../train/evaluate.js';
import { runExperiment, splitParts } from '../train/loop.js';
import { buildModel, shapeOf } from '../train/model.js';
import { buildTeacher } from '../train/teacher.js';
import { prepare } from './prepare.js';
import { say } from './say.js';

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

/** What `--json` prints, and what a sweep reads. Fractions 0 to 1. */
export interface TrainReport {
  run: string;
  variant: string;
  kvHeads: number;
  seed: number;
  parameters: number;
  kvParameters: number;
  device: string;
  /** On the selection part (validation; the test split under protocol `paper`); null when trained from scratch. */
  converted: Metrics | null;
  best: { epoch: number; step: number; top1: number; loss: number };
  test: Metrics;
  trainImagesPerSecond: number | null;
}

export async function train(options: TrainOptions): Promise<TrainReport> {
  const read = readConfig(options.config, [...options.set, ...deviceOverride(options.device)]);
  read.notices.forEach(say);
  const { config, notices, warnings } = settlePreprocessing(read.config, read.config.model.pretrained);
  const students = preprocessingOf(config.data);
  const { distillFrom } = config.train;
  const teachers = distillFrom === null ? null : settledTeacher(distillFrom, students);
  const place = { runsDir: options.runsDir, name: config.name, runName: options.runName };
  checkRun(place);
  const { dataset, backend, mode, pipeline } = await prepare(config, options.eager);
  try {
    const shape = shapeOf(config.model, dataset.classes.length);
    const { variant, pretrained } = config.model;
    const parts = splitParts(config, dataset);
    const built = buildModel(pretrained, shape, variant, config.seed);
    const teacher = distillFrom === null || teachers === null ? null : buildTeacher(distillFrom, shape, { own: teachers, students });
    // What the run was made of, wherever it is repeated or evaluated from.
    const found = {
      ...config,
      data: { ...config.data, root: dataset.from },
      model: { ...config.model, pretrained: pretrained && path.resolve(pretrained) },
      train: { ...config.train, distillFrom: distillFrom && path.resolve(distillFrom) },
    };
    const run = createRun({ ...place, config: found, device: backend });
    const { parameters, kvParameters } = countParameters(shape);
    say(
      `run ${run.path}: ${variant}, ${shape.kvHeads} KV heads of ${shape.heads}, ${parameters} parameters, ${backend.name} ${backend.version} on the ${backend.device}`,
    );
    built.notices.forEach(say);
    for (const line of [...notices, ...(teachers?.notices ?? []), ...warnings]) say(line);
    if (teacher !== null) say(`distilling from ${distillFrom}`);
    const stop = stopOnSignal();
    let at = { epoch: 0, step: 0 };
    try {
      const outcome = await runExperiment(config, dataset.classes, parts, pipeline, built, teacher, mode, {
        notice: say,
        progress,
        stopRequested: stop.requested,
        checkpoint: (which, bytes) => run.writeCheckpoint(which, 'model.safetensors', bytes),
        logged({ epoch, step, lr, loss, top1, imagesPerSecond, dataWait }) {
          run.logStep({ epoch, step, lr, train_loss: loss, train_top1: top1, images_per_s: imagesPerSecond, data_wait: dataWait });
        },
        epochDone(result) {
          at = { epoch: result.epoch, step: result.step };
          run.epochDone(result);
          run.noteSkipped(pipeline.skipped);
        },
      });
      run.noteSkipped(pipeline.skipped);
      if (pipeline.skipped.length > 0)
        say(`${pipeline.skipped.length} pictures could not be read and were left out: ${path.join(run.path, 'skipped.jsonl')}`);
      run.testDone({ epoch: outcome.best.epoch, step: outcome.best.step, test: outcome.test });
      run.setStatus('done', { epoch: at.epoch, step: outcome.steps });
      const { converted, best, test, trainImagesPerSecond } = outcome;
      const device = `${backend.name} ${backend.device} ${mode}`;
      const report: TrainReport = {
        run: run.path,
        variant,
        kvHeads: shape.kvHeads,
        seed: config.seed,
        parameters,
        kvParameters,
        device,
        converted,
        best,
        test,
        trainImagesPerSecond,
      };
      process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : describe(report, config.train.protocol));
      return report;
    } catch (error) {
      const interrupted = error instanceof GqaError && (error.code === 'sigint' || error.code === 'sigterm');
      run.setStatus(interrupted ? 'interrupted' : 'failed', at);
      throw error;
    } finally {
      stop.release();
      run.close();
    }
  } finally {
    await pipeline.close();
  }
}

function describe(
  { run, variant, kvHeads, converted, best, test, trainImagesPerSecond }: TrainReport,
  protocol: 'validation' | 'paper',
): string {
  const selection = protocol === 'paper' ? 'test' : 'validation';
  return [
    `${variant}, ${kvHeads} KV heads: ${run}`,
    ...(converted ? [`  as converted, ${selection}: top-1 ${percent(converted.top1)}`] : []),
    `  best epoch (${best.epoch}), ${selection}: top-1 ${percent(best.top1)}`,
    `  its test: top-1 ${percent(test.top1)}, top-5 ${percent(test.top5)}, loss ${test.loss.toFixed(4)}, ${test.images} images`,
    ...(trainImagesPerSecond === null ? [] : [`  training: ${trainImagesPerSecond.toFixed(1)} images/s`]),
    '',
  ].join('\n');
}

/** The first SIGINT or SIGTERM ends the run after the step it is in, with a checkpoint; the second one ends the process. */
function stopOnSignal(): { requested: () => 'sigint' | 'sigterm' | null; release: () => void } {
  let asked: 'sigint' | 'sigterm' | null = null;
  const ask = (code: 'sigint' | 'sigterm') => () => {
    if (asked !== null) process.exit(ExitCode[code]);
    asked = code;
    say(`${code === 'sigint' ? 'SIGINT' : 'SIGTERM'}: stopping after this step; again to stop at once`);
  };
  const listeners = { SIGINT: ask('sigint'), SIGTERM: ask('sigterm') };
  for (const [signal, listener] of Object.entries(listeners)) process.on(signal, listener);
  return {
    requested: () => asked,
    release() {
      for (const [signal, listener] of Object.entries(listeners)) process.off(signal, listener);
    },
  };
}
