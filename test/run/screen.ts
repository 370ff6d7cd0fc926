/**
 * A terminal of so many columns that remembers what it shows: carriage returns, line feeds, erasing below, line
 * wrapping and reflow; enough for lines and bars.
 */
import { PassThrough } from 'node:stream';

const erase = '\u001b[J';

export interface Screen {
  stream: PassThrough & { isTTY: boolean; columns: number };
  /** Lines from the top, without blanks at their ends; a line that was too long stands in several. */
  rows(): string[];
  /** The same without the empty line that the cursor stands in. */
  text(): string;
  /** Lines that did not fit, since it was made. */
  wrapped(): number;
}

/**
 * @param columns may be changed later through `stream.columns`: lines that are on the screen already are broken anew,
 *   as terminals do
 */
export function screen(columns: number): Screen {
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns });
  /** Logical lines, as arrays of characters; the cursor stands in one of them. */
  const lines: string[][] = [[]];
  let [line, column, wrapped] = [0, 0, 0];
  const put = (character: string): void => {
    const at = lines[line] as string[];
    at[column++] = character;
    if (at.length > stream.columns && column === at.length && (at.length - 1) % stream.columns === 0) wrapped++;
  };
  const take = (text: string): void => {
    for (let rest = text; rest !== ''; ) {
      if (rest.startsWith(erase)) {
        lines.length = line + 1;
        (lines[line] as string[]).length = column;
        rest = rest.slice(erase.length);
        continue;
      }
      const [character = ''] = rest;
      if (character === '\r') column = 0;
      else if (character === '\n') {
        line++;
        column = 0;
        lines[line] ??= [];
      } else put(character);
      rest = rest.slice(character.length);
    }
  };
  stream.write = ((text: string) => {
    take(text);
    return true;
  }) as never;
  const rows = (): string[] =>
    lines.flatMap((characters) => {
      const text = characters.join('').trimEnd();
      return text.length <= stream.columns ? [text] : (text.match(new RegExp(`.{1,${stream.columns}}`, 'gu')) ?? []);
    });
  return { stream, rows, text: () => rows().join('\n').trimEnd(), wrapped: () => wrapped };
}
