/**
 * A line for people, on stderr, above the bar where one is drawn; stdout is for results. Apart from the rest, so that a
 * command that only speaks loads nothing else.
 */
import { command } from '../invocation.js';
import { printLine } from '../run/status-line.js';

const listeners = new Set<(line: string) => void>();

export function say(line: string): void {
  sayShorter(line, line);
}

/** @param shown what the terminal shows in place of the whole line; those who listen get the whole line */
export function sayShorter(line: string, shown: string): void {
  printLine(process.stderr, shown);
  for (const hear of listeners) hear(line);
}

/** What a user would type next, as a command's last line. */
export const sayNext = (args: string): void => say(`next: ${command(args)}`);

/**
 * Gives `hear` every line that is said from now on, by whatever part of the program, until the function that comes back
 * is called.
 */
export function listen(hear: (line: string) => void): () => void {
  listeners.add(hear);
  return () => void listeners.delete(hear);
}

/**
 * What may make the figures wrong: said when it is found, and again in a command's last lines, as `warningLine` has it.
 */
export const warn = (line: string): void => say(warningLine(line));

export const warningLine = (line: string): string => `warning: ${line}`;
