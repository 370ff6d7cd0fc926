/** Options that several commands have, and what their values must look like. */
import { InvalidArgumentError, Option } from 'commander';
import { expandHome, notExpanded } from '../config/home.js';
import { defaultDataRoot, deviceNames } from '../config/names.js';

export const config = () =>
  new Option('--config <file>', "config, ours or one of the paper's flat files").argParser(aPath);
export const set = () =>
  new Option('--set <key=value>', 'set a key of the config; may be repeated').argParser(append).default([], 'none');
export const axis = () =>
  new Option('--axis <key=values>', 'any other key, e.g. train.lr=1e-5,3e-5; may be repeated')
    .argParser(append)
    .default([], 'none');
export const runsDir = () =>
  new Option('--runs-dir <dir>', 'where run folders are made').argParser(aPath).default('runs');
export const device = () =>
  new Option('--device <device>', "what to compute on; over the config's device").choices([...deviceNames]);
export const plain = () =>
  new Option('--plain', 'of TensorFlow’s own operations alone, without the fused ones').default(false);
export const eager = () =>
  new Option('--eager', 'operation by operation instead of as one compiled native call').default(false);
export const dataRoot = () =>
  new Option('--root <dir>', 'below which data sets lie, as data.root of a config')
    .argParser(aPath)
    .default(defaultDataRoot);
export const json = () => new Option('--json', 'one JSON document on stdout');

/** `~` is expanded where the shell did not: in `--out=~/x`, and from programs that use no shell. */
export function aPath(text: string): string {
  const expanded = expandHome(text);
  if (expanded === null) throw new InvalidArgumentError(`Begins with ~, but ${notExpanded}.`);
  return expanded;
}

function append(value: string, previous: string[]): string[] {
  return [...previous, value];
}

/** `a,b,c`, blanks around the commas allowed; an empty item is a slip of the finger. */
export function list(text: string): string[] {
  const items = text.split(',').map((item) => item.trim());
  if (items.some((item) => item === ''))
    throw new InvalidArgumentError('Expected values with commas between them, such as a,b,c.');
  return items;
}

export function wholeNumbers(lowest: number, highest: number): (text: string) => number[] {
  return (text) => list(text).map(wholeNumber(lowest, highest));
}

export function wholeNumber(lowest: number, highest: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < lowest || value > highest) {
      throw new InvalidArgumentError(`"${text}" is no whole number from ${lowest} to ${highest}.`);
    }
    return value;
  };
}

export function positiveNumber(text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) throw new InvalidArgumentError(`"${text}" is no number above 0.`);
  return value;
}
