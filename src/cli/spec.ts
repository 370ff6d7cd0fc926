/** What a command of the command line is, for help and for what runs it. */
import type { Argument, Option } from 'commander';
import type { Stop } from '../run/interrupt.js';

export interface CommandSpec {
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
