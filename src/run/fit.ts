/**
 * Text measured in columns of a terminal, and lines that are made to fit: never wrapped, never cut where a part could
 * be left out instead.
 */

/** Columns of what goes to a terminal; without one there is no bound. 80 where a terminal does not tell. */
export function columnsOf(stream: { isTTY?: boolean | undefined; columns?: number | undefined }): number {
  return stream.isTTY === true ? stream.columns || 80 : Number.POSITIVE_INFINITY;
}

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

/**
 * Characters that terminals draw two columns wide (East Asian Wide and Fullwidth, Unicode's UAX #11, by block), beside
 * emoji.
 */
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{16fe0}-\u{18aff}\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]/u;
/** Marks, joiners and control characters: drawn on their neighbour or not at all. */
const unseen = /^[\p{M}\p{Cc}\p{Cf}]+$/u;
/** A character that is an emoji by itself, or is made one by U+FE0F. */
const emoji = /\p{Emoji_Presentation}|\p{Emoji}\ufe0f/u;
/** Every character of it one column wide: nearly every text. */
const plain = /^[\u0020-\u007e\u00a0-\u00ac\u00ae-\u02ff\u2010-\u2027\u2580-\u259f]*$/;

/** How many columns a terminal takes for a text without line breaks. */
export function columnsIn(text: string): number {
  if (plain.test(text)) return text.length;
  let columns = 0;
  for (const { segment } of graphemes.segment(text)) columns += columnsOfGrapheme(segment);
  return columns;
}

const columnsOfGrapheme = (segment: string): number =>
  unseen.test(segment) ? 0 : wide.test(segment) || emoji.test(segment) ? 2 : 1;

/** The beginning of a text, with … where something is missing; no character is halved. */
export function cutTo(text: string, columns: number): string {
  if (columnsIn(text) <= columns) return text;
  let [kept, used] = ['', 0];
  for (const { segment } of graphemes.segment(text)) {
    const next = columnsOfGrapheme(segment);
    if (used + next > columns - 1) break;
    kept += segment;
    used += next;
  }
  return columns > 0 ? `${kept}…` : '';
}

/**
 * The parts of a line joined by ` · `, made shorter step by step until they fit; a part that is empty is left out.
 * @param parts in the order in which they stand
 * @param shorter what gives way first comes first: a part's name and the shorter form it then has
 */
export function fitted<Name extends string>(
  parts: Record<Name, string>,
  shorter: readonly (readonly [part: Name, form: string])[],
  columns: number,
): string {
  const now = { ...parts };
  const line = (): string => (Object.values(now) as string[]).filter((part) => part !== '').join(' · ');
  for (const [part, form] of shorter) {
    if (columnsIn(line()) <= columns) break;
    if (now[part] !== '') now[part] = form;
  }
  return cutTo(line(), columns);
}
