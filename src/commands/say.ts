/** A line for people, on stderr; stdout is for results. Apart from the rest, so that a command that only speaks loads nothing else. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
