/** The commands of `gqa` and their options, a line of a table each; what a command does is imported when it runs. */
import { Argument, Option } from 'commander';
import { GqaError } from '../errors.js';
import { command } from '../invocation.js';
import { SHELLS, type Shell } from './completion.js';
import { configCommands } from './config-commands.js';
import { dataCommands } from './data-commands.js';
import {
  aPath,
  config,
  device,
  eager,
  json,
  list,
  plain,
  positiveNumber,
  runsDir,
  set,
  wholeNumber,
  wholeNumbers,
} from './options.js';
import type { CommandSpec } from './spec.js';
import { sweepCommands } from './sweep-commands.js';

export const commands: CommandSpec[] = [
  {
    name: 'train',
    summary: 'convert and uptrain the model of a config; makes a run folder',
    options: [
      config(),
      new Option('--resume <run>', 'go on with this run folder; auto: with --run-name where it exists, else start it'),
      set(),
      new Option('--run-name <name>', 'folder of the run under runs/<name>/ (default: a UTC time stamp)'),
      runsDir(),
      device(),
      eager(),
      json(),
    ],
    example: 'gqa train --config configs/smoke.yaml --set model.variant=gqa --set model.kv_heads=2',
    run: async (_, options, stop) => (await import('../commands/train.js')).train(options, stop),
    endsItself: true,
  },
  {
    name: 'eval',
    summary: "measure a run's best checkpoint, or any checkpoint",
    arguments: [new Argument('[run]', 'run folder, e.g. runs/smoke/20261122T161500Z').argParser(aPath)],
    options: [
      new Option('--checkpoint <file>', "safetensors file with timm's names; needs --config").argParser(aPath),
      config(),
      set(),
      new Option('--split <split>', 'which images').choices(['train', 'val', 'test']).default('test'),
      new Option('--logits <file>', 'write the logits as safetensors').argParser(aPath),
      new Option('--predictions <file>', 'write what is predicted for every image, as CSV').argParser(aPath),
      device(),
      eager(),
      json(),
    ],
    example: 'gqa eval runs/smoke/20261122T161500Z --json',
    endsItself: true,
    run: async ([run], options, stop) => {
      const given = options as { checkpoint?: string; config?: string };
      if (run === undefined && (given.checkpoint === undefined || given.config === undefined)) {
        throw new GqaError('usage', 'eval needs a run folder, or --checkpoint FILE and --config FILE', {
          hint: `See ${command('eval --help')}`,
        });
      }
      if (run !== undefined && (given.checkpoint !== undefined || given.config !== undefined)) {
        throw new GqaError(
          'usage',
          'eval takes a run folder or --checkpoint and --config, not both: a run has its own',
          {
            hint: `See ${command('eval --help')}`,
          },
        );
      }
      await (await import('../commands/eval.js')).evaluate(
        { ...(run === undefined ? {} : { run }), ...(options as object) } as never,
        stop,
      );
    },
  },
  {
    name: 'convert',
    summary: 'write the checkpoint of a variant, converted but not trained',
    options: [
      new Option('--checkpoint <file>', "safetensors file with timm's names").argParser(aPath).makeOptionMandatory(),
      config().makeOptionMandatory(),
      set(),
      new Option('--out <file>', 'safetensors file to write').argParser(aPath).makeOptionMandatory(),
      new Option('--report', 'also print what converting each layer costs').default(false),
      json(),
    ],
    example: 'gqa convert --checkpoint vit.safetensors --config configs/cifar10-small.yaml --out gqa.safetensors',
    run: async (_, options, stop) => (await import('../commands/convert.js')).convert(options, stop),
  },
  {
    name: 'analyze',
    summary: 'what an MHA checkpoint loses by every way of sharing heads, before anything is trained',
    arguments: [new Argument('[run]', 'run folder')],
    options: [
      new Option('--checkpoint <file>', 'a checkpoint instead of a run, with --config').argParser(aPath),
      config(),
      set(),
      new Option('--kv-heads <list>', 'numbers of KV heads (default: all that divide the heads)').argParser(
        wholeNumbers(1, 1024),
      ),
      new Option('--budgets <list>', 'KV heads of all layers together, shared out by the error, as model.kv_budget')
        .argParser(wholeNumbers(1, 1_000_000))
        .default([], 'none'),
      new Option('--groupings <list>', 'as model.grouping').argParser(list).default(['neighbours']),
      new Option('--merges <list>', 'as model.merge; with +refit the output projections are fitted again')
        .argParser(list)
        .default(['mean', 'rotated', 'basis']),
      new Option('--keep <share>', 'of logits and outputs, for the fewest KV heads that keep it')
        .argParser(positiveNumber)
        .default(0.95),
      new Option('--accuracy', 'also top-1 as converted, on the test images').default(false),
      new Option('--out <dir>', 'folder for analysis.json and heat maps of similarity').argParser(aPath),
      device(),
      json(),
    ],
    example: 'gqa analyze --checkpoint vit.safetensors --config configs/cifar10-small.yaml --out analysis',
    run: async ([run], options, stop) =>
      (await import('../commands/analyze.js')).analyze(
        { ...(run === undefined ? {} : { run }), ...(options as object) } as never,
        stop,
      ),
    endsItself: true,
  },
  ...sweepCommands,
  {
    name: 'runs',
    summary: 'runs with their state, progress and figures; one of them closely; several side by side',
    arguments: [
      new Argument('[what]', 'list, show RUN or compare RUN…').choices(['list', 'show', 'compare']).default('list'),
      new Argument('[runs...]', 'run folders'),
    ],
    options: [runsDir(), json()],
    example: 'gqa runs show runs/smoke/20261122T161500Z',
    run: async ([what, ...folders], options) =>
      (await import('../commands/runs.js')).runs({
        what: what as 'list',
        runs: folders.flat() as string[],
        ...(options as { runsDir: string; json: boolean }),
      }),
  },
  {
    name: 'predict',
    summary: "what a run's best model sees in pictures: the likeliest classes",
    arguments: [new Argument('<run>', 'run folder'), new Argument('<pictures...>', 'image files')],
    options: [device(), json()],
    example: 'gqa predict runs/smoke/20261122T161500Z cat.jpg dog.png',
    endsItself: true,
    run: async ([run, ...pictures], options, stop) =>
      (await import('../commands/predict.js')).predict(
        { run: run ?? '', pictures: pictures.flat() as string[], ...(options as object) } as never,
        stop,
      ),
  },
  {
    name: 'export',
    summary: "a run's best model, or a file of gqa's, for timm, Hugging Face, the paper's code, TensorFlow or ONNX",
    arguments: [new Argument('<from>', 'run folder or model file').argParser(aPath)],
    options: [
      new Option('--format <format>', 'whose names, or which graph')
        .choices(['timm', 'huggingface', 'paper', 'savedmodel', 'onnx'])
        .makeOptionMandatory(),
      new Option('--expand', 'as MHA: every query head gets a copy of the K/V head that it reads').default(false),
      new Option('--batch-size <n>', 'savedmodel, onnx: images of a call').argParser(wholeNumber(1, 65536)).default(1),
      new Option('--out <dir>', 'folder to write').argParser(aPath).makeOptionMandatory(),
      json(),
    ],
    example: 'gqa export runs/smoke/20261122T161500Z --format timm --expand --out exported',
    run: async ([from], options) =>
      (await import('../commands/export.js')).exportModel({ from: from ?? '', ...(options as object) } as never),
  },
  {
    name: 'reference',
    summary: "compare with numbers of the paper's own code",
    arguments: [new Argument('<dir>', 'holds attention/ and/or preprocess/, or is one of them').argParser(aPath)],
    options: [device(), eager(), plain(), json()],
    example: 'gqa reference test/reference',
    run: async ([dir], options, stop) =>
      (await import('../commands/reference.js')).reference(
        { dir: dir ?? '', ...(options as { eager: boolean; plain: boolean; json: boolean }) },
        stop,
      ),
    endsItself: true,
  },
  {
    name: 'bench',
    summary: "measure a step of a config's model on synthetic images, or its input pipeline alone",
    arguments: [new Argument('<what>', 'what to measure').choices(['step', 'data'])],
    options: [
      config().makeOptionMandatory(),
      set(),
      new Option('--batch-size <n>', "images a step (default: the config's)").argParser(wholeNumber(1, 65536)),
      new Option('--steps <n>', 'step: steps of a round').argParser(wholeNumber(1, 100000)).default(10),
      new Option('--batches <n>', 'data: batches of a round').argParser(wholeNumber(1, 1000000)).default(50),
      new Option('--rounds <n>', 'rounds after the warm-up').argParser(wholeNumber(1, 1000)).default(5),
      new Option('--compare <mode>', 'step: measure this too, taking turns: eager, plain, or another variant'),
      new Option('--profile', 'step: where the time of a compiled step goes, by kind of operation').default(false),
      new Option('--step-ms <ms>', 'data: tell whether a step of this length would wait').argParser(positiveNumber),
      device(),
      eager(),
      json(),
    ],
    example: 'gqa bench step --config configs/bench-overhead.yaml --compare eager',
    optionsOf: {
      steps: 'step',
      compare: 'step',
      profile: 'step',
      device: 'step',
      eager: 'step',
      batches: 'data',
      stepMs: 'data',
    },
    run: async ([what], options, stop) =>
      what === 'data'
        ? (await import('../commands/bench-data.js')).benchData(options, stop)
        : (await import('../commands/bench-step.js')).benchStep(options, stop),
    endsItself: true,
  },
  {
    name: 'quickstart',
    summary: 'train, convert, uptrain and compare on the images that come with the project',
    options: [set(), runsDir(), device()],
    example: 'gqa quickstart',
    run: async (_, options, stop) => (await import('../commands/quickstart.js')).quickstart(options, stop),
    endsItself: true,
  },
  {
    name: 'inspect',
    summary: 'what a checkpoint is, and what gqa would do with it; nothing is computed',
    arguments: [new Argument('<from>', 'file, folder, run, or a model of the hub (OWNER/NAME)').argParser(aPath)],
    options: [json()],
    example: 'gqa inspect timm/vit_small_patch16_224.augreg_in21k_ft_in1k',
    run: async ([from], options) =>
      (await import('../commands/inspect.js')).inspect({ from: from ?? '', ...(options as object) } as never),
  },
  ...dataCommands,
  ...configCommands,
  {
    name: 'completion',
    summary: 'the script by which a shell completes commands and options',
    arguments: [new Argument('<shell>', 'which shell').choices(SHELLS)],
    options: [],
    example: 'gqa completion bash > /etc/bash_completion.d/gqa',
    run: async ([shell]) => {
      const { completion } = await import('./completion.js');
      process.stdout.write(completion(shell as Shell, commands));
    },
  },
  {
    name: 'doctor',
    summary: 'what this machine offers: Node, native runtime, GPU, data, settings',
    options: [
      new Option('--device <device>', 'fail (exit 4) with every reason when there is none').choices(['gpu', 'native']),
      json(),
    ],
    example: 'gqa doctor --device gpu',
    run: async (_, options) => (await import('../commands/doctor.js')).doctor(options),
  },
];
