/** A line for people, on stderr; stdout is for results. Apart from the rest, so that a command that only speaks loads nothing else. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** What may make the figures wrong: said when it is found, and again in a command's last lines, as `warningLine` has it. */
export const warn = (line: string): void => say(warningLine(line));

export const warningLine = (line: string): string => `warning: ${line}`;
