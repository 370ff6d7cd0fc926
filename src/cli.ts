/**
 * The command line: names, flags and help of every command, and the only place where the process ends. What a command
 * does is imported when it runs, so that `gqa --help` loads neither TensorFlow.js, sharp nor zod.
 */

import { closeSync, openSync } from 'node:fs';
import { isatty } from 'node:tty';
import { inspect } from 'node:util';
import { Command, CommanderError, type Option } from 'commander';
import { commands } from './cli/commands.js';
import type { CommandSpec } from './cli/spec.js';
import { say } from './commands/say.js';
import { ExitCode, GqaError } from './errors.js';
import { fileError } from './files/atomic.js';
import { calledAs, command, projectElsewhere } from './invocation.js';
import { interruption, listenForSignals, type Stop } from './run/interrupt.js';
import { gqaVersion } from './version.js';

/** Oldest Node that sharp and commander run on. */
const oldestNode: readonly [number, number] = [20, 9];

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
        { ...defaults, ...command.opts<object>(), ...takenAbove(spec, command) } as never,
        stop,
      );
      await (spec.endsItself ? running : stop.during(running));
    });
  }
  return program;
}

/**
 * `sweep` is a command as well as the one above `sweep status`, and commander gives it the options that both have.
 * @throws GqaError `usage` for one that only `sweep` has
 */
function takenAbove({ name, options }: CommandSpec, { parent }: Command): Record<string, unknown> {
  if (parent === null || parent.parent === null) return {};
  const given = parent.options.filter((option) => parent.getOptionValueSource(option.attributeName()) === 'cli');
  const surplus = given.filter(({ long }) => !options.some((option) => option.long === long));
  if (surplus.length > 0)
    throw new GqaError('usage', `gqa ${name} does not use ${surplus.map(({ long }) => long).join(', ')}`);
  return Object.fromEntries(
    given.map((option) => [option.attributeName(), parent.getOptionValue(option.attributeName())]),
  );
}

/** As it can be run: files of the project are named from its folder. */
function exampleOf({ example }: CommandSpec): string {
  const elsewhere = / (configs|test)\//.test(example) ? projectElsewhere() : null;
  return `\nExample${elsewhere === null ? '' : `, in ${elsewhere}`}:\n  ${example.replace(/^gqa/, calledAs())}\n`;
}

const groups: Record<string, string> = {
  data: 'data sets: list, fetch, verify',
  config: 'configs: one to begin with, what they may hold, what one comes to',
};

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

function exitCodeOf(error: unknown): number {
  if (error instanceof GqaError) return ExitCode[error.code];
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage;
  return ExitCode.unexpected;
}

/** A line or two on stderr; the stack with --debug only. Commander has reported its own errors already. */
export function report(error: unknown, debug: boolean): void {
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
 * computes lies in files too. Another failure loses the results that stdout is for, which is reported at the end.
 * Losing the reader of the log (a terminal that is closed) must not end anything.
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
  // An error of the last write is reported after the write that follows it has been done with.
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
