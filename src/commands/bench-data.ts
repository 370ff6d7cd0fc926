/**
 * `gqa bench data`: how many images a second the input pipeline of a config makes by itself, and what each stage costs.
 */
import { availableParallelism } from 'node:os';
import { requireEffect } from '../config/idle.js';
import { preprocessingOf } from '../config/preprocessing.js';
import type { Config } from '../config/schema.js';
import { partOf } from '../data/dataset.js';
import { bytesOfMean } from '../data/images/erase.js';
import { openDataset } from '../data/open.js';
import { inputSize, openPipeline } from '../data/pipeline/pipeline.js';
import { makeBatch, type Pass, STAGES, type Stage } from '../data/pipeline/preprocess.js';
import { takeLimit, takeOfTraining } from '../data/take.js';
import { loadImages } from '../native/images.js';
import { draws, shuffle } from '../random.js';
import { columnsOf } from '../run/fit.js';
import { type Stop, unstoppable } from '../run/interrupt.js';
import { progress } from '../run/progress.js';
import { formatTable } from '../run/table.js';
import { withPreprocessing } from './images.js';
import { requirePaths } from './require-paths.js';
import { say } from './say.js';
import { readConfigAndWeights } from './weights.js';

export interface BenchDataOptions {
  config: string;
  set: string[];
  batchSize?: number;
  /** Batches of a round; an epoch is begun anew where it ends. */
  batches: number;
  /** Rounds after the warm-up. */
  rounds: number;
  /** Milliseconds of a training step, to learn whether it would wait. */
  stepMs?: number;
  json: boolean;
}

/** Images on which the stages are measured one by one. */
const STAGED_IMAGES = 256;

export interface DataBench {
  /** Images of the training split, `data.limit` kept. */
  images: number;
  /** Size in pixels at which they cross to the device. */
  height: number;
  width: number;
  /** Makes so many batches, drops them, and returns images per second. */
  round(batches: number): Promise<number>;
  /** Milliseconds an image takes in each stage, on one thread. */
  stages(): Promise<Record<Stage, number>>;
  close(): Promise<void>;
}

/**
 * The pipeline of a config, ready to be measured.
 * @param stop asked before every batch, and every image that is measured alone
 */
export async function openDataBench(
  config: Config,
  batchSize = config.train.batchSize,
  stop: Stop = unstoppable(),
): Promise<DataBench> {
  const { data, model, seed } = config;
  const take = (labels: Int32Array): Int32Array => takeLimit(labels, data.limit.train, seed, 'train');
  const { train, notices } = await stop.during(openDataset(data, takeOfTraining(take), data));
  notices.forEach(say);
  const indices = take(train.labels);
  const fit = preprocessingOf(data);
  const { height, width } = inputSize(train.source, model.imageSize, fit);
  const { augment, randomErasing } = data;
  const options = { height, width, fit, batchSize, seed, augment, randomErasing, erasedTo: bytesOfMean(fit.mean) };
  const pipeline = openPipeline(data.workers, data);
  let epoch = 0;
  return {
    images: indices.length,
    height,
    width,
    async round(batches) {
      const started = performance.now();
      let images = 0;
      for (let left = batches; left > 0; ) {
        for await (const batch of stop.each(pipeline.batches(train, indices, { ...options, epoch: ++epoch }))) {
          images += batch.images;
          if (--left === 0) break;
        }
      }
      return images / ((performance.now() - started) / 1000);
    },
    async stages() {
      const { source } = train;
      const pass: Pass = {
        ...options,
        batchSize: 1,
        epoch: 1,
        raw: source.kind === 'raw' ? source : null,
        reading: data,
        cache: null,
      };
      const pixels = new Uint8Array(height * width * 3);
      const chosen = shuffle(indices.slice(), draws(seed, 'bench')).subarray(0, STAGED_IMAGES);
      const spent = Object.fromEntries(STAGES.map((stage) => [stage, 0])) as Record<Stage, number>;
      // One at a time, so that no stage runs beside another; the first time is for the compiler.
      const count = (stage: Stage, milliseconds: number): void => {
        spent[stage] += milliseconds;
      };
      for (const clock of [null, count]) {
        for (const index of chosen) {
          await stop.check();
          const part = partOf(source, Int32Array.of(index));
          const job = { indices: Int32Array.of(index), encoded: part.kind === 'raw' ? null : part };
          await makeBatch(pass, job, pixels, () => true, clock);
        }
      }
      return Object.fromEntries(STAGES.map((stage) => [stage, spent[stage] / chosen.length])) as Record<Stage, number>;
    },
    close: pipeline.close,
  };
}

export async function benchData(options: BenchDataOptions, stop: Stop): Promise<void> {
  const read = await readConfigAndWeights(options.config, options.set);
  [...read.notices, ...requireEffect(options.config, [read], 'bench data')].forEach(say);
  await requirePaths(options.config, read, ['data.root']);
  const config = withPreprocessing(read.config);
  const { data } = config;
  const batchSize = options.batchSize ?? config.train.batchSize;
  const bench = await openDataBench(config, batchSize, stop);
  const bar = progress('measuring', options.rounds);
  try {
    // threads start, code is compiled, a cache is filled
    await bench.round(Math.min(options.batches, Math.ceil(bench.images / batchSize)));
    const rates: number[] = [];
    let rssAtFirst = 0;
    for (let round = 0; round < options.rounds; round++) {
      rates.push(await bench.round(options.batches));
      bar.tick(round + 1);
      if (round === 0) rssAtFirst = process.memoryUsage.rss();
    }
    bar.stop();
    const rssGrown = process.memoryUsage.rss() - rssAtFirst;
    const stages = await bench.stages();
    const sorted = [...rates].sort((a, b) => a - b);
    const rate = sorted[Math.floor(sorted.length / 2)] as number;
    const batchMs = (batchSize / rate) * 1000;
    const { stepMs } = options;
    const report = {
      data: data.name,
      augment: data.augment,
      native_images: loadImages().addon !== null,
      images: bench.images,
      crosses_at: `${bench.height}x${bench.width}`,
      batch_size: batchSize,
      workers: data.workers === 'auto' ? Math.min(8, availableParallelism()) : data.workers,
      images_per_s: rounded(rate),
      images_per_s_rounds: rates.map(rounded),
      batch_ms: rounded(batchMs),
      stage_ms_per_image: Object.fromEntries(STAGES.map((stage) => [stage, rounded(stages[stage])])),
      batches: options.batches * options.rounds,
      rss_mb: rounded(process.memoryUsage.rss() / 1e6),
      rss_grown_mb: rounded(rssGrown / 1e6),
      ...(stepMs === undefined
        ? {}
        : { step_ms: stepMs, starves: batchMs > stepMs, data_wait: rounded(Math.max(0, 1 - stepMs / batchMs)) }),
    };
    process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : described(report));
  } finally {
    bar.stop();
    await bench.close();
  }
}

function described({
  stage_ms_per_image: stages,
  images_per_s_rounds: rounds,
  ...figures
}: Record<string, unknown> & {
  stage_ms_per_image: Record<string, number>;
  images_per_s_rounds: number[];
  step_ms?: number;
  starves?: boolean;
}): string {
  const { step_ms: step, starves, data_wait: wait, ...about } = figures;
  const right = (title: string) => ({ title, align: 'right' as const });
  const verdict =
    step === undefined
      ? ''
      : starves
        ? `a step of ${step} ms would wait for images ${Math.round(Number(wait) * 100)} % of the time\n`
        : `a step of ${step} ms would not wait for images\n`;
  return [
    `${Object.entries(about)
      .map(([key, value]) => `${key} ${value}`)
      .join(' · ')}\n`,
    `rounds, images/s: ${rounds.join(', ')}\n`,
    formatTable(
      [{ title: 'ms an image, one thread', align: 'left' as const }, ...Object.keys(stages).map(right)],
      [['', ...Object.values(stages).map(String)]],
      columnsOf(process.stdout),
    ),
    verdict,
  ].join('');
}

const rounded = (value: number): number => Number(value.toPrecision(4));
