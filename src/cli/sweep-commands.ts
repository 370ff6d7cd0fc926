/** `gqa sweep`, `gqa leaderboard` and `gqa report`: lines of the table of commands. */
import { Argument, Option } from 'commander';
import {
  aPath,
  axis,
  config,
  device,
  json,
  list,
  positiveNumber,
  runsDir,
  set,
  wholeNumber,
  wholeNumbers,
} from './options.js';
import type { CommandSpec } from './spec.js';

const ofSweep = () => new Argument('<sweep>', 'folder of a sweep');

export const sweepCommands: CommandSpec[] = [
  {
    name: 'sweep',
    summary: 'train every combination of variants, KV heads and seeds; table and leaderboard.csv',
    options: [
      config(),
      new Option(
        '--resume <sweep>',
        'folder of a sweep that was stopped or had failures: the points that are not done, each from its own checkpoint',
      ).argParser(aPath),
      new Option('--kv-heads <list>', 'numbers of KV heads, e.g. 1,2,3 (default: that of the config)').argParser(
        wholeNumbers(1, 1024),
      ),
      new Option('--variants <list>', 'variants, e.g. mha,gqa,dgqa-ema (default: that of the config)').argParser(list),
      new Option('--seeds <list>', 'seeds, e.g. 0,1,2 (default: that of the config)').argParser(
        wholeNumbers(0, 2 ** 32 - 1),
      ),
      axis(),
      set(),
      new Option('--name <name>', "folder of the sweep under --runs-dir (default: the config's name and the time)"),
      new Option('--jobs <n>', 'runs at once (default: 1)').argParser(wholeNumber(1, 1024)).conflicts('gpus'),
      new Option('--gpus <list>', 'GPUs by number, one run at a time on each, e.g. 0,1').argParser(
        wholeNumbers(0, 1023),
      ),
      new Option(
        '--retries <n>',
        'how often a run that failed is begun again, from its own checkpoint (default: 0)',
      ).argParser(wholeNumber(0, 100)),
      new Option('--fail-fast', 'begin no run after one has failed').default(false),
      new Option('--time-budget <minutes>', 'begin no run after so long; --resume goes on').argParser(positiveNumber),
      new Option('--slurm', 'submit the runs as one job array of Slurm').default(false).conflicts(['jobs', 'gpus']),
      new Option('--partition <name>', 'Slurm: as sbatch has it'),
      new Option('--gres <list>', 'Slurm: as sbatch has it, e.g. gpu:1'),
      new Option('--time <limit>', 'Slurm: as sbatch has it; a run that does not fit saves and is queued again'),
      new Option('--array-limit <n>', 'Slurm: runs at once').argParser(wholeNumber(1, 100000)),
      new Option('--yes', 'with the --name of a sweep that is there: take the new plan where it differs').default(
        false,
      ),
      new Option('--dry-run', 'Slurm: print the script and submit nothing').default(false),
      runsDir(),
      device(),
      json(),
    ],
    example: 'gqa sweep --config configs/smoke.yaml --variants mha,gqa,dgqa-ema --kv-heads 1,2 --seeds 0,1',
    run: async (_, options, stop) => (await import('../commands/sweep.js')).sweep(options, stop),
    endsItself: true,
  },
  {
    name: 'sweep status',
    summary: 'how far each run of a sweep is, here or on Slurm',
    arguments: [ofSweep()],
    options: [json()],
    example: 'gqa sweep status runs/smoke-sweep-20261127T064500Z',
    run: async ([sweep], options) =>
      (await import('../commands/sweep-state.js')).sweepStatus({
        sweep: sweep as string,
        ...(options as { json: boolean }),
      }),
  },
  {
    name: 'sweep collect',
    summary: "write a sweep's leaderboard.csv and summary.csv as its runs are now",
    arguments: [ofSweep()],
    options: [],
    example: 'gqa sweep collect runs/smoke-sweep-20261127T064500Z',
    run: async ([sweep]) => (await import('../commands/sweep-state.js')).sweepCollect({ sweep: sweep as string }),
  },
  {
    name: 'sweep cancel',
    summary: 'stop a sweep, here or on Slurm; its runs are kept',
    arguments: [ofSweep()],
    options: [],
    example: 'gqa sweep cancel runs/smoke-sweep-20261127T064500Z',
    run: async ([sweep]) => (await import('../commands/sweep-state.js')).sweepCancel({ sweep: sweep as string }),
  },
  {
    name: 'leaderboard',
    summary: 'what a sweep has found, over its seeds, with paired differences; for a paper too',
    arguments: [ofSweep()],
    options: [
      new Option('--format <format>', 'how it is printed')
        .choices(['table', 'csv', 'json', 'markdown', 'latex'])
        .default('table'),
    ],
    example: 'gqa leaderboard runs/smoke-sweep-20261127T064500Z --format latex',
    run: async ([sweep], options) =>
      (await import('../commands/leaderboard.js')).leaderboard({
        sweep: sweep as string,
        ...(options as { format: 'table' }),
      }),
  },
  {
    name: 'report',
    summary: 'one HTML file of a sweep or of runs: leaderboard, charts, groups of heads; needs no network',
    arguments: [new Argument('<folders...>', 'folder of a sweep, or of runs')],
    options: [
      new Option('--out <file>', 'the file; charts come beside it, as .svg, .png and .vl.json').default('report.html'),
      new Option('--no-pictures', 'without images of the data set, for a file that is passed on'),
      new Option('--watch [port]', 'a page on this machine alone that follows them instead (default port: any)')
        .argParser(wholeNumber(0, 65535))
        .preset('0'),
    ],
    example: 'gqa report runs/smoke-sweep-20261127T064500Z --out report.html',
    run: async (folders, options, stop) =>
      (await import('../commands/report.js')).report(
        { folders: folders.flat() as string[], ...(options as { out: string }) },
        stop,
      ),
    endsItself: true,
  },
];
