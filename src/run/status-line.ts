/**
 * The last line of a terminal, which is drawn over and over again, and the lines that stay, which go above it: one
 * place for both, so that neither writes over the other. It imports nothing, so that a command that only speaks loads
 * nothing else.
 */

type Stream = NodeJS.WritableStream;

/** What is drawn now; `leave` lets it stand when the process ends meanwhile. */
const drawn = new WeakMap<Stream, { line: string; leave: () => void }>();

/**
 * Erases from the cursor to the end of the screen: also what a terminal that became narrower broke into a second row.
 */
const eraseBelow = '\u001b[J';

/**
 * Draws a line over the one that is drawn. The cursor goes back to its beginning: there it stays when a terminal that
 * becomes narrower breaks the line in two, and what a native library writes of itself begins there.
 * @param line narrower than the terminal, without a line break
 */
export function drawLine(stream: Stream, line: string): void {
  const leave = drawn.get(stream)?.leave ?? (() => void stream.write('\n'));
  if (!drawn.has(stream)) process.on('exit', leave);
  drawn.set(stream, { line, leave });
  stream.write(`\r${line}${eraseBelow}\r`);
}

/** Takes the drawn line away. Without one it does nothing. */
export function eraseLine(stream: Stream): void {
  const before = drawn.get(stream);
  if (before === undefined) return;
  drawn.delete(stream);
  process.off('exit', before.leave);
  stream.write(`\r${eraseBelow}`);
}

/** Writes text that stays, above the drawn line where there is one. A line break is added. */
export function printLine(stream: Stream, text: string): void {
  const below = drawn.get(stream);
  stream.write(below === undefined ? `${text}\n` : `\r${eraseBelow}${text}\n${below.line}\r`);
}
