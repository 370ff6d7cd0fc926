/** What a run that begins and one that goes on have in common: training in an open folder, and what is told of it. */
import path from 'node:path';
import type { Config } from '../config/schema.js';
import { counted } from '../counted.js';
import type { Pipeline } from '../data/pipeline/pipeline.js';
import { GqaError, withAfterthought } from '../errors.js';
import { command } from '../invocation.js';
import { forwardFlops, kvActivations } from '../model/flops.js';
import { sharingRecord } from '../model/grouping.js';
import { countParameters } from '../model/params.js';
import { checkpointsIn, statesOf } from '../run/checkpoints.js';
import { epochLine, lossAndTop1 } from '../run/epoch-line.js';
import { writeTested } from '../run/evaluation.js';
import { columnsOf } from '../run/fit.js';
import { isInterruption, type Stop } from '../run/interrupt.js';
import type { RunFolder } from '../run/open-run.js';
import { confusionCsv, confusionOf, gatherPredictions, type Predictions, predictionsCsv } from '../run/predictions.js';
import { progress } from '../run/progress.js';
import type { LoggedLine } from '../run/run-folder.js';
import { type Experiment, runExperiment, type Watch } from '../train/experiment.js';
import { namesOf } from '../train/parts.js';
import { type Prepared, stepName } from './data-and-backend.js';
import { keepFlawed, sayFlawed } from './flawed-images.js';
import { listen, say, sayNext, sayShorter } from './say.js';
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
export function keepLines(): { said: LoggedLine[]; into(run: RunFolder): void; release(): void } {
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

/** Trains in a folder that is open, and tells what came of it. */
export async function conduct(
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
    const predictions = gatherPredictions(experiment.classes.length);
    const watch = { ...watchOf(run, pipeline, stop, selection), tested: predictions.add };
    const outcome = await runExperiment({ ...experiment, watch });
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
      kv_activations: kvActivations(shape),
      gflops_per_image: Number((forwardFlops(shape) / 1e9).toPrecision(4)),
      device: `${backend.name} ${backend.device} ${stepName(mode)}`,
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
    keepPredictions(run.path, experiment, predictions.all);
    run.testDone({ epoch: outcome.best.epoch, step: outcome.best.step, test: outcome.test });
    if (!options.json) sayNext(`runs show ${report.run}`);
    run.setStatus('done'); // before the report, which says that nothing is left to do
    run.writeReport(report);
    run.close();
    return report;
  } catch (error) {
    throw await closedEarly(run, error);
  }
}

/** What the test said of every image: for intervals over images, and the classes' story. */
function keepPredictions(run: string, { classes, parts, pipeline }: Omit<Experiment, 'watch'>, all: Predictions): void {
  if (parts.test === null || all.labels.length === 0) return; // protocol paper: measured epoch by epoch
  writeTested(run, {
    'confusion.csv': confusionCsv(confusionOf(all, classes.length), classes),
    'predictions.csv': predictionsCsv(all, classes, namesOf(parts.test, pipeline)),
  });
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

/** Bytes of what a run goes on from: parameters, two moments, averages, gradients, a teacher. */
export function bytesOfState(parameters: number, { emaDecay, gradAccumSteps, distillFrom }: Config['train']): number {
  const copies = 3 + [emaDecay !== null, gradAccumSteps > 1, distillFrom !== null].filter(Boolean).length;
  return 4 * parameters * copies;
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
