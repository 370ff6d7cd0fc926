/** A line for people, on stderr, above the bar where one is drawn; stdout is for results. Apart from the rest, so that a command that only speaks loads nothing else. */
import { printLine } from '../run/status-line.js';

export function say(line: string): void {
  printLine(process.stderr, line);
}

/** What may make the figures wrong: said when it is found, and again in a command's last lines, as `warningLine` has it. */
export const warn = (line: string): void => say(warningLine(line));

export const warningLine = (line: string): string => `warning: ${line}`;
