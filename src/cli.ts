/**
 * The command line: names, flags and help of every command, and the only place where the process ends. What a command
 * does is imported when it runs, so that `gqa --help` loads neither TensorFlow.js, sharp nor zod.
 */

import { closeSync, openSync } from 'node:fs';
import { isatty } from 'node:tty';
import { inspect } from 'node:util';
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { say } from './commands/say.js';
import { expandHome, notExpanded } from './config/home.js';
import { defaultDataRoot, deviceNames } from './config/names.js';
import { ExitCode, GqaError } from './errors.js';
import { fileError } from './files/atomic.js';
import { calledAs, command, projectElsewhere } from './invocation.js';
import { interruption, listenForSignals, type Stop } from './run/interrupt.js';
import { gqaVersion } from './version.js';

/** Oldest Node that sharp and commander run on. */
const oldestNode: readonly [number, number] = [20, 9];

interface CommandSpec {
  /** Two words for a command of a group: `data fetch`. */
  name: string;
  summary: string;
  arguments?: Argument[];
  options: Option[];
  example: string;
  /** Options that only one value of the first argument uses, by commander's names. */
  optionsOf?: Record<string, string>;
  /**
   * @param positional in the order of `arguments`; @param options by commander's camelCase names, as the command
   *   declares them
   * @param stop one that computes, or has something to tidy, ends by it; the others are left as they are and need not
   *   take it
   */
  run(positional: (string | undefined)[], options: never, stop: Stop): Promise<unknown>;
  /** Whether `run` ends by itself when it is asked to stop. */
  endsItself?: true;
}

const config = () => new Option('--config <file>', "config, ours or one of the paper's flat files").argParser(aPath);
const set = () =>
  new Option('--set <key=value>', 'set a key of the config; may be repeated').argParser(append).default([], 'none');
const runsDir = () => new Option('--runs-dir <dir>', 'where run folders are made').argParser(aPath).default('runs');
const device = () =>
  new Option('--device <device>', "what to compute on; over the config's device").choices([...deviceNames]);
const eager = () =>
  new Option('--eager', 'operation by operation instead of as one compiled native call').default(false);
const dataRoot = () =>
  new Option('--root <dir>', 'below which data sets lie, as data.root of a config')
    .argParser(aPath)
    .default(defaultDataRoot);
const json = () => new Option('--json', 'one JSON document on stdout');

const commands: CommandSpec[] = [
  {
    name: 'train',
    summary: 'convert and uptrain the model of a config; makes a run folder',
    options: [
      config().makeOptionMandatory(),
      set(),
      new Option('--run-name <name>', 'folder of the run under runs/<name>/ (default: a UTC time stamp)'),
      runsDir(),
      device(),
      eager(),
      json(),
    ],
    example: 'gqa train --config configs/smoke.yaml --set model.variant=gqa --set model.kv_heads=2',
    run: async (_, options, stop) => (await import('./commands/train.js')).train(options, stop),
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
      await (await import('./commands/eval.js')).evaluate(
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
      json(),
    ],
    example: 'gqa convert --checkpoint vit.safetensors --config configs/cifar10-small.yaml --out gqa.safetensors',
    run: async (_, options) => (await import('./commands/convert.js')).convert(options),
  },
  {
    name: 'sweep',
    summary: 'train every combination of variants, KV heads and seeds; table and leaderboard.csv',
    options: [
      config().makeOptionMandatory(),
      new Option('--kv-heads <list>', 'numbers of KV heads, e.g. 1,2,3 (default: that of the config)').argParser(
        wholeNumbers(1, 1024),
      ),
      new Option('--variants <list>', 'variants, e.g. mha,gqa,dgqa-ema (default: that of the config)').argParser(list),
      new Option('--seeds <list>', 'seeds, e.g. 0,1,2 (default: that of the config)').argParser(
        wholeNumbers(0, 2 ** 32 - 1),
      ),
      set(),
      new Option('--name <name>', "folder of the sweep under --runs-dir (default: the config's name and the time)"),
      runsDir(),
      device(),
      json(),
    ],
    example: 'gqa sweep --config configs/smoke.yaml --variants mha,gqa,dgqa-ema --kv-heads 1,2 --seeds 0,1',
    run: async (_, options, stop) => (await import('./commands/sweep.js')).sweep(options, stop),
    endsItself: true,
  },
  {
    name: 'reference',
    summary: "compare with numbers of the paper's own code",
    arguments: [new Argument('<dir>', 'holds attention/ and/or preprocess/, or is one of them').argParser(aPath)],
    options: [device(), eager(), json()],
    example: 'gqa reference test/reference',
    run: async ([dir], options, stop) =>
      (await import('./commands/reference.js')).reference(
        { dir: dir ?? '', ...(options as { eager: boolean; json: boolean }) },
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
      new Option('--compare <mode>', 'step: measure this too, taking turns: eager, or another variant'),
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
        ? (await import('./commands/bench-data.js')).benchData(options, stop)
        : (await import('./commands/bench-step.js')).benchStep(options, stop),
    endsItself: true,
  },
  {
    name: 'quickstart',
    summary: 'train, convert, uptrain and compare on the images that come with the project',
    options: [set(), runsDir(), device()],
    example: 'gqa quickstart',
    run: async (_, options, stop) => (await import('./commands/quickstart.js')).quickstart(options, stop),
    endsItself: true,
  },
  {
    name: 'data list',
    summary: 'data sets that are known: size, where they are looked for, what is there',
    options: [dataRoot(), json()],
    example: 'gqa data list',
    run: async (_, options) => (await import('./commands/data.js')).dataList(options),
  },
  {
    name: 'data fetch',
    summary: 'download a data set from its publisher, check it, unpack it where it is read',
    arguments: [new Argument('<name>', 'as data.name of a config')],
    options: [
      dataRoot(),
      new Option('--mirror <url>', 'folder that has the files instead of the publisher'),
      new Option('--offline', 'connect to nothing: unpack what was placed by hand, or tell what is needed').default(
        false,
      ),
      json(),
    ],
    example: 'gqa data fetch cifar10',
    run: async ([name], options, stop) =>
      (await import('./commands/data.js')).dataFetch({ name: name ?? '', ...(options as object) } as never, stop),
    endsItself: true,
  },
  {
    name: 'data verify',
    summary: 'decode every image, count classes against the official counts, look for duplicates',
    arguments: [new Argument('<name>', 'as data.name of a config')],
    options: [
      dataRoot(),
      new Option('--overview <file>', 'write a PNG with 8 images of each class').argParser(aPath),
      new Option('--report <file>', 'write the whole report as JSON').argParser(aPath),
      json(),
    ],
    example: 'gqa data verify cifar10 --overview cifar10.png',
    run: async ([name], options, stop) =>
      (await import('./commands/data.js')).dataVerify({ name: name ?? '', ...(options as object) } as never, stop),
    endsItself: true,
  },
  {
    name: 'data preview',
    summary: 'a PNG of training images beside what augmentation makes of them',
    options: [
      config().makeOptionMandatory(),
      set(),
      new Option('--out <file>', 'PNG to write').argParser(aPath).default('preview.png'),
      new Option('--rows <n>', 'images').argParser(wholeNumber(1, 100)).default(8),
      new Option('--columns <n>', 'the image as it is, and one less epochs').argParser(wholeNumber(2, 100)).default(8),
      json(),
    ],
    example: 'gqa data preview --config configs/cifar10-small.yaml --out preview.png',
    run: async (_, options) => (await import('./commands/data-preview.js')).dataPreview(options),
  },
  {
    name: 'doctor',
    summary: 'what this machine offers: Node, native runtime, GPU, data, settings',
    options: [
      new Option('--device <device>', 'fail (exit 4) with every reason when there is none').choices(['gpu', 'native']),
      json(),
    ],
    example: 'gqa doctor --device gpu',
    run: async (_, options) => (await import('./commands/doctor.js')).doctor(options),
  },
];

const exitCodesHelp = `
More of each command: ${calledAs()} help <command>, e.g. ${command('help data fetch')}

Exit codes: 0 ok · 1 unexpected · 2 usage or config · 3 data · 4 environment · 5 files and checkpoints · 6 training failed
            7 a run of a sweep failed · 129 SIGHUP · 130 SIGINT · 143 SIGTERM
`;

function buildProgram(stop: Stop): Command {
  const program = new Command('gqa')
    .description(
      'Uptrain a pretrained Vision Transformer from multi-head to grouped-query attention, and compare the variants.',
    )
    .version(gqaVersion(), '--version', 'print the version')
    .option('--debug', 'show the stack of an error')
    .helpOption('-h, --help', 'show this help')
    .helpCommand(false)
    .addHelpText('after', exitCodesHelp)
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'gqa: ')) })
    .showHelpAfterError(`See ${calledAs()} --help, or ${calledAs()} <command> --help.`)
    .exitOverride();
  for (const spec of commands) {
    const [word = '', group] = spec.name.split(' ').reverse();
    const command = (group === undefined ? program : groupOf(program, group))
      .command(word)
      .description(spec.summary)
      .addHelpText('after', () => exampleOf(spec));
    for (const argument of spec.arguments ?? []) command.addArgument(argument);
    const twice: string[] = [];
    for (const option of spec.options) {
      command.addOption(option);
      noteRepeats(command, option, twice);
    }
    // help need not say that
    const defaults = spec.options.some((option) => option.attributeName() === 'json') ? { json: false } : {};
    command.action(async () => {
      requireUsed(spec, command);
      if (twice.length > 0)
        throw new GqaError('usage', `${twice.join(', ')} given more than once`, {
          hint: 'Only the last would count: leave the others out.',
        });
      const running = spec.run(
        command.processedArgs as (string | undefined)[],
        { ...defaults, ...command.opts<object>() } as never,
        stop,
      );
      await (spec.endsItself ? running : stop.during(running));
    });
  }
  return program;
}

/** As it can be run: files of the project are named from its folder. */
function exampleOf({ example }: CommandSpec): string {
  const elsewhere = / (configs|test)\//.test(example) ? projectElsewhere() : null;
  return `\nExample${elsewhere === null ? '' : `, in ${elsewhere}`}:\n  ${example.replace(/^gqa/, calledAs())}\n`;
}

const groups: Record<string, string> = { data: 'data sets: list, fetch, verify' };

/** The command above others, made when the first of them is. */
function groupOf(program: Command, name: string): Command {
  const made = program.commands.find((command) => command.name() === name);
  return (
    made ??
    program
      .command(name)
      .description(groups[name] ?? '')
      .helpCommand(false)
  );
}

/**
 * Adds to `twice` the option whose earlier value a later one replaces; `--set` gathers its values, and a flag without
 * one says the same again.
 */
function noteRepeats(command: Command, option: Option, twice: string[]): void {
  let times = 0;
  if (!option.isBoolean() && option.attributeName() !== 'set')
    command.on(`option:${option.name()}`, () => {
      if (++times === 2) twice.push(option.long ?? option.name());
    });
}

/** An option that was given for nothing is a slip: `gqa bench data --steps 5`. */
function requireUsed({ name, optionsOf = {}, options }: CommandSpec, command: Command): void {
  const [what] = command.args;
  const surplus = options.filter((option) => {
    const of = optionsOf[option.attributeName()];
    return of !== undefined && of !== what && command.getOptionValueSource(option.attributeName()) === 'cli';
  });
  if (surplus.length === 0) return;
  throw new GqaError('usage', `gqa ${name} ${what} does not use ${surplus.map(({ long }) => long).join(', ')}`, {
    hint: surplus.map((option) => `${option.long} is for gqa ${name} ${optionsOf[option.attributeName()]}.`).join(' '),
  });
}

/**
 * `gqa help data fetch` and `gqa data help fetch` are `gqa data fetch --help`. Words that are no command are left to be
 * complained about.
 */
function helpAsked([node = '', script = '', ...args]: string[]): string[] {
  const words = args.filter((arg) => !arg.startsWith('-'));
  const asked = words[0] === 'help' || (Object.hasOwn(groups, words[0] ?? '') && words[1] === 'help');
  if (!asked) return [node, script, ...args];
  const wanted = words.filter((word) => word !== 'help').slice(0, 2);
  const known = commands
    .map(({ name }) => name.split(' '))
    .some((name) => wanted.every((word, i) => word === name[i] || name.length <= i));
  return [node, script, ...wanted, ...(known ? ['--help'] : [])];
}

/** `~` is expanded where the shell did not: in `--out=~/x`, and from programs that use no shell. */
function aPath(text: string): string {
  const expanded = expandHome(text);
  if (expanded === null) throw new InvalidArgumentError(`Begins with ~, but ${notExpanded}.`);
  return expanded;
}

function append(value: string, previous: string[]): string[] {
  return [...previous, value];
}

/** `a,b,c`, blanks around the commas allowed; an empty item is a slip of the finger. */
function list(text: string): string[] {
  const items = text.split(',').map((item) => item.trim());
  if (items.some((item) => item === ''))
    throw new InvalidArgumentError('Expected values with commas between them, such as a,b,c.');
  return items;
}

function wholeNumbers(lowest: number, highest: number): (text: string) => number[] {
  return (text) => list(text).map(wholeNumber(lowest, highest));
}

function wholeNumber(lowest: number, highest: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < lowest || value > highest) {
      throw new InvalidArgumentError(`"${text}" is no whole number from ${lowest} to ${highest}.`);
    }
    return value;
  };
}

function positiveNumber(text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) throw new InvalidArgumentError(`"${text}" is no number above 0.`);
  return value;
}

function exitCodeOf(error: unknown): number {
  if (error instanceof GqaError) return ExitCode[error.code];
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage;
  return ExitCode.unexpected;
}

/** A line or two on stderr; the stack with --debug only. Commander has told its own errors already. */
function report(error: unknown, debug: boolean): void {
  if (error instanceof CommanderError) return;
  if (debug) say(inspect(error));
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof GqaError) say(`gqa: ${message}${error.hint ? `\n${error.hint}` : ''}`);
  else say(`gqa: unexpected error: ${message.split('\n')[0]}${debug ? '' : '\nRun again with --debug for the stack.'}`);
}

/** What became of stdout, whose reader may have left, or whose disk may be full. */
interface Output {
  failure: NodeJS.ErrnoException | null;
}

/**
 * A reader that leaves early (`gqa sweep | head`) has seen enough: the command goes on to its end, since what it
 * computes lies in files too. Another failure loses the results that stdout is for, which is told at the end. Losing
 * the reader of the log (a terminal that is closed) must not end anything.
 */
function watchOutput(): Output {
  const output: Output = { failure: null };
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') output.failure ??= error;
  });
  process.stderr.on('error', () => {});
  return output;
}

/**
 * Node aborts at its end when it cannot set back a terminal that was closed, whatever the exit code is: such a terminal
 * is taken from it first.
 */
function survivesClosedTerminal(): void {
  const terminals = [0, 1, 2].filter((descriptor) => isatty(descriptor));
  process.on('exit', () => {
    for (const descriptor of terminals.filter((each) => !isatty(each))) {
      closeSync(descriptor);
      openSync('/dev/null', 'r+'); // takes the number that has become free
    }
  });
}

/** Ends the process once what was written has left it: native threads and workers would otherwise keep it alive. */
function end(code: number, output: Output, stop: Stop): void {
  const finish = (): void => {
    if (output.failure === null || code !== ExitCode.ok) process.exit(code);
    report(fileError('cannot write to stdout', output.failure), false);
    process.stderr.write('', () => process.exit(ExitCode.io));
  };
  process.exitCode = code;
  stop.signal.addEventListener('abort', () =>
    process.exit(code === ExitCode.ok ? exitCodeOf(interruption(stop.signal)) : code),
  ); // a reader that takes nothing must not hold it
  // An error of the last write is told after the write that follows it has been done with.
  process.stdout.write('', () => setImmediate(() => process.stderr.write('', finish)));
}

async function main(argv: string[]): Promise<void> {
  const output = watchOutput();
  survivesClosedTerminal();
  const stop = listenForSignals(say);
  const debug = argv.includes('--debug');
  process.on('uncaughtException', (error) => {
    report(error, debug);
    end(exitCodeOf(error), output, stop);
  });
  try {
    const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
    if (major < oldestNode[0] || (major === oldestNode[0] && minor < oldestNode[1])) {
      throw new GqaError(
        'environment',
        `Node ${process.versions.node} is too old; expected ${oldestNode.join('.')} or newer (tested: 20, 22, 24)`,
      );
    }
    await buildProgram(stop).parseAsync(helpAsked(argv));
    end(ExitCode.ok, output, stop);
  } catch (error) {
    report(error, debug);
    end(exitCodeOf(error), output, stop);
  }
}

await main(process.argv);
